"""Whether confidences mean what they say, and which share of the images can be had at which accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from digitcam.benchmarks.results import Bin, Calibration, Coverage
from digitcam.core.arrays import FloatArray

BINS = 10
TARGETS = (0.98, 0.99)
"""Accuracies for which the coverage is told."""


def calibration(confidences: FloatArray, right: Sequence[bool], bins: int = BINS) -> Calibration:
    """Return the reliability curve and the expected calibration error of N readings.

    After C. Guo, G. Pleiss, Y. Sun and K. Weinberger (2017), On calibration of modern neural networks, ICML, eq. 3:
    the mean over the readings of how far their bin's accuracy is from its mean confidence. Bins are of equal width,
    bin m of M holding confidences in ((m-1)/M, m/M], the first 0 as well; empty ones are left out.
    """
    sure, correct = np.asarray(confidences, dtype=np.float64), np.asarray(right, dtype=bool)
    number = np.clip(np.ceil(sure * bins).astype(int), 1, bins)
    curve = []
    for m in range(1, bins + 1):
        inside = number == m
        if inside.any():
            curve.append(Bin(int(inside.sum()), float(sure[inside].mean()), float(correct[inside].mean())))
    gaps = sum(one.readings * abs(one.accuracy - one.confidence) for one in curve)
    return Calibration(float(gaps / len(sure)) if len(sure) else 0.0, curve)


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
