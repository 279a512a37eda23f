"""Measuring how well numbers were read and located; definitions after Marek (2017), see `train/recipes/seed/`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from digitcam.core.arrays import FloatArray
from digitcam.core.boxes import iou, to_centre
from digitcam.core.metrics import Coverage, Metrics

TARGETS = (0.98, 0.99)
"""Accuracies for which the coverage is told."""


def matching_characters(number: str, truth: str, positions: int) -> int:
    """Return how many of `positions` agree, both strings padded with blanks on the right.

    A number longer than `positions` has as many more positions, each of them wrong.
    """
    return sum(number[i : i + 1] == truth[i : i + 1] for i in range(positions)) - max(0, len(number) - positions)


def localisation_errors(boxes_xywh: FloatArray, truths_xywh: FloatArray) -> FloatArray:
    """Return per image [N] the mean squared difference of centre x, centre y, height and width, in px²."""
    result: FloatArray = np.square(to_centre(boxes_xywh) - to_centre(truths_xywh)).mean(axis=-1)
    return result


def measure(
    numbers: Sequence[str], boxes_xywh: FloatArray, truths: Sequence[str], truth_boxes_xywh: FloatArray
) -> Metrics:
    """Compare N readings with their truths.

    Parameters
    ----------
    numbers, truths
        The N strings read and true; an image with nothing read, or nothing to read, has an empty string and a
        box of zeros.
    boxes_xywh, truth_boxes_xywh
        [N, 4] in pixels of the network's input.

    Notes
    -----
    Sequence accuracy is the share of images with every position right, blanks included; character accuracy
    the share of positions right, each image having as many positions as the longest truth of the set.
    """
    if not len(numbers) == len(truths) == len(boxes_xywh) == len(truth_boxes_xywh) or not truths:
        raise ValueError("numbers, truths and boxes must be as many, and at least one")
    positions = max(1, max(map(len, truths)))
    right = np.array([n == t for n, t in zip(numbers, truths, strict=True)])
    characters = [matching_characters(n, t, positions) for n, t in zip(numbers, truths, strict=True)]
    lengths = np.array([len(t) for t in truths])
    somewhere = truth_boxes_xywh[:, 2] > 0
    errors = localisation_errors(boxes_xywh, truth_boxes_xywh)[somewhere]
    overlaps = iou(boxes_xywh, truth_boxes_xywh)[somewhere]
    return Metrics(
        images=len(truths),
        sequence_accuracy=float(right.mean()),
        character_accuracy=float(np.clip(characters, 0, None).sum() / (positions * len(truths))),
        localisation_error_px2=float(errors.mean()) if len(errors) else 0.0,
        iou=float(overlaps.mean()) if len(overlaps) else 1.0,
        sequence_by_length={str(n): float(right[lengths == n].mean()) for n in np.unique(lengths)},
    )


def coverage(confidences: FloatArray, right: Sequence[bool], images: int, target: float) -> Coverage:
    """Return the largest share of `images` whose readings, from some confidence on, are right to `target`.

    Parameters
    ----------
    confidences, right
        Of the N readings there are; an image on which nothing is read has none, and is never covered.
    """
    sure, correct = np.asarray(confidences, dtype=np.float64), np.asarray(right, dtype=bool)
    order = np.argsort(-sure, kind="stable")
    sure, hits = sure[order], np.cumsum(correct[order])
    taken = np.arange(1, len(sure) + 1)
    # Readings as sure as each other are taken together or not at all.
    last = np.append(sure[1:] < sure[:-1], True)[: len(sure)]
    enough = np.flatnonzero(last & (hits >= target * taken - 1e-9))
    if not len(enough):
        return Coverage(target, None, 0.0)
    end = enough[-1]
    return Coverage(target, float(sure[end]), float(taken[end] / images))
