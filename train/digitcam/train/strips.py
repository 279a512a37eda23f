"""Numbers on what carries them, upright and flat: `street` then puts them into a scene.

Each kind takes the height its digits shall have, in pixels, and a generator, and returns a `Strip`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np

from digitcam.core.arrays import FloatArray, UInt8Array
from digitcam.core.boxes import union
from digitcam.core.canvas import random_number
from digitcam.train import svhn, wheels
from digitcam.train.faces import (
    LETTERS,
    Face,
    Segments,
    SetLine,
    dot_matrix,
    font_count,
    handwriting,
    set_line,
    seven_segments,
    typeface,
)
from digitcam.train.mnist import Split
from digitcam.train.photograph import noise

Inside: TypeAlias = tuple[float, float, float, float]
"""Where a digit stands in a window: x, y, width, height as shares of it."""
Meter: TypeAlias = tuple[wheels.Wheel, ...]
SEPARATORS = ".,-/:"
STRETCH = 1.6
"""How much wider than its font a digit may become, lest a 1 fills its box as a bar."""


class Strip(NamedTuple):
    """A number on its plate.

    grey
        uint8 [h, w].
    cover
        How much of the scene behind each pixel hides, uint8 [h, w].
    number
        Its digits from left to right.
    boxes_xywh
        float32 [n, 4] in pixels of the strip, one a digit.
    detail
        How many pixels high its digits were photographed; what is drawn is as sharp as can be.
    """

    grey: UInt8Array
    cover: UInt8Array
    number: str
    boxes_xywh: FloatArray
    detail: float = math.inf


Kind = Callable[[float, float, Split, np.random.Generator], Strip]
"""(digit height in pixels, grey level of the wall behind, split, generator) to a strip."""


def house(tall: float, level: float, split: Split, rng: np.random.Generator) -> Strip:
    """Draw a number of SVHN's labels, its digits placed and stretched as there."""
    records = _level_records(split)
    record = records[rng.integers(len(records))]
    scale = tall / float(np.median(record.boxes_xywh[:, 3]))
    boxes = _side_by_side(record.boxes_xywh * np.float32(scale))
    boxes[:, :2] -= union(boxes)[:2]
    face = typeface(int(rng.integers(font_count())))
    width, height = np.ceil((boxes[:, :2] + boxes[:, 2:]).max(axis=0)).astype(int).tolist()
    ink = np.zeros((height + 1, width + 1), dtype=np.uint8)
    placed = []
    for digit, (x, y, w, h) in zip(record.number, boxes.tolist(), strict=True):
        tile = face(digit).ink
        wide = max(1, round(min(w, h * tile.shape[1] / tile.shape[0] * STRETCH)))
        high = max(1, round(h))
        left, top = round(x + (w - wide) / 2), round(y)
        drawn = cv2.resize(
            tile, (wide, high), interpolation=cv2.INTER_AREA if high < tile.shape[0] else cv2.INTER_CUBIC
        )
        part = ink[top : top + high, left : left + wide]
        np.maximum(part, drawn[: part.shape[0], : part.shape[1]], out=part)
        placed.append((left, top, wide, high))
    return on_plate(SetLine(ink, np.array(placed, dtype=np.float32)), record.number, tall, level, rng)


@cache
def _level_records(split: Split) -> tuple[svhn.Record, ...]:
    """Return the records whose digits stand from left to right in a line: a few hundred do not."""
    return tuple(record for record in svhn.records(split) if _level(record.boxes_xywh))


def _level(boxes_xywh: FloatArray) -> bool:
    """Say whether each digit stands right of the one before, and level with it within 0.4 of their height.

    Of boxes that claim more than a third of each other, no two digits can be made out.
    """
    middles = boxes_xywh[:, :2] + boxes_xywh[:, 2:] / 2
    steps = np.diff(middles, axis=0)
    return bool((steps[:, 0] > 0.65 * boxes_xywh[1:, 2]).all() and (abs(steps[:, 1]) < 0.4 * boxes_xywh[1:, 3]).all())


