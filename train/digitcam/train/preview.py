"""A contact sheet of a data set: drawn images with their digits' boxes and numbers."""

from __future__ import annotations

import cv2

from digitcam.core.arrays import UInt8Array
from digitcam.core.canvas import Sample
from digitcam.core.draw import sheet
from digitcam.train.data import samples
from digitcam.train.mnist import Split


def preview(name: str, split: Split, count: int) -> UInt8Array:
    """Return the first `count` images of a data set's split as one picture uint8 [height, width, 3]."""
    return sheet([_marked(sample) for sample in samples(name, split, count)], columns=4, cell_width=320)


def _marked(sample: Sample) -> UInt8Array:
    image = cv2.cvtColor(cv2.resize(sample.image, None, fx=2, fy=2), cv2.COLOR_GRAY2BGR)
    for x, y, width, height in (2 * sample.boxes_xywh).round().astype(int).tolist():
        cv2.rectangle(image, (x, y), (x + width, y + height), (220, 180, 60), 1)
    cv2.putText(image, sample.number, (6, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.75, (80, 220, 80), 2, cv2.LINE_AA)
    return image  # type: ignore[return-value]
