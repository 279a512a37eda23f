"""What the report's page shows of the results, put together by machine and network; accuracy is in `accuracy_view`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from digitcam.benchmarks import charts
from digitcam.benchmarks.environment import Environment
from digitcam.benchmarks.gather import machine, of_kind, threads
from digitcam.benchmarks.history import by_series, drops
from digitcam.benchmarks.plots import Palette, Plot
from digitcam.benchmarks.results import (
    AccuracyResult,
    DebugResult,
    Entry,
    FormatLatency,
    Judged,
    LatencyResult,
    OverheadResult,
    PeersResult,
    Result,
    SeedResult,
    SoakResult,
    Subject,
    SweepResult,
)

OF_BUNDLE = (AccuracyResult, LatencyResult, PeersResult, SweepResult, OverheadResult, SoakResult, DebugResult)
"""Results that name the bundle they are of."""
_AXES = {
    "height": "digit height in the network's input, px",
    "contrast": "contrast, grey levels of 255",
    "blur": "blur, sigma as a share of the digit height",
    "turn": "turn in the plane, degrees",
}
_VALUES = {
    "accuracy": "numbers right",
    "latency": "times as fast",
    "overhead": "share of the network's rate",
    "peers": "numbers right",
    "seed": "numbers right",
}


class Network(NamedTuple):
    """A network that was measured; `colour` is what it is drawn in."""

    subject: Subject
    colour: str


class Machine(NamedTuple):
    """A machine with its versions, and the result files made on it."""

    environment: Environment
    files: list[str]


class LatencyRow(NamedTuple):
    """A format's times with a number of threads, and the file they are from."""

    file: str
    result: LatencyResult
    threads: int
    format: str
    found: FormatLatency


class Latency(NamedTuple):
    """All measurements on one kind of machine; the plots leave out what calls itself invalid."""

    machine: str
    rows: list[LatencyRow]
    results: dict[str, LatencyResult]
    plots: list[Plot]


class Losses(NamedTuple):
    """An int8 network's layers."""

    file: str
    result: DebugResult
    format: str
    plot: Plot


def subjects(results: Iterable[Result]) -> list[Subject]:
    """Return the networks that were measured, each once with all its formats, in order."""
    found: dict[tuple[str, int, str], Subject] = {}
    for result in results:
        if not isinstance(result, OF_BUNDLE):
            continue
        one = result.subject
        key = one.name, one.images_trained, one.sha256.get("fp32.onnx", "")
        if not key[2]:
            # A result of one format alone is of a network that another may tell more of.
            key = next((known for known in found if known[:2] == key[:2]), key)
        if key not in found or len(one.sha256) > len(found[key].sha256):
            found[key] = one
    return list(found.values())


def palette(results: Iterable[Result], known: list[Entry]) -> Palette:
    """Return colours for all bundles and marks for all formats of a page."""
    measured = subjects(results)
    names = [*(one.name for one in measured), *(entry.bundle for entry in known)]
    formats = [*(format for one in measured for format in one.sha256), *(entry.format for entry in known)]
    return Palette(list(dict.fromkeys(names)), list(dict.fromkeys(formats)))


def networks(results: Iterable[Result], palette: Palette) -> list[Network]:
    """Return the networks with their colours."""
    return [Network(one, palette.variable(one.name)) for one in subjects(results)]


def machines(results: dict[str, Result]) -> list[Machine]:
    """Return each machine with its versions, and the files made on it."""
    found: list[Machine] = []
    for name, result in results.items():
        runs = list(result.runs.values()) if isinstance(result, SeedResult) else [result]
        for environment in (run.environment for run in runs):
            same = next((one for one in found if one.environment == environment), None)
            if same is None:
                same = Machine(environment, [])
                found.append(same)
            if name not in same.files:
                same.files.append(name)
    return found


def latency(results: dict[str, LatencyResult], palette: Palette) -> list[Latency]:
    """Return the times by machine, with their spans, histograms and stages."""
    by_machine: dict[str, dict[str, LatencyResult]] = {}
    for file, result in results.items():
        by_machine.setdefault(machine(result.environment), {})[file] = result
    found = []
    for made_on, some in by_machine.items():
        rows = [
            LatencyRow(file, result, count, format, times)
            for file, result in some.items()
            for count, formats in result.by_threads.items()
            for format, times in formats.items()
        ]
        found.append(Latency(made_on, rows, some, _latency_plots(made_on, rows, palette)))
    return found


def _latency_plots(made_on: str, rows: list[LatencyRow], palette: Palette) -> list[Plot]:
    valid = [row for row in rows if row.result.holds]
    plots = []
    for count in sorted({row.threads for row in valid}):
        spans = [(row.result.subject.name, row.format, row.found) for row in valid if row.threads == count]
        plots.append(charts.times(palette, f"{made_on}, {threads(count)}", spans))
    for result in {row.file: row.result for row in valid}.values():
        if any(one.histogram for one in result.formats.values()):
            plots.append(charts.histogram(palette, result.subject.name, made_on, result.formats))
        if result.stages:
            plots.append(charts.stages(result.subject.name, result.stages))
    return plots


def sweep(results: Iterable[SweepResult], palette: Palette) -> list[Plot]:
    """Return one plot for everything that was varied, all networks in it."""
    measured = list(results)
    plots = []
    for axis in dict.fromkeys(axis for result in measured for axis in result.curves):
        some = [result for result in measured if axis in result.curves]
        curves = [
            charts.Curve(
                result.subject.name,
                result.format,
                [point.value for point in result.curves[axis]],
                [point.sequence_accuracy for point in result.curves[axis]],
            )
            for result in some
        ]
        plots.append(charts.swept(palette, _AXES.get(axis, axis), some[0].usual[axis], curves))
    return plots


def debug(results: dict[str, DebugResult], palette: Palette) -> list[Losses]:
    """Return the losses of each int8 network."""
    return [
        Losses(file, result, format, charts.losses(palette, result.subject.name, format, found.layers))
        for file, result in results.items()
        for format, found in result.formats.items()
    ]


def soak(results: dict[str, SoakResult]) -> list[tuple[str, SoakResult, Plot]]:
    """Return the long runs with their memory."""
    return [(file, result, charts.memory(result.subject.name, result.samples)) for file, result in results.items()]


def history(known: list[Entry], palette: Palette) -> list[Plot]:
    """Return a plot for each kind and data of which there is more than one commit."""
    groups: dict[tuple[str, ...], dict[tuple[str, str], list[Entry]]] = {}
    for (kind, bundle, format, *rest), lines in by_series(known).items():
        groups.setdefault((kind, *rest), {})[bundle, format] = lines
    fallen, order = drops(known), list(dict.fromkeys(entry.commit for entry in known))
    plots = []
    for (kind, *rest), by_format in groups.items():
        if any(len(some) > 1 for some in by_format.values()):
            title = f"{kind}: {', '.join(rest)}"
            plots.append(charts.timeline(palette, title, _VALUES[kind], by_format, fallen, order))
    return plots


def invalid(results: dict[str, Result]) -> dict[str, list[str]]:
    """Return the files whose measurement calls itself invalid, and why."""
    found = of_kind(results, Judged)
    return {file: result.reasons or ["no reason is told"] for file, result in found.items() if not result.holds}
