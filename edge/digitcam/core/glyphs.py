"""Digits that need no download: tiles drawn from a committed sheet of fonts, strokes and warps varied.

The sheet is made by `digitcam.train.atlas`. Tiles look like MNIST's: white on black, 20 of 28 pixels inked.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from digitcam.core.arrays import FloatArray, UInt8Array

ATLAS = Path(__file__).with_name("glyphs.png")
SIZE = 56
"""Side of a tile of the sheet in pixels."""
INK = 40
"""Longer side of the inked part of such a tile in pixels."""


@cache
def tiles() -> UInt8Array:
    """Return the digits uint8 [10, variants, SIZE, SIZE]; the variants are the fonts, each thin, plain and bold."""
    sheet = cv2.imread(str(ATLAS), cv2.IMREAD_GRAYSCALE)
    assert sheet is not None, "the wheel lacks core/glyphs.png"
    plain = sheet.reshape(-1, SIZE, 10, SIZE).transpose(2, 0, 1, 3)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    flat = plain.reshape(-1, SIZE)
    thin, bold = (operation(flat, kernel).reshape(plain.shape) for operation in (cv2.erode, cv2.dilate))
    return np.concatenate([thin, plain, bold], axis=1)


@cache
def _grid(side: int) -> FloatArray:
    """Return pixel places [side, side, 2] (x, y) measured from the centre of a tile, in tile sides."""
    y, x = np.mgrid[:side, :side].astype(np.float32)
    places: FloatArray = (np.stack([x, y], axis=-1) + np.float32(0.5)) / np.float32(side) - np.float32(0.5)
    return places


@cache
def _ripples(side: int) -> FloatArray:
    """Return 64 smooth displacement fields [64, side, side, 2], standard deviation 1, always the same."""
    noise = np.random.Generator(np.random.Philox(28)).standard_normal((64, 28, 28, 2), dtype=np.float32)
    smooth = [cv2.GaussianBlur(field, (0, 0), 5, borderType=cv2.BORDER_REFLECT) for field in noise]
    return np.stack([cv2.resize(field / field.std(), (side, side)) for field in smooth])


def warp(tile: UInt8Array, side: int, strength: float, rng: np.random.Generator) -> UInt8Array:
    """Return a tile turned, slanted, stretched, shifted and rippled a little, as uint8 [side, side].

    Parameters
    ----------
    tile
        uint8 [n, n], white on black, n at most twice the side.
    side
        The result's side in pixels.
    strength
        0 only resizes; 1 turns up to 12°, slants up to 0.2, stretches up to 15 % a side, shifts up to 4 % of the
        tile and ripples with a standard deviation of 1.4 % of it.
    rng
        Where the variation comes from.
    """
    turn, slant, stretch_x, stretch_y, shift_x, shift_y = (strength * rng.uniform(-1, 1, 6)).tolist()
    cos, sin = math.cos(math.radians(12 * turn)), math.sin(math.radians(12 * turn))
    wide, high = 1 + 0.15 * stretch_x, 1 + 0.15 * stretch_y
    n = len(tile)
    # From the result's place, in tile sides from the centre, to the tile's pixel.
    matrix = np.array(
        [
            [n * cos * wide, n * (0.2 * slant - sin) * high, n * (0.5 + 0.04 * shift_x) - 0.5],
            [n * sin * wide, n * cos * high, n * (0.5 + 0.04 * shift_y) - 0.5],
        ]
    )
    places = cv2.transform(_grid(side), matrix)
    if strength > 0:
        places = cv2.scaleAdd(_ripples(side)[rng.integers(64)], 0.014 * strength * n, places)
    return cv2.remap(tile, places, None, cv2.INTER_LINEAR)  # type: ignore[call-overload,no-any-return]


def draw(digit: int, side: int, rng: np.random.Generator, strength: float = 1.0) -> UInt8Array:
    """Return one digit as uint8 [side, side], from a random font and stroke, warped."""
    variants = tiles()[digit]
    return warp(variants[rng.integers(len(variants))], side, strength, rng)
