"""A closer look: where a number's digits are small in the network's input, it is cut out and read once more, enlarged.

A network of this size tells apart digits of 50 pixels far better than those of 12, and a frame that was made small for
the input has more to show. The better of the two looks stands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

from digitcam.core.arrays import UInt8Array
from digitcam.core.boxes import BoxXYWH
from digitcam.core.card import GridHead, Input, SlotsHead
from digitcam.core.decode import Line

WORTH = 1.1
"""A look that enlarges by less is not taken."""

Look = Callable[[Sequence[UInt8Array]], list[list[Line]]]
"""Reads images of any size with one run of the network each: their numbers, best first, boxes in the image's pixels."""


def read(images: Sequence[UInt8Array], look: Look, spec: Input, head: GridHead | SlotsHead) -> list[list[Line]]:
    """Look at images, and once more at the best number of each where `head.close_up` asks for it.

    Returns
    -------
    lines
        Of each image its numbers, best first, boxes in its pixels.
    """
    found = look(images)
    if head.close_up is None:
        return found
    parts = {}
    for i, (image, lines) in enumerate(zip(images, found, strict=True)):
        height, width = image.shape[:2]
        part = around(lines[0], height, width, spec, head.close_up) if lines else None
        if part:
            parts[i] = part
    if parts:
        close = look([images[i][y : y + height, x : x + width] for i, (x, y, width, height) in parts.items()])
        for (i, (x, y, _, _)), lines in zip(parts.items(), close, strict=True):
            found[i] = surer(found[i], [line.mapped(partial(_moved, x, y)) for line in lines])
    return found


def around(line: Line, height: int, width: int, spec: Input, digit_px: float) -> tuple[int, int, int, int] | None:
    """Return the part of an image in which a number's digits are `digit_px` high in the input; None if it is no closer.

    Parameters
    ----------
    line
        With digits, boxes in the image's pixels.
    height, width
        The image's.

    Returns
    -------
    part
        Left, top, width and height in whole pixels, inside the image, of the input's proportions as far as the image
        reaches. A number too long for `digit_px` is as large as fits, with half a digit's height to spare at its ends.
    """
    x, y, wide, high = line.box_xywh
    digit = median(one.box_xywh[3] for one in line.digits)
    scale = min(digit_px / digit, spec.width / (wide + digit), spec.height / (high + digit / 2))
    if scale < WORTH * min(spec.height / height, spec.width / width):
        return None
    part_width, part_height = (
        max(1, min(round(whole), round(side / scale))) for whole, side in ((width, spec.width), (height, spec.height))
    )
    left = min(max(round(x + (wide - part_width) / 2), 0), width - part_width)
    top = min(max(round(y + (high - part_height) / 2), 0), height - part_height)
    return left, top, part_width, part_height


def surer(lines: list[Line], close: list[Line]) -> list[Line]:
    """Return the numbers of the first look, the best of them as the closer look has it if that is the surer one.

    It is the number of the closer look that overlaps most with it. Others of the first look whose centre lies within
    it were parts of it and go.
    """
    best = lines[0]
    again = max(close, key=lambda line: _shared(line.box_xywh, best.box_xywh), default=best)
    if again.confidence <= best.confidence or not _shared(again.box_xywh, best.box_xywh):
        return lines
    return [again, *(line for line in lines[1:] if not _within(line.box_xywh, again.box_xywh))]


def _shared(a_xywh: BoxXYWH, b_xywh: BoxXYWH) -> float:
    """Return the area of the overlap."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = a_xywh, b_xywh
    return max(0.0, min(ax + aw, bx + bw) - max(ax, bx)) * max(0.0, min(ay + ah, by + bh) - max(ay, by))


def _within(a_xywh: BoxXYWH, b_xywh: BoxXYWH) -> bool:
    """Say whether a's centre lies in b."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = a_xywh, b_xywh
    return bx <= ax + aw / 2 <= bx + bw and by <= ay + ah / 2 <= by + bh


def _moved(x: float, y: float, box_xywh: BoxXYWH) -> BoxXYWH:
    left, top, width, height = box_xywh
    return x + left, y + top, width, height
