"""`bench compare`: two results of the same kind side by side, and what fell by more than noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from digitcam.benchmarks.compare_others import compare_debug, compare_overhead, compare_peers, compare_sweep
from digitcam.benchmarks.comparison import NOISE, Comparison, notes_on, same_machine
from digitcam.benchmarks.gather import threads
from digitcam.benchmarks.images import others
from digitcam.benchmarks.results import (
    AccuracyResult,
    DataSetAccuracy,
    DebugResult,
    FormatAccuracy,
    LatencyResult,
    OverheadResult,
    PeersResult,
    Result,
    SweepResult,
    read_any,
    refuse_invalid,
)
from digitcam.benchmarks.statistics import independent_interval, paired_interval
from digitcam.core.errors import BenchmarkInvalidError


def compare_files(before: Path, after: Path) -> Comparison:
    """Compare two result files.

    Raises
    ------
    BenchmarkInvalidError
        When one is missing, of another schema or invalid, they are not of one kind, or have nothing in common.
    """
    a, b = read_any(before), read_any(after)
    refuse_invalid(before, a)
    refuse_invalid(after, b)
    if type(a) is not type(b):
        raise BenchmarkInvalidError(
            f"{after}: is of kind {_kind(type(b))}, {before} of {_kind(type(a))}: compare two of one kind"
        )
    if type(a) not in _BY_KIND:
        kinds = ", ".join(map(_kind, _BY_KIND))
        raise BenchmarkInvalidError(f"{before}: of kind {_kind(type(a))}: only {kinds} results are compared")
    found = _BY_KIND[type(a)](a, b)
    if len(found.table) == 1:
        raise BenchmarkInvalidError(f"{after}: has nothing in common with {before}: {'; '.join(found.remarks)}")
    return found


def compare_accuracy(a: AccuracyResult, b: AccuracyResult) -> Comparison:
    """Compare sequence accuracies; a drop is one whose 95 % interval lies below 0.

    Where both tell their flips from the same reference network on the same images, the interval is the paired one.
    """
    notes = notes_on(a, b)
    table = [["data", "format", "before", "after", "points", "95 % interval", "ECE", "wrong in 10,000"]]
    drops = []
    left = {data.data: data for data in b.data_sets}
    for data in a.data_sets:
        other = left.pop(data.data, None)
        if other is None:
            notes.append(f"{data.data}: only in the first")
            continue
        same = (data.split, data.images) == (other.split, other.images)
        if not same:
            notes.append(f"{data.data}: other images: {data.images} of {data.split}, {other.images} of {other.split}")
        elif others(data.fingerprint, other.fingerprint):
            same = False
            notes.append(f"{data.data}: other images: as many of {data.split}, drawn or photographed anew since")
        paired = same and a.subject.sha256.get(a.reference) == b.subject.sha256.get(b.reference)
        for format in [format for format in data.formats if format in other.formats]:
            x, y = data.formats[format], other.formats[format]
            low, high = (100 * end for end in _interval(data, x, other, y, paired))
            points = 100 * (y.metrics.sequence_accuracy - x.metrics.sequence_accuracy)
            accuracies = [f"{one.metrics.sequence_accuracy:.4f}" for one in (x, y)]
            table.append(
                [
                    data.data,
                    format,
                    *accuracies,
                    f"{points:+.2f}",
                    f"{low:+.2f} to {high:+.2f}",
                    " > ".join("-" if one.calibration is None else f"{one.calibration.error:.4f}" for one in (x, y)),
                    " > ".join("-" if one.wrong_per_10000 is None else f"{one.wrong_per_10000:.0f}" for one in (x, y)),
                ]
            )
            if high < 0:
                drops.append(f"{format} on {data.data}: {points:+.2f} points, {low:+.2f} to {high:+.2f}")
    notes += [f"{name}: only in the second" for name in left]
    return Comparison(notes, table, drops)


def compare_latency(a: LatencyResult, b: LatencyResult) -> Comparison:
    """Compare medians, with each number of threads that both have; a drop is a factor of more than `NOISE`.

    Between machines, numbers of threads, or CPUs kept to, times say nothing: there only what a format is times the
    reference is held against it.
    """
    notes = notes_on(a, b)
    common = [n for n in a.by_threads if n in b.by_threads]
    pairs = [(n, n) for n in common] or [(a.threads, b.threads)]
    same = same_machine(a, b) and a.cpus == b.cpus and bool(common)
    if set(a.by_threads) != set(b.by_threads):
        notes.append("threads: {} and {}".format(*(", ".join(map(str, one.by_threads)) for one in (a, b))))
    if a.cpus != b.cpus:
        notes.append("CPUs: {} and {}".format(*(", ".join(map(str, one.cpus or ())) or "all" for one in (a, b))))
    if not same:
        notes.append(f"times do not compare; how many times {a.reference} does")
    table = [["format", "p50 before", "p50 after", "after / before", f"times {a.reference} before", "after"]]
    drops = []
    for before, after in pairs:
        formats, theirs = a.by_threads[before], b.by_threads[after]
        for format in [format for format in formats if format in theirs]:
            x, y = formats[format], theirs[format]
            name = format if len(pairs) == 1 else f"{format}, {threads(after)}"
            slower = y.p50_ms / x.p50_ms
            times = [f"{x.p50_ms:.3f} ms", f"{y.p50_ms:.3f} ms", f"{slower:.3f}"]
            table.append([name, *times, f"{x.ratio:.2f}", f"{y.ratio:.2f}"])
            if same and slower > NOISE:
                drops.append(f"{name}: takes {slower:.2f} times as long")
            elif x.ratio > NOISE * y.ratio and a.reference == b.reference:
                drops.append(f"{name}: {y.ratio:.2f} times {a.reference}, was {x.ratio:.2f}")
    return Comparison(notes, table, drops)


def _interval(
    data: DataSetAccuracy, x: FormatAccuracy, other: DataSetAccuracy, y: FormatAccuracy, paired: bool
) -> tuple[float, float]:
    """Return the 95 % interval of how much more the second reads right."""
    right, now = (round(one.metrics.sequence_accuracy * one.metrics.images) for one in (x, y))
    if not paired:
        return independent_interval(now, other.images, right, data.images)
    # Flips from the same readings of the same images: what both flipped is no difference.
    lost_x, won_x, lost_y, won_y = ({flip.index for flip in some} for some in (x.lost, x.won, y.lost, y.won))
    gained = len(lost_x - lost_y) + len(won_y - won_x)
    fell = len(lost_y - lost_x) + len(won_x - won_y)
    return paired_interval(now - gained, gained, fell, data.images - now - fell)


_BY_KIND: dict[type[Result], Callable[[Any, Any], Comparison]] = {
    AccuracyResult: compare_accuracy,
    LatencyResult: compare_latency,
    PeersResult: compare_peers,
    OverheadResult: compare_overhead,
    SweepResult: compare_sweep,
    DebugResult: compare_debug,
}


def _kind(kind: type[Result]) -> str:
    return str(kind.__struct_config__.tag)
