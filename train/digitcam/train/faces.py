"""What digits and letters look like: typefaces, seven segments, dot matrices, handwriting.

A face gives each character as a `Glyph`: ink on a common baseline. `set_line` sets a text from glyphs, as a
typesetter does, and says where each of its digits stands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from digitcam.core.arrays import FloatArray, UInt8Array
from digitcam.train import mnist
from digitcam.train.mnist import Split

SHEET = Path(__file__).with_name("faces.npz")
DIGIT = 40
"""Height of a 0 in the sheet, in pixels; every face draws its digits about so high."""
CASE, BASE = 80, 58
"""Side of the square a character of the sheet has, and the row of its baseline."""
CHARACTERS = "0123456789ABCEFHJKLMNPRTUVWXYabdehkmnrtuwy.,-/:"
"""Letters that are no digit to any eye: no O, I, l, S, g and the like."""
LETTERS = "".join(character for character in CHARACTERS if character.isalpha())


class Glyph(NamedTuple):
    """A character's ink uint8 [h, w], cropped, white on black; pixels from the pen to it, and to the next pen.

    left, top
        Of the ink, from the pen's place on the baseline; top is negative above it.
    advance
        How far the pen moves.
    """

    ink: UInt8Array
    left: int
    top: int
    advance: float


Face: TypeAlias = Callable[[str], Glyph]


def crop(ink: UInt8Array, left: int, top: int, advance: float) -> Glyph:
    """Return a glyph without the empty border of its ink; left and top are those of the uncropped ink."""
    x, y, width, height = cv2.boundingRect(ink)
    return Glyph(np.ascontiguousarray(ink[y : y + height, x : x + width]), left + x, top + y, advance)


@cache
def _sheet() -> tuple[UInt8Array, FloatArray]:
    with np.load(SHEET) as sheet:
        inks, advances = sheet["inks"], sheet["advances"]
    return inks * np.uint8(255 // inks.max()), advances


def font_count() -> int:
    """Return how many typefaces the sheet holds."""
    return len(_sheet()[0])


@cache
def _printed(font: int, character: str) -> Glyph:
    inks, advances = _sheet()
    index = CHARACTERS.index(character)
    return crop(inks[font, index], -(CASE // 4), -BASE, float(advances[font, index]))


def typeface(font: int) -> Face:
    """Return a typeface of the sheet; it has all `CHARACTERS`."""
    return lambda character: _printed(font, character)


_SEGMENTS = {
    "0": "abcdef",
    "1": "bc",
    "2": "abdeg",
    "3": "abcdg",
    "4": "bcfg",
    "5": "acdfg",
    "6": "acdefg",
    "7": "abc",
    "8": "abcdefg",
    "9": "abcdfg",
    "-": "g",
}
"""Which of the seven segments a digit lights; a on top, then clockwise, g in the middle."""


class Segments(NamedTuple):
    """A seven-segment display's make, lengths as shares of a digit's height.

    thick
        Of a segment.
    gap
        Between two segments' ends.
    wide
        Of a digit.
    lean
        Shift of the top to the right.
    round_ends
        Ends are half circles, otherwise points.
    tails
        The 6 and the 9 have their optional segment.
    hook
        The 7 has its.
    ghost
        How visible an unlit segment is, 0..1.
    """

    thick: float
    gap: float
    wide: float
    lean: float
    round_ends: bool
    tails: bool
    hook: bool
    ghost: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Segments:
        """Return a random make."""
        thick, gap, wide, lean = rng.uniform((0.06, 0.0, 0.4, -0.03), (0.22, 0.13, 0.78, 0.21)).tolist()
        ghost = rng.uniform(0.03, 0.16) if rng.random() < 0.25 else 0.0
        round_ends, tails, hook = (rng.random(3) < (0.5, 0.7, 0.3)).tolist()
        return cls(thick, gap, wide, lean, round_ends, tails, hook, ghost)


def seven_segments(make: Segments) -> Face:
    """Return a face of digits and the minus sign drawn from segments."""
    space = (make.wide + make.thick * 1.2) * DIGIT
    margin = 16

    def draw(character: str) -> Glyph:
        lit = _SEGMENTS[character]
        if not make.tails:
            lit = {"6": "cdefg", "9": "abcfg"}.get(character, lit)
        if make.hook and character == "7":
            lit = "abcf"
        ink = np.zeros((DIGIT + 2 * margin, math.ceil(space) + 3 * margin), dtype=np.uint8)
        for name in "abcdefg":
            shade = 255 if name in lit else round(255 * make.ghost)
            if shade:
                _segment(ink, name, make, margin, shade)
        return crop(ink, -margin, -DIGIT - margin, space)

    return cache(draw)


def _segment(ink: UInt8Array, name: str, make: Segments, margin: int, shade: int) -> None:
    """Draw one segment of a digit into its ink."""
    half = make.thick / 2
    right, middle, bottom = make.wide - half, 0.5, 1 - half
    ends = {
        "a": (half, half, right, half),
        "b": (right, half, right, middle),
        "c": (right, middle, right, bottom),
        "d": (half, bottom, right, bottom),
        "e": (half, middle, half, bottom),
        "f": (half, half, half, middle),
        "g": (half, middle, right, middle),
    }[name]
    start, end = np.array(ends[:2]), np.array(ends[2:])
    along = (end - start) / np.linalg.norm(end - start)
    across = np.array([-along[1], along[0]]) * half
    inset = make.gap / 2 + (half if make.round_ends else 0.0)
    start, end = start + along * inset, end - along * inset
    tip = along * half
    corners = [start, start + tip + across, end - tip + across, end, end - tip - across, start + tip - across]
    if make.round_ends:
        corners = [start + across, end + across, end - across, start - across]
    points = np.array(corners)
    points[:, 0] += make.lean * (1 - points[:, 1])
    # Sixteenths of a pixel.
    pixels = np.round((points * DIGIT + margin) * 16).astype(np.int32)
    cv2.fillPoly(ink, [pixels], shade, cv2.LINE_AA, shift=4)
    if make.round_ends:
        for end_point in (start, end):
            x, y = end_point
            centre = np.round((np.array([x + make.lean * (1 - y), y]) * DIGIT + margin) * 16).astype(int)
            cv2.circle(ink, centre.tolist(), round(half * DIGIT * 16), shade, cv2.FILLED, cv2.LINE_AA, shift=4)


_DOTS = {
    "0": "0e 11 13 15 19 11 0e",
    "1": "04 0c 04 04 04 04 0e",
    "2": "0e 11 01 02 04 08 1f",
    "3": "1f 02 04 02 01 11 0e",
    "4": "02 06 0a 12 1f 02 02",
    "5": "1f 10 1e 01 01 11 0e",
    "6": "06 08 10 1e 11 11 0e",
    "7": "1f 01 02 04 08 08 08",
    "8": "0e 11 11 0e 11 11 0e",
    "9": "0e 11 11 0f 01 02 0c",
    "-": "00 00 00 1f 00 00 00",
}
"""Seven rows of five dots, bit by bit, as the character displays of the HD44780 show them."""


def dot_matrix(size: float, plain_zero: bool, round_dots: bool) -> Face:
    """Return a face of digits from 5x7 dots, as printers and displays have them.

    Parameters
    ----------
    size
        Of a dot, as a share of the distance between two; above 1 they run into each other.
    plain_zero
        The 0 has no stroke through it.
    round_dots
        Otherwise square.
    """
    step = DIGIT / 7
    side = max(1.0, size * step)

    def draw(character: str) -> Glyph:
        rows = [int(row, 16) for row in _DOTS[character].split()]
        if character == "0" and plain_zero:
            rows = [0x0E, *[0x11] * 5, 0x0E]
        ink = np.zeros((DIGIT + 16, math.ceil(5 * step) + 16), dtype=np.uint8)
        for y, row in enumerate(rows):
            for x in range(5):
                if row >> (4 - x) & 1:
                    centre = (np.array([x, y]) + 0.5) * step + 8
                    if round_dots:
                        place = np.round(centre * 16).astype(int).tolist()
                        cv2.circle(ink, place, round(side * 8), 255, cv2.FILLED, cv2.LINE_AA, shift=4)
                    else:
                        low, high = np.round(centre - side / 2).astype(int), np.round(centre + side / 2).astype(int)
                        ink[low[1] : high[1], low[0] : high[0]] = 255
        return crop(ink, -8, -DIGIT - 8, 6 * step)

    return cache(draw)


def handwriting(split: Split, rng: np.random.Generator) -> Face:
    """Return a face that takes another of MNIST's digits each time.

    Raises
    ------
    SourceError
        When MNIST is absent.
    """
    images, labels = mnist.digits(split)

    def draw(character: str) -> Glyph:
        choices = _of_class(split, int(character))
        tile = images[choices[rng.integers(len(choices))]]
        x, y, width, height = cv2.boundingRect(tile)
        scale = DIGIT / max(height, 14)
        size = (max(2, round(width * scale)), max(2, round(height * scale)))
        ink = cv2.resize(tile[y : y + height, x : x + width], size, interpolation=cv2.INTER_CUBIC)
        return Glyph(np.asarray(ink, dtype=np.uint8), 0, -size[1], size[0] + 0.1 * DIGIT)

    assert len(labels) == len(images)
    return draw


@cache
def _of_class(split: Split, digit: int) -> npt.NDArray[np.intp]:
    return np.flatnonzero(mnist.digits(split)[1] == digit)


class SetLine(NamedTuple):
    """A text set: its ink uint8 [h, w], and its digits' boxes float32 [n, 4] in pixels of it."""

    ink: UInt8Array
    boxes_xywh: FloatArray


