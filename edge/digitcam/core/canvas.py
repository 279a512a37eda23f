"""Numbers laid out from square tiles, as in the MNIST canvas of Marek (2017): side by side, at a random place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from digitcam.core import glyphs
from digitcam.core.arrays import FloatArray, UInt8Array
from digitcam.core.boxes import union

HEIGHT, WIDTH, TILE = 128, 256, 28
"""The seed's canvas and tile in pixels. Drawn digits have no larger canvas."""
SMALLEST_TILE = 24
"""Of drawn digits, in pixels."""


class Number(NamedTuple):
    """A number and its digits' boxes float32 [n, 4] in pixels."""

    number: str
    boxes_xywh: FloatArray


class Sample(NamedTuple):
    """A drawn image uint8 [height, width], the number on it, and its digits' boxes float32 [n, 4] in pixels.

    An image without a number has an empty one. `others` are further, shorter numbers on it.
    """

    image: UInt8Array
    number: str
    boxes_xywh: FloatArray
    others: tuple[Number, ...] = ()

    @property
    def box_xywh(self) -> FloatArray:
        """The number's box [4]: the union of its digits' boxes."""
        return union(self.boxes_xywh)


def rng_for(seed: int, stream: int, index: int) -> np.random.Generator:
    """Return the generator of one image: the same (seed, stream, index) draws the same image on every machine.

    Philox is counter based, so a generator at any index costs microseconds and streams never overlap.
    """
    return np.random.Generator(np.random.Philox(key=[seed, stream], counter=[0, index, 0, 0]))


def lay_out(tiles: Sequence[UInt8Array], number: str, height: int, width: int, rng: np.random.Generator) -> Sample:
    """Put equal square tiles side by side at a random place on a black canvas."""
    side = len(tiles[0])
    y = int(rng.integers(height - side + 1))
    x = int(rng.integers(width - side * len(tiles) + 1))
    image = np.zeros((height, width), dtype=np.uint8)
    image[y : y + side, x : x + side * len(tiles)] = np.hstack(tiles)
    boxes = np.array([[x + i * side, y, side, side] for i in range(len(tiles))], dtype=np.float32)
    return Sample(image, number, boxes)


def random_number(lengths: tuple[int, int], rng: np.random.Generator) -> str:
    """Return a number of uniformly many digits within `lengths` (both included), each uniform."""
    length = int(rng.integers(lengths[0], lengths[1] + 1))
    return "".join(map(str, rng.integers(0, 10, length)))


def draw_glyphs(
    number: str,
    rng: np.random.Generator,
    height: int = HEIGHT,
    width: int = WIDTH,
    sides: tuple[int, int] = (SMALLEST_TILE, 40),
) -> Sample:
    """Draw a number with `glyphs`: one tile size within `sides` that fits, one font a number, uneven light, noise."""
    side = int(rng.integers(sides[0], min(sides[1], height, width // len(number)) + 1))
    variant = int(rng.integers(glyphs.tiles().shape[1]))
    drawn = [glyphs.warp(glyphs.tiles()[int(digit), variant], side, 0.6, rng) for digit in number]
    sample = lay_out(drawn, number, height, width, rng)
    return sample._replace(image=light(sample.image, rng))


def light(image: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """Return a white-on-black image with the contrast lowered, the background raised and noise added."""
    background, contrast, sigma = rng.uniform((0, 0.45, 0), (70, 1, 9)).tolist()
    height, width = image.shape
    y, x = rng.integers(64, size=2).tolist()
    noise = _NOISE[y : y + height, x : x + width]
    gain = contrast * (255 - background) / 255
    return cv2.addWeighted(image, gain, noise, sigma, background, dtype=cv2.CV_8U)  # type: ignore[return-value]


_NOISE = np.random.Generator(np.random.Philox(64)).standard_normal((HEIGHT + 64, WIDTH + 64), dtype=np.float32)
