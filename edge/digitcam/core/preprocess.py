"""Frame to network input, and boxes back to the frame: pure functions, the same in training and on a device."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from digitcam.core.arrays import FloatArray, UInt8Array
from digitcam.core.boxes import BoxXYWH
from digitcam.core.card import Input


class Letterbox(NamedTuple):
    """How a frame lies in the input: `input = frame * scale + offset`, x and y apart, in pixels."""

    scale_x: float
    scale_y: float
    offset_x: int
    offset_y: int

    def to_input(self, boxes_xywh: FloatArray) -> FloatArray:
        """Map boxes [..., 4] in frame pixels to input pixels."""
        scale = np.array([self.scale_x, self.scale_y, self.scale_x, self.scale_y], dtype=np.float32)
        return boxes_xywh * scale + np.array([self.offset_x, self.offset_y, 0, 0], dtype=np.float32)

    def to_frame(self, box_xywh: BoxXYWH) -> BoxXYWH:
        """Map a box in input pixels to frame pixels."""
        x, y, width, height = box_xywh
        left, top = (x - self.offset_x) / self.scale_x, (y - self.offset_y) / self.scale_y
        return left, top, width / self.scale_x, height / self.scale_y


def fit(frame_height: int, frame_width: int, spec: Input) -> tuple[Letterbox, tuple[int, int]]:
    """Return how a frame is centred in the input with its proportions kept, and its size there (height, width)."""
    scale = min(spec.height / frame_height, spec.width / frame_width)
    height = min(spec.height, max(1, round(frame_height * scale)))
    width = min(spec.width, max(1, round(frame_width * scale)))
    offset_y, offset_x = (spec.height - height) // 2, (spec.width - width) // 2
    return Letterbox(width / frame_width, height / frame_height, offset_x, offset_y), (height, width)


def letterbox(frame: UInt8Array, spec: Input) -> tuple[UInt8Array, Letterbox]:
    """Fit a frame into the network's input.

    Parameters
    ----------
    frame
        uint8 [height, width] grey or [height, width, 3] BGR, any size from 1x1.
    spec
        The card's input.

    Returns
    -------
    tensor
        uint8 [1, spec.height, spec.width, spec.channels], contiguous; the border holds `spec.fill`.
    placement
        For mapping boxes between frame and input.
    """
    if frame.dtype != np.uint8 or frame.ndim not in (2, 3) or frame.size == 0:
        raise ValueError(f"a frame is uint8 [height, width] or [height, width, 3], not {frame.dtype} {frame.shape}")
    if spec.channels == 1 and frame.ndim == 3:
        frame = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)  # type: ignore[assignment]
    elif spec.channels == 3 and frame.ndim == 2:
        frame = cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)  # type: ignore[assignment]
    placement, (height, width) = fit(frame.shape[0], frame.shape[1], spec)
    tensor: UInt8Array = np.full((1, spec.height, spec.width, spec.channels), spec.fill, dtype=np.uint8)
    top, left = placement.offset_y, placement.offset_x
    inside = tensor[0, top : top + height, left : left + width]
    _resize(frame, inside[..., 0] if spec.channels == 1 else inside)
    return tensor, placement


def _resize(image: UInt8Array, out: UInt8Array) -> None:
    """Fill `out` with an image of like channels: averaged over areas when it shrinks, else interpolated.

    What is left to shrink by less than two after halving is interpolated as well: it takes from the same two or three
    pixels what the average over areas takes, in an eighth of the time.
    """
    height, width = out.shape[:2]
    if image.shape[:2] == (height, width):
        out[...] = image
        return
    while image.shape[0] >= 2 * height and image.shape[0] % 2 == 0 and image.shape[1] % 2 == 0:
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = cv2.resize(image, half, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    # Area averaging keeps thin strokes when shrinking much; it is undefined for enlarging.
    how = cv2.INTER_LINEAR if image.shape[0] < 2 * height else cv2.INTER_AREA
    cv2.resize(image, (width, height), out, interpolation=how)