def _side_by_side(boxes_xywh: FloatArray) -> FloatArray:
    """Return boxes [n, 4] of which none reaches into the next: labels are often wider than their digits."""
    boxes: FloatArray = boxes_xywh.copy()
    right = boxes[:-1, 0] + boxes[:-1, 2]
    # The border lies halfway through what both claim, with a fiftieth of the height between them.
    over = np.maximum(0, right - boxes[1:, 0] + 0.02 * boxes[1:, 3])
    boxes[:-1, 2] -= over / 2
    boxes[1:, 0] += over / 2
    boxes[1:, 2] -= over / 2
    boxes[:, 2] = np.maximum(boxes[:, 2], 0.15 * boxes[:, 3])
    return boxes


def printed(tall: float, level: float, split: Split, rng: np.random.Generator) -> Strip:
    """Draw one to ten digits in a typeface, sometimes with points, dashes and words of letters beside."""
    del split
    number = random_number((1, 10) if rng.random() < 0.4 else (2, 6), rng)
    text = number
    if len(number) > 2 and rng.random() < 0.2:
        cut = int(rng.integers(1, len(number)))
        text = number[:cut] + SEPARATORS[rng.integers(len(SEPARATORS))] + number[cut:]
    if rng.random() < 0.2:
        word = "".join(LETTERS[i] for i in rng.integers(len(LETTERS), size=int(rng.integers(1, 5))))
        text = f"{word}  {text}" if rng.random() < 0.5 else f"{text}  {word}"
    face = typeface(int(rng.integers(font_count())))
    line = set_line(text, face, tall, float(rng.uniform(-0.04, 0.3)))
    if rng.random() < 0.12:
        line = _stencilled(line, tall, rng)
    return on_plate(line, number, tall, level, rng)


def code(tall: float, level: float, split: Split, rng: np.random.Generator) -> Strip:
    """Draw two to ten digits of a date or serial number, set close: many are 1, dashes and slashes part them."""
    del split
    ones = float(rng.choice([0.0, 0.5]))
    groups = [random_number((1, 4), rng) for _ in range(int(rng.integers(2, 5)))]
    number = "".join("1" if rng.random() < ones else digit for digit in "".join(groups))[:10]
    cuts = np.cumsum([len(group) for group in groups]).tolist()
    separator = SEPARATORS[rng.integers(len(SEPARATORS))] if rng.random() < 0.8 else ""
    parts = (number[first:last] for first, last in itertools.pairwise([0, *cuts]))
    text = separator.join(part for part in parts if part)
    line = set_line(text, typeface(int(rng.integers(font_count()))), tall, float(rng.uniform(-0.06, 0.15)))
    return on_plate(line, number, tall, level, rng)


def _stencilled(line: SetLine, tall: float, rng: np.random.Generator) -> SetLine:
    """Leave a stencil's bridges uninked: upright ones through the middle of each digit but the slender."""
    ink = line.ink.copy()
    bridge = max(1, round(tall * float(rng.uniform(0.05, 0.12))))
    for x, y, w, h in line.boxes_xywh.round().astype(int).tolist():
        if w > 0.4 * h:
            left = x + (w - bridge) // 2
            ink[y : y + h, left : left + bridge] = 0
    return SetLine(ink, line.boxes_xywh)


@cache
def _meters(split: Split) -> tuple[tuple[Meter, Meter], ...]:
    """Return each meter's wheels, all and those at most a fifth of a step from a digit (or all, if none is).

    In a counter only the last wheel is often further, but never halfway.
    """
    told = (tuple(wheel for wheel in meter if not _is_between(wheel.position)) for meter in wheels.meters(split))
    return tuple((meter, tuple(filter(_is_clean, meter)) or meter) for meter in told if meter)


def _is_clean(wheel: wheels.Wheel) -> bool:
    return abs(wheel.position - round(wheel.position)) < 0.25


def _is_between(position: float) -> bool:
    """Say whether a wheel stands so near to halfway between two digits that either would be right."""
    return abs(position % 1 - 0.5) < 0.15 - 1e-6


