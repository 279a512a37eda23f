"""Several small scenes in one training image: more digits a multiplication, and edges where no number ends.

A network that sees far must not learn from small images alone: in those the border is always in view, so it learns
to need it. A mosaic (Bochkovskiy et al. 2020, arXiv:2004.10934) has the same digits in whole frames.
"""

from __future__ import annotations

import numpy as np

from digitcam.core.canvas import Number, Sample, rng_for
from digitcam.train.data import Data

CUTS = 0.35, 0.65
"""Shares of the height and of the width between which the cross lies; the smallest scene has the lower of both."""
_CUT_STREAM, _CHOICE_STREAM = 6, 7


def mosaic(data: Data, index: int, height: int, width: int, share: float, seed: int) -> Sample:
    """Draw training image `index`: four training scenes of a data set cut at a random cross, or one whole.

    The sample's number is that of the first scene that has one; the others follow it.

    Parameters
    ----------
    share
        Of the images that have four scenes, 0..1.
    seed
        Of the choice and the cuts.
    """
    if rng_for(seed, _CHOICE_STREAM, index).random() >= share:
        return data.sample("train", 4 * index, height, width)
    rng = rng_for(seed, _CUT_STREAM, index)
    row, column = round(height * rng.uniform(*CUTS)), round(width * rng.uniform(*CUTS))
    image = np.empty((height, width), dtype=np.uint8)
    numbers: list[Number] = []
    corners = [(0, 0, row, column), (0, column, row, width), (row, 0, height, column), (row, column, height, width)]
    for part, (top, left, bottom, right) in enumerate(corners):
        scene = data.sample("train", 4 * index + part, bottom - top, right - left)
        image[top:bottom, left:right] = scene.image
        move = np.array([left, top, 0, 0], dtype=np.float32)
        found = [Number(scene.number, scene.boxes_xywh), *scene.others]
        numbers += [Number(number, boxes + move) for number, boxes in found if number]
    if not numbers:
        return Sample(image, "", np.zeros((0, 4), dtype=np.float32))
    return Sample(image, numbers[0].number, numbers[0].boxes_xywh, tuple(numbers[1:]))
