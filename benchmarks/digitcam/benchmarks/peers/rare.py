"""The log of data sets that must not be looked at often, for a comparison on such a one."""

from __future__ import annotations

from math import nan
from pathlib import Path

from digitcam.benchmarks.results.peers import PeersResult


def log(result: PeersResult, path: Path) -> None:
    """Append digitcam's line, as `bench accuracy` does, where the frames are of a rarely measured data set."""
    if result.split is None:
        return
    # It knows the data sets, for which it loads torch.
    from digitcam.benchmarks.accuracy import log_rare
    from digitcam.benchmarks.results import AccuracyResult, DataSetAccuracy, FormatAccuracy
    from digitcam.core.metrics import Metrics

    (format,) = result.subject.bytes
    share = result.peers["digitcam"].sequence_accuracy
    # The log keeps nothing but the share; the rest is not measured here.
    found = FormatAccuracy(Metrics(result.frames, share, nan, nan, nan, {}), 0.0, [], [])
    data = DataSetAccuracy(result.source, result.split, result.frames, {format: found})
    log_rare(AccuracyResult(result.subject, result.environment, format, [data]), path)
