"""Whether confidences mean what they say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from digitcam.benchmarks.results import Bin, Calibration
from digitcam.core.arrays import FloatArray

BINS = 10


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
