"""Contact sheets: what training sees, and what a network reads wrongly."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from digitcam.core.arrays import FloatArray, UInt8Array
from digitcam.core.canvas import Sample
from digitcam.core.draw import sheet
from digitcam.train.data import data_set, samples
from digitcam.train.evaluate import Results
from digitcam.train.mnist import Split

DIGIT, TRUE, READ = (220, 180, 60), (80, 220, 80), (60, 60, 240)
"""Colours, BGR."""


def preview(name: str, split: Split, count: int) -> UInt8Array:
    """Return the first `count` images of a data set's split as one picture uint8 [height, width, 3]."""
    return sheet([_marked(sample) for sample in samples(name, split, count)], columns=4, cell_width=320)


def failures(results: Mapping[str, Results], split: Split, most: int) -> UInt8Array:
    """Return a sheet uint8 [height, width, 3] of the images read wrongly, the surest of them first.

    Parameters
    ----------
    results
        By data set, readings of the first images of its `split`.
    most
        How many images are shown at most.
    """
    wrong = [
        (float(found.confidences[index]), name, index)
        for name, found in results.items()
        for index, (number, truth) in enumerate(zip(found.numbers, found.truths, strict=True))
        if number != truth
    ]
    wrong.sort(key=lambda failure: -failure[0])
    cells = []
    for _, name, index in wrong[:most]:
        sample = data_set(name).sample(split, index)
        cells.append(_failure(sample, results[name], index, f"{name} {index}"))
    count = sum(len(found.truths) for found in results.values())
    return sheet(cells or [_captioned(np.zeros((256, 512, 3), np.uint8), "none", f"all {count} images are read right")])


def _marked(sample: Sample) -> UInt8Array:
    image = _doubled(sample.image)
    for box in sample.boxes_xywh:
        _box(image, box, DIGIT)
    cv2.putText(image, sample.number, (6, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.75, TRUE, 2, cv2.LINE_AA)
    return image


def _failure(sample: Sample, found: Results, index: int, name: str) -> UInt8Array:
    image = _doubled(sample.image)
    for box, colour in ((found.truth_boxes_xywh[index], TRUE), (found.boxes_xywh[index], READ)):
        if box[2] > 0:
            _box(image, box, colour)
    sure = f"{100 * found.confidences[index]:.0f}%"
    read = f"read {found.numbers[index]} ({sure})" if found.numbers[index] else "read nothing"
    return _captioned(image, read, f"true {found.truths[index] or 'nothing'}   ({name})")


def _doubled(image: UInt8Array) -> UInt8Array:
    """Return an image as BGR, twice as large."""
    large = cv2.resize(image, None, fx=2, fy=2)
    return cv2.cvtColor(large, cv2.COLOR_GRAY2BGR) if large.ndim == 2 else large  # type: ignore[return-value]


def _box(image: UInt8Array, box_xywh: FloatArray, colour: tuple[int, int, int]) -> None:
    """Draw a box, given in pixels of the image before it was doubled."""
    x, y, width, height = (2 * box_xywh).round().astype(int).tolist()
    cv2.rectangle(image, (x, y), (x + width, y + height), colour, 1)


def _captioned(image: UInt8Array, read: str, true: str) -> UInt8Array:
    """Return an image with two lines below it, in the colours of the boxes."""
    strip = np.zeros((48, image.shape[1], 3), dtype=np.uint8)
    for y, text, colour in ((20, read, READ), (42, true, TRUE)):
        cv2.putText(strip, text, (6, y), cv2.FONT_HERSHEY_SIMPLEX, 0.6, colour, 1, cv2.LINE_AA)
    return np.vstack([image, strip])
