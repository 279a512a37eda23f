"""What the report's page shows of accuracy: every network and format on a data set side by side."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from digitcam.benchmarks import charts
from digitcam.benchmarks.flips import Pictures, pictures
from digitcam.benchmarks.gather import machine, threads
from digitcam.benchmarks.plots import Palette, Plot
from digitcam.benchmarks.results import AccuracyResult, DataSetAccuracy, FormatAccuracy, LatencyResult
from digitcam.benchmarks.statistics import wilson


class Row(NamedTuple):
    """A format on a data set, with the 95 % interval (Wilson) of its share of right readings."""

    file: str
    result: AccuracyResult
    images: int
    format: str
    found: FormatAccuracy
    interval: tuple[float, float]


class DataSet(NamedTuple):
    """All networks on one data set and split.

    untimed
        Networks without a point in the plots: no valid latency of the very same network is there.
    """

    title: str
    rows: list[Row]
    plots: list[Plot]
    untimed: list[str]
    flips: list[Pictures]


def data_sets(results: dict[str, AccuracyResult], latency: Iterable[LatencyResult], palette: Palette) -> list[DataSet]:
    """Return what is shown of each data set, in the order of the files."""
    timed = _medians(latency)
    groups: dict[str, list[tuple[str, AccuracyResult, DataSetAccuracy]]] = {}
    for file, result in results.items():
        for data in result.data_sets:
            groups.setdefault(f"{data.data}, {data.split}", []).append((file, result, data))
    return [_data_set(title, some, timed, palette) for title, some in groups.items()]


def _data_set(
    title: str,
    measured: list[tuple[str, AccuracyResult, DataSetAccuracy]],
    timed: dict[str, dict[str, float]],
    palette: Palette,
) -> DataSet:
    rows = [
        Row(file, result, data.images, format, found, _interval(found, data.images))
        for file, result, data in measured
        for format, found in data.formats.items()
    ]
    plots = [
        charts.accuracy_latency(palette, title, made_on, points)
        for made_on, medians in timed.items()
        if (points := _points(rows, medians))
    ]
    if curves := [curve for row in rows if (curve := _reliability(row))]:
        plots.append(charts.reliability(palette, title, _told_apart(curves)))
    lengths = [_lengths(row) for row in rows]
    if max(len(curve.x) for curve in lengths) > 1:
        plots.append(charts.by_length(palette, title, _told_apart(lengths)))
    known = {sha for medians in timed.values() for sha in medians}
    untimed = [
        f"{row.result.subject.name} {row.format}" for row in rows if row.result.subject.sha256[row.format] not in known
    ]
    flips = [pictures(result, data) for _, result, data in measured]
    return DataSet(title, rows, plots, untimed, [some for some in flips if some.images])


def _medians(latency: Iterable[LatencyResult]) -> dict[str, dict[str, float]]:
    """Return by machine and threads the median in ms of each network, by its SHA-256; invalid ones are left out."""
    found: dict[str, dict[str, float]] = {}
    for result in latency:
        if result.holds:
            of_machine = found.setdefault(f"{machine(result.environment)}, {threads(result.threads)}", {})
            for format, times in result.formats.items():
                of_machine.setdefault(result.subject.sha256[format], times.p50_ms)
    return found


def _points(rows: list[Row], medians: dict[str, float]) -> list[charts.Point]:
    found = []
    for row in rows:
        subject, share = row.result.subject, row.found.metrics.sequence_accuracy
        if (sha := subject.sha256[row.format]) in medians:
            found.append(charts.Point(subject.name, row.format, medians[sha], share, row.interval))
    return found


def _interval(found: FormatAccuracy, images: int) -> tuple[float, float]:
    return wilson(round(found.metrics.sequence_accuracy * images), images)


def _reliability(row: Row) -> charts.Curve | None:
    if row.found.calibration is None or not row.found.calibration.curve:
        return None
    bins = row.found.calibration.curve
    x, y = [one.confidence for one in bins], [one.accuracy for one in bins]
    return charts.Curve(row.result.subject.name, row.format, x, y, [one.readings for one in bins])


def _lengths(row: Row) -> charts.Curve:
    by_length = sorted((int(length), share) for length, share in row.found.metrics.sequence_by_length.items())
    x, y = [float(length) for length, _ in by_length], [share for _, share in by_length]
    return charts.Curve(row.result.subject.name, row.format, x, y)


def _told_apart(curves: list[charts.Curve]) -> list[charts.Curve]:
    """Leave out curves that lie on another of the same bundle: float in both runtimes reads alike."""
    kept: list[charts.Curve] = []
    for curve in curves:
        if not any((one.bundle, one.x, one.y) == (curve.bundle, curve.x, curve.y) for one in kept):
            kept.append(curve)
    return kept