@cache
def _segment_faces() -> tuple[Face, ...]:
    rng = np.random.Generator(np.random.Philox(7))
    return tuple(seven_segments(Segments.draw(rng)) for _ in range(160))


@cache
def _dot_faces() -> tuple[Face, ...]:
    makes = itertools.product((0.6, 0.8, 1.0, 1.25), (False, True), (False, True))
    return tuple(dot_matrix(*make) for make in makes)


def display(tall: float, level: float, split: Split, rng: np.random.Generator) -> Strip:
    """Draw one to eight digits of a seven-segment or dot-matrix display or print."""
    del split
    number = random_number((1, 8) if rng.random() < 0.5 else (3, 5), rng)
    faces = _segment_faces() if rng.random() < 0.75 else _dot_faces()
    face = faces[rng.integers(len(faces))]
    return on_plate(set_line(number, face, tall, float(rng.uniform(-0.02, 0.3))), number, tall, level, rng)


def handwritten(tall: float, level: float, split: Split, rng: np.random.Generator) -> Strip:
    """Draw one to six of MNIST's digits."""
    number = random_number((1, 6), rng)
    line = set_line(number, handwriting(split, rng), tall, float(rng.uniform(0.0, 0.3)))
    return on_plate(line, number, tall, level, rng)


def photographed_wheels(tall: float, level: float, split: Split, rng: np.random.Generator) -> Strip:
    """Draw a counter of one to eight real wheels of one meter."""
    meters = _meters(split)
    meter, clean = meters[rng.integers(len(meters))]
    chosen = [clean[i] for i in rng.integers(len(clean), size=_wheel_count(rng))]
    chosen[-1] = meter[rng.integers(len(meter))]
    images = _photographs(chosen, split, rng)
    stretch = 0.25 if split == "train" else 0.1
    if rng.random() < 0.2:
        images = [255 - image for image in images]
    high = round(tall / wheels.INSIDE[3])
    ratio = images[0].shape[1] / images[0].shape[0]
    size = (max(4, round(high * ratio * float(rng.uniform(1 - stretch, 1 + stretch)))), high)
    way = cv2.INTER_AREA if high < images[0].shape[0] else cv2.INTER_CUBIC
    windows = _visible([np.asarray(cv2.resize(image, size, interpolation=way)) for image in images])
    strip = _counter(windows, "".join(str(wheel.digit) for wheel in chosen), [w.inside for w in chosen], rng)
    return strip._replace(detail=wheels.INSIDE[3] * min(image.shape[0] for image in images))


def _photographs(chosen: list[wheels.Wheel], split: Split, rng: np.random.Generator) -> list[UInt8Array]:
    """Return wheels' photographs, as another meter might look where something learns from them."""
    images = [wheel.image() for wheel in chosen]
    return wheels.varied(images, rng) if split == "train" else images


def cut_out_wheel(tall: float, level: float, split: Split, rng: np.random.Generator) -> Strip:
    """Show one real wheel as it was cut out of its photograph, as faint as it is, on a digit or past it."""
    del level
    meters = _meters(split)
    meter, _ = meters[rng.integers(len(meters))]
    wheel = meter[rng.integers(len(meter))]
    (image,) = _photographs([wheel], split, rng)
    scale = tall / wheels.INSIDE[3] / image.shape[0]
    grey = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    cover = np.full(grey.shape, 255, dtype=np.uint8)
    detail = wheels.INSIDE[3] * image.shape[0]
    return Strip(np.asarray(grey), cover, str(wheel.digit), wheel.boxes_xywh(*grey.shape), detail)


def _visible(windows: list[UInt8Array]) -> list[UInt8Array]:
    """Return a counter's windows with their contrast raised to 70 grey levels if it is less: the scene takes more."""
    low, high = np.percentile(np.concatenate([window.ravel() for window in windows]), (3, 97))
    if high - low >= 70:
        return windows
    gain, middle = 70 / max(8.0, high - low), (low + high) / 2
    floor = float(np.clip(middle, 35, 220))
    return [np.clip((window - middle) * gain + floor, 0, 255).astype(np.uint8) for window in windows]


