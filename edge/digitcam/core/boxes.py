"""Axis-aligned boxes: x, y, width, height in pixels, x to the right, y down, origin at the top left."""

from __future__ import annotations

import numpy as np

from digitcam.core.arrays import FloatArray

BoxXYWH = tuple[float, float, float, float]
"""One box as plain numbers, with which Python counts far faster than with numpy's."""


def union(boxes_xywh: FloatArray) -> FloatArray:
    """Return the smallest box that holds all of `boxes_xywh` [N, 4]; zeros [4] when N is 0."""
    if len(boxes_xywh) == 0:
        return np.zeros(4, dtype=np.float32)
    low = boxes_xywh[:, :2].min(axis=0)
    high = (boxes_xywh[:, :2] + boxes_xywh[:, 2:]).max(axis=0)
    return np.concatenate([low, high - low]).astype(np.float32)


def iou(a_xywh: FloatArray, b_xywh: FloatArray) -> FloatArray:
    """Return the intersection over union [...] of boxes [..., 4], broadcast; 0 where both are empty."""
    low = np.maximum(a_xywh[..., :2], b_xywh[..., :2])
    high = np.minimum(a_xywh[..., :2] + a_xywh[..., 2:], b_xywh[..., :2] + b_xywh[..., 2:])
    overlap = np.maximum(high - low, 0)
    # Not np.prod, which takes many times as long over two.
    inter = overlap[..., 0] * overlap[..., 1]
    total = a_xywh[..., 2] * a_xywh[..., 3] + b_xywh[..., 2] * b_xywh[..., 3] - inter
    result: FloatArray = inter / np.where(total > 0, total, 1)
    return result


def to_centre(boxes_xywh: FloatArray) -> FloatArray:
    """Return boxes [..., 4] in the seed's form: centre x, centre y, height, width in pixels."""
    x, y, w, h = np.moveaxis(boxes_xywh, -1, 0)
    return np.stack([x + w / 2, y + h / 2, h, w], axis=-1)
