"""The MNIST canvas of Marek (2017), drawn on the fly: nothing on disk, any image again from (seed, split, index)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from digitcam.core import glyphs
from digitcam.core.canvas import (
    HEIGHT,
    SMALLEST_TILE,
    TILE,
    WIDTH,
    Sample,
    draw_glyphs,
    lay_out,
    random_number,
    rng_for,
)
from digitcam.train import mnist
from digitcam.train.mnist import Split

SIZES: dict[Split, int] = {"train": 165_000, "validation": 15_000, "test": 30_000}
"""Images a split, as in the seed. Training may draw on beyond its size: every index is a new image."""
_STREAMS: dict[Split, int] = {"train": 0, "validation": 1, "test": 2}


class CanvasData(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="canvas", tag_field="kind"):
    """One to `max_digits` digits side by side at a random place on black.

    digits
        Where the digits come from: `mnist` as they are; `glyphs` drawn from fonts, in several sizes and lights;
        `mnist+glyphs` mixes whole images of both.
    min_digits, max_digits
        How many digits an image has, uniform, both included.
    glyph_share
        With `mnist+glyphs`, the share of images drawn from fonts.
    warp
        Strength of the warp of MNIST's digits in training images (`core.glyphs.warp`); never in other splits.
    seed
        Draws other images from the same digits.
    """

    digits: Literal["mnist", "glyphs", "mnist+glyphs"] = "glyphs"
    min_digits: Annotated[int, msgspec.Meta(ge=1, le=5)] = 1
    max_digits: Annotated[int, msgspec.Meta(ge=1, le=5)] = 5
    glyph_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.3
    warp: Annotated[float, msgspec.Meta(ge=0, le=2)] = 0.0
    seed: Annotated[int, msgspec.Meta(ge=0)] = 1

    def __post_init__(self) -> None:
        if self.min_digits > self.max_digits:
            raise ValueError("min_digits is larger than max_digits")

    @property
    def channels(self) -> int:
        """Grey."""
        return 1

    def check_size(self, height: int, width: int) -> None:
        """Raise a ValueError that says why images of a size cannot be drawn, if they cannot."""
        tile = SMALLEST_TILE if self.digits == "glyphs" else TILE
        if height < tile or width < tile * self.max_digits:
            raise ValueError(
                f"{height}x{width} is too small for data.max_digits = {self.max_digits}: "
                f"that needs {tile}x{tile * self.max_digits}"
            )
        if self.digits != "mnist" and (height > HEIGHT or width > WIDTH):
            raise ValueError(
                f"{height}x{width} is too large for data.digits = {self.digits!r}: at most {HEIGHT}x{WIDTH}"
            )

    def size(self, split: Split) -> int:
        """Return how many images a split has, as in the seed."""
        return SIZES[split]

    def sample(self, split: Split, index: int, height: int = HEIGHT, width: int = WIDTH) -> Sample:
        """Draw image `index` of a split, by default on the seed's canvas of 128x256 pixels.

        Raises
        ------
        SourceError
            When MNIST is asked for and absent.
        """
        rng = rng_for(self.seed, _STREAMS[split], index)
        lengths = (self.min_digits, self.max_digits)
        if self.digits == "glyphs" or (self.digits == "mnist+glyphs" and rng.random() < self.glyph_share):
            return draw_glyphs(random_number(lengths, rng), rng, height, width)
        images, labels = mnist.digits(split)
        chosen = rng.integers(0, len(images), int(rng.integers(lengths[0], lengths[1] + 1))).tolist()
        tiles = [images[i] for i in chosen]
        if split == "train" and self.warp > 0:
            tiles = [glyphs.warp(tile, TILE, self.warp, rng) for tile in tiles]
        return lay_out(tiles, "".join(str(labels[i]) for i in chosen), height, width, rng)