def drawn_wheels(tall: float, level: float, split: Split, rng: np.random.Generator) -> Strip:
    """Draw a counter of one to eight drawn wheels, the last ones between two digits now and then."""
    del split
    face = typeface(int(rng.integers(font_count())))
    ink, paper = _two_levels(level, tall, rng)
    share = float(rng.uniform(0.45, 0.68))
    height = round(tall / share)
    width = round(tall * float(rng.uniform(0.85, 1.5)))
    pitch = height * float(rng.uniform(max(0.55, share + 0.06), 1.0))
    windows, number, insides = [], "", []
    count = _wheel_count(rng)
    for i in range(count):
        digit = int(rng.integers(10))
        between = i == count - 1 and rng.random() < 0.5
        past = float(rng.uniform(-0.35, 0.35) if between else rng.normal(0, 0.05))
        position = (digit + past) % 10
        windows.append(wheels.draw_wheel(face, position, width, height, round(tall), pitch, ink, paper))
        number += str(wheels.nearest_digit(position))
        top = (1 - share) / 2 - past * pitch / height
        insides.append((0.15, min(max(0.0, top), 1 - share), 0.7, share))
    return _counter(windows, number, insides, rng)


def _wheel_count(rng: np.random.Generator) -> int:
    kind = rng.random()
    return 1 if kind < 0.12 else int(rng.integers(1, 9) if kind < 0.5 else rng.integers(3, 7))


