"""The images that quantisation flipped, as a contact sheet, drawn from a result and the data set alone."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from digitcam.benchmarks.results import AccuracyResult, Flip
from digitcam.core.arrays import UInt8Array
from digitcam.core.draw import sheet
from digitcam.train.data import data_set
from digitcam.train.mnist import Split

MOST = 24
WIDTH, HEIGHT = 512, 256
"""Of a cell's image in pixels."""
WHITE, GREEN, RED = (230, 230, 230), (80, 220, 80), (60, 60, 240)
"""Colours, BGR."""


def flip_sheet(result: AccuracyResult, most: int = MOST) -> UInt8Array:
    """Return the worst flips uint8 [height, width, 3]: those lost first, and the surest of their wrong readings first.

    Each cell tells the truth, the reference's reading and the format's, in green where right. A result from before
    confidences were kept gives them in the order of the images.
    """
    flips = [
        (data.data, data.split, format, lost, flip)
        for data in result.data_sets
        for format, found in data.formats.items()
        for lost, some in ((True, found.lost), (False, found.won))
        for flip in some
    ]
    flips.sort(key=lambda one: (not one[3], -_wrongly_sure(one[3], one[4])))
    cells = []
    for name, split, format, lost, flip in flips[:most]:
        image = data_set(name).sample(cast(Split, split), flip.index).image
        before, now = (GREEN, RED) if lost else (RED, GREEN)
        lines = [
            (f"true {flip.truth or 'nothing'}   ({name} {flip.index})", WHITE),
            (f"{result.reference} {_reading(flip.reference, flip.reference_confidence)}", before),
            (f"{format} {_reading(flip.number, flip.confidence)}", now),
        ]
        cells.append(_cell(image, lines))
    none = [("no image is read otherwise than by " + result.reference, WHITE)]
    return sheet(cells or [_cell(np.zeros((HEIGHT, WIDTH), np.uint8), none)], columns=min(4, max(1, len(cells))))


def _wrongly_sure(lost: bool, flip: Flip) -> float:
    return (flip.confidence if lost else flip.reference_confidence) or 0.0


def _reading(number: str, confidence: float | None) -> str:
    sure = "" if confidence is None else f" ({100 * confidence:.0f}%)"
    return f"{number}{sure}" if number else "nothing"


def _cell(image: UInt8Array, lines: list[tuple[str, tuple[int, int, int]]]) -> UInt8Array:
    large = cv2.resize(image, (WIDTH, HEIGHT))
    picture = cv2.cvtColor(large, cv2.COLOR_GRAY2BGR) if large.ndim == 2 else large
    strip = np.zeros((24 * len(lines) + 6, WIDTH, 3), dtype=np.uint8)
    for i, (text, colour) in enumerate(lines):
        cv2.putText(strip, text, (6, 20 + 24 * i), cv2.FONT_HERSHEY_SIMPLEX, 0.55, colour, 1, cv2.LINE_AA)
    return np.vstack([picture, strip])