def set_line(text: Sequence[str], face: Face, height: float, tracking: float) -> SetLine:
    """Set a text so that its digits are about `height` pixels high.

    Parameters
    ----------
    text
        Characters of the face, and spaces.
    tracking
        Added to every advance, as a share of the digits' height.
    """
    scale = height / DIGIT
    pen, placed = 0.0, []
    for character in text:
        if character == " ":
            pen += 0.35 * height
            continue
        glyph = face(character)
        size = (max(1, round(glyph.ink.shape[1] * scale)), max(1, round(glyph.ink.shape[0] * scale)))
        ink = cv2.resize(glyph.ink, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        placed.append((character, ink, round(pen + glyph.left * scale), round(glyph.top * scale)))
        pen += glyph.advance * scale + tracking * height
    left, top = min(x for _, _, x, _ in placed), min(y for _, _, _, y in placed)
    right = max(x + ink.shape[1] for _, ink, x, _ in placed)
    bottom = max(y + ink.shape[0] for _, ink, _, y in placed)
    page = np.zeros((bottom - top, right - left), dtype=np.uint8)
    boxes = []
    for character, ink, x, y in placed:
        h, w = ink.shape
        part = page[y - top : y - top + h, x - left : x - left + w]
        np.maximum(part, ink, out=part)
        if character.isdigit():
            boxes.append((x - left, y - top, w, h))
    return SetLine(page, np.array(boxes, dtype=np.float32).reshape(-1, 4))