def _counter(windows: list[UInt8Array], number: str, insides: list[Inside], rng: np.random.Generator) -> Strip:
    """Set windows [h, w] of equal size side by side into a housing, close or wide apart, framed or not."""
    height, width = windows[0].shape
    gap = round(width * float(rng.choice([0, rng.uniform(0, 0.15), rng.uniform(0.15, 0.75)])))
    margin = round(height * float(rng.uniform(0.05, 0.5)))
    step = width + gap
    size = (height + 2 * margin, step * len(windows) - gap + 2 * margin)
    housing = float(rng.uniform(5, 240))
    grey = np.clip(housing + noise(2, 6, rng) * 6, 0, 255).astype(np.float32)
    page = cv2.resize(grey, size[::-1], interpolation=cv2.INTER_LINEAR).round().astype(np.uint8)
    frame = int(rng.integers(1, max(2, height // 12))) if rng.random() < 0.5 else 0
    shade = float(rng.uniform(0, 255))
    corner = round(0.3 * min(width, height)) if gap and rng.random() < 0.4 else 0
    boxes = []
    for i, window in enumerate(windows):
        x, y = margin + i * step, margin
        if frame:
            cv2.rectangle(page, (x - frame, y - frame), (x + width + frame - 1, y + height + frame - 1), shade, -1)
        part = page[y : y + height, x : x + width]
        if corner:
            mask = _rounded(height, width, corner)
            cv2.copyTo(window, mask, part)
        else:
            part[:] = window
        left, top, wide, high = insides[i]
        boxes.append((x + left * width, y + top * height, wide * width, high * height))
    cover = np.full(size, 255, dtype=np.uint8)
    return Strip(page, cover, number, np.array(boxes, dtype=np.float32))


def _rounded(height: int, width: int, radius: int) -> UInt8Array:
    """Return a mask [height, width] of a rectangle with round corners."""
    mask = np.zeros((height, width), dtype=np.uint8)
    r = min(radius, (min(height, width) - 1) // 2)
    cv2.rectangle(mask, (r, r), (width - 1 - r, height - 1 - r), 255, cv2.FILLED)
    return np.asarray(cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * r + 1, 2 * r + 1))))


def _two_levels(level: float, tall: float, rng: np.random.Generator) -> tuple[float, float]:
    """Return the grey levels of ink and plate, 40 apart or, for low digits, more; the plate is sometimes the wall's."""
    plate = level if rng.random() < 0.25 else float(rng.uniform(5, 250))
    step = float(rng.uniform(np.interp(tall, (14, 40), (70, 40)), 190))
    up = plate + step <= 255 and (plate - step < 0 or rng.random() < 0.5)
    return float(np.clip(plate + step if up else plate - step, 0, 255)), plate


def on_plate(line: SetLine, number: str, tall: float, level: float, rng: np.random.Generator) -> Strip:
    """Put a set line on a plate: margins, frame, screws; or straight on the wall. Wear its ink a little."""
    ink, plate = _two_levels(level, tall, rng)
    margins = np.round(tall * rng.uniform(0.12, (1.2, 0.7))).astype(int).tolist()
    mask = cv2.copyMakeBorder(line.ink, margins[1], margins[1], margins[0], margins[0], cv2.BORDER_CONSTANT, value=0)
    mask = _wear(np.asarray(mask, dtype=np.uint8), tall, rng)
    boxes = line.boxes_xywh + np.array([margins[0], margins[1], 0, 0], dtype=np.float32)
    height, width = mask.shape
    if rng.random() < 0.3:
        return _on_wall(mask, number, boxes, ink, level, tall)
    share = mask.astype(np.float32) / np.float32(255)
    texture = cv2.resize(noise(2, 5, rng), (width, height), interpolation=cv2.INTER_LINEAR)
    page = np.float32(plate) + texture * np.float32(rng.uniform(0, 10))
    page = page + share * (np.float32(ink) - page)
    if rng.random() < 0.35:
        edge = max(1, round(tall * float(rng.uniform(0.02, 0.1))))
        place = round(0.25 * min(margins))
        shade = float(np.clip(ink + rng.uniform(-60, 60), 0, 255))
        cv2.rectangle(page, (place, place), (width - 1 - place, height - 1 - place), shade, edge, cv2.LINE_AA)
    cover = np.full(mask.shape, 255, dtype=np.uint8)
    if rng.random() < 0.3:
        cover = _rounded(height, width, max(1, min(margins) // 2))
    return Strip(page.round().clip(0, 255).astype(np.uint8), cover, number, boxes)


def _on_wall(mask: UInt8Array, number: str, boxes_xywh: FloatArray, ink: float, level: float, tall: float) -> Strip:
    """Put ink straight on the wall, wiped clean around it lest clutter of the ink's own grey hides it."""
    if abs(ink - level) < 40:
        ink = level + 60 if level < 128 else level - 60
    share = mask.astype(np.float32) / np.float32(255)
    wiped = cv2.blur(share, (2 * round(0.2 * tall) + 1,) * 2)
    cover = np.maximum(share, np.minimum(np.float32(0.8), 2 * wiped))
    grey = np.float32(level) + share * np.float32(ink - level)
    return Strip(grey.astype(np.uint8), (cover * 255).astype(np.uint8), number, boxes_xywh)


def _wear(ink: UInt8Array, tall: float, rng: np.random.Generator) -> UInt8Array:
    """Thicken, thin, outline, smear or wear off some of the ink."""
    kind = rng.random()
    # A twentieth of the height is about half a thin stroke.
    side = 2 * max(1, round(tall * 0.02)) + 1
    if kind < 0.12:
        return np.asarray(cv2.dilate(ink, np.ones((side, side), np.uint8)))
    if kind < 0.18 and tall > 30:
        outline = cv2.morphologyEx(ink, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
        return np.asarray(outline)
    if kind < 0.3:
        height, width = ink.shape
        cells = max(2.0, tall * float(rng.uniform(0.05, 0.25)))
        holes = cv2.resize(noise(int(height / cells) + 2, int(width / cells) + 2, rng), (width, height))
        kept = np.clip(holes * 2 + np.float32(rng.uniform(1.4, 3.0)), 0.3, 1)
        return np.asarray(ink * kept).astype(np.uint8)
    if kind < 0.36:
        return np.asarray(cv2.GaussianBlur(ink, (0, 0), tall * 0.04))
    return ink


KINDS: dict[str, Kind] = {
    "house": house,
    "wheels": photographed_wheels,
    "wheel": cut_out_wheel,
    "counter": drawn_wheels,
    "display": display,
    "print": printed,
    "code": code,
    "handwriting": handwritten,
}
