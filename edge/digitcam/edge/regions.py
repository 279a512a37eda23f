"""Parts of a frame cut out upright, and the way back for the boxes found in them: pure functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from digitcam.core.arrays import FloatArray, UInt8Array
from digitcam.core.boxes import BoxXYWH
from digitcam.core.errors import ConfigError
from digitcam.edge.config.regions import Region


class View(NamedTuple):
    """What is read as one number's place.

    region
        Its name, empty for the whole frame.
    image
        uint8 [height, width] or [height, width, 3].
    to_frame
        Maps a box in pixels of `image` to the upright box around it in pixels of the frame.
    """

    region: str
    image: UInt8Array
    to_frame: Callable[[BoxXYWH], BoxXYWH]


class Cut(NamedTuple):
    """A region of frames of one size.

    matrix
        From pixels of the frame to those of the cut-out image [3, 3], homogeneous; pixel centres are at halves.
    size
        Width and height of the cut-out image.
    back
        The rows of its inverse, as plain numbers.
    slices
        Rows and columns where the region lies upright on whole pixels, and nothing needs to be warped; else None.
    """

    matrix: FloatArray
    size: tuple[int, int]
    back: list[list[float]]
    slices: tuple[slice, slice] | None

    def out(self, image: UInt8Array) -> UInt8Array:
        """Return the region of a frame, uint8 [height, width] or [height, width, 3]; what lies outside is black."""
        if self.slices:
            return image[self.slices]
        # OpenCV puts pixel centres at whole numbers.
        half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
        matrix = np.linalg.inv(half) @ self.matrix @ half
        return np.asarray(cv2.warpPerspective(image, matrix, self.size))

    def to_frame(self, box_xywh: BoxXYWH) -> BoxXYWH:
        """Map a box in the cut-out image to the upright box around it in the frame."""
        x, y, width, height = box_xywh
        (xx, xy, x0), (yx, yy, y0), (wx, wy, w0) = self.back
        corners = []
        for u, v in ((x, y), (x + width, y), (x + width, y + height), (x, y + height)):
            w = wx * u + wy * v + w0
            corners.append(((xx * u + xy * v + x0) / w, (yx * u + yy * v + y0) / w))
        lefts, tops = zip(*corners, strict=True)
        left, top = min(lefts), min(tops)
        return left, top, max(lefts) - left, max(tops) - top


def views(image: UInt8Array, regions: tuple[Region, ...]) -> list[View]:
    """Return what is to be read of a frame, uint8 [height, width(, 3)]: its regions, or all of it where there are none.

    Raises
    ------
    ConfigError
        When a region lies outside the frame.
    """
    if not regions:
        return [View("", image, _as_it_is)]
    height, width = image.shape[:2]
    cuts = _cuts(regions, width, height)
    return [View(region.name, cut.out(image), cut.to_frame) for region, cut in zip(regions, cuts, strict=True)]


def cut(region: Region, width: int, height: int) -> Cut:
    """Return how a region is cut out of frames of a size.

    Raises
    ------
    ConfigError
        When it reaches out of the frame: upright by more than a pixel, turned or slanted by more than the frame's size
        to any side, or altogether.
    """
    corners = corners_of(region, width, height)
    low, high = corners.min(axis=0), corners.max(axis=0)
    turned = bool(region.quad) or region.turn % 360 != 0
    frame = np.array([width, height])
    # The corners of a turned box may well stick out, but there must be memory for what is cut out.
    near = (low < frame) & (high > 0) & (low >= -frame) & (high <= 2 * frame)
    if not (near if turned else high <= frame + 1).all():
        raise ConfigError(f"regions: {region.name} reaches out of the {width}x{height} frame: draw it anew")
    top, right = np.linalg.norm(corners[1] - corners[0]), np.linalg.norm(corners[2] - corners[1])
    bottom, left = np.linalg.norm(corners[2] - corners[3]), np.linalg.norm(corners[3] - corners[0])
    size = max(1, round(max(top, bottom))), max(1, round(max(left, right)))
    straight = np.array([[0, 0], [size[0], 0], size, [0, size[1]]], dtype=np.float32)
    matrix = np.asarray(cv2.getPerspectiveTransform(corners.astype(np.float32), straight), dtype=np.float64)
    if turned:
        return Cut(matrix, size, np.linalg.inv(matrix).tolist(), None)
    x, y = min(round(low[0]), width - 1), min(round(low[1]), height - 1)
    size = max(1, min(size[0], width - x)), max(1, min(size[1], height - y))
    move = np.array([[1.0, 0, -x], [0, 1, -y], [0, 0, 1]])
    back = [[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]]
    return Cut(move, size, back, (slice(y, y + size[1]), slice(x, x + size[0])))


def corners_of(region: Region, width: int, height: int) -> FloatArray:
    """Return a region's corners [4, 2] in pixels of a frame: top left, top right, bottom right, bottom left as read."""
    numbers = region.quad if region.quad is not None else region.box
    given = np.array(numbers, dtype=np.float64).reshape(-1, 2)
    if not region.in_pixels:
        given = given * (width, height)
    if region.quad is not None:
        return given
    centre, half = given[0] + given[1] / 2, given[1] / 2
    angle = np.radians(region.turn)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    corners: FloatArray = centre + signs * half @ turn
    return corners


@lru_cache(maxsize=8)
def _cuts(regions: tuple[Region, ...], width: int, height: int) -> tuple[Cut, ...]:
    return tuple(cut(region, width, height) for region in regions)


def _as_it_is(box_xywh: BoxXYWH) -> BoxXYWH:
    return box_xywh
