"""From which confidence a reading counts: measured, not guessed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from digitcam.core.card import Thresholds
from digitcam.core.measure import TARGETS, coverage
from digitcam.core.metrics import Coverage
from digitcam.train.evaluate import Results, joined

FALSE_SHARE = 0.01
"""Share of the frames without a number that may give an accepted reading."""


def accept_threshold(results: Sequence[Results]) -> float:
    """Return the confidence, in hundredths, from which at most `FALSE_SHARE` of frames without a number are accepted.

    Of these frames fewer are, by two standard errors of such a share, so that it holds on others as well. It holds for
    each of several networks' results, and is no lower than a card's default, which is also the answer where there are
    no such frames.
    """
    steps = np.arange(round(100 * Thresholds().accept), 100) / 100
    return float(max((_threshold(found, steps) for found in results), default=steps[0]))


def coverages(results: Mapping[str, Sequence[Results]]) -> dict[str, list[Coverage]]:
    """Return by format what of all images together is covered at each of `TARGETS`.

    Parameters
    ----------
    results
        By format, those on each data set.
    """
    return {format: _coverages(joined(parts)) for format, parts in results.items()}


def _coverages(found: Results) -> list[Coverage]:
    read = np.array([number != "" for number in found.numbers])
    right = np.array([number == truth for number, truth in zip(found.numbers, found.truths, strict=True)])
    return [coverage(found.confidences[read], right[read], len(read), target) for target in TARGETS]


def _threshold(found: Results, steps: np.ndarray) -> float:
    empty = found.confidences[[truth == "" for truth in found.truths]]
    if not len(empty):
        return float(steps[0])
    share = FALSE_SHARE - 2 * math.sqrt(FALSE_SHARE * (1 - FALSE_SHARE) / len(empty))
    enough = [step for step in steps if (empty >= step).mean() <= max(share, 0)]
    # Where even the highest step lets too many through, nothing better can be had of these networks.
    return float(enough[0] if enough else steps[-1])
