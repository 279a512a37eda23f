"""Peers, overhead, sweep and debug results side by side; each function returns what `compare` does of its kind."""

from __future__ import annotations

from digitcam.benchmarks.comparison import NOISE, Comparison, notes_on, same_machine
from digitcam.benchmarks.results import DebugResult, OverheadResult, PeersResult, SweepResult
from digitcam.benchmarks.statistics import independent_interval

NOISE_DB = 1.0
"""Signal-to-noise ratios of equally good networks differ by up to so much."""


def compare_peers(a: PeersResult, b: PeersResult) -> Comparison:
    """Compare what the readers of the same frames read, and on the same machine, with the same setting, how long."""
    notes = notes_on(a, b)
    table = [["reader", "before", "after", "points", "95 % interval", "p50 before", "p50 after"]]
    if (a.source, a.split, a.frames) != (b.source, b.split, b.frames):
        told = (f"{one.frames} of {one.source}{f', {one.split}' if one.split else ''}" for one in (a, b))
        return Comparison([*notes, f"frames: {' and '.join(told)}"], table, [])
    drops = []
    for name in [name for name in a.peers if name in b.peers]:
        x, y = a.peers[name], b.peers[name]
        cells, drop = _shares(x.sequence_accuracy, a.frames, y.sequence_accuracy, b.frames)
        table.append([name, *cells, f"{x.p50_ms:.1f} ms", f"{y.p50_ms:.1f} ms"])
        if drop:
            drops.append(f"{name}: {drop}")
        if same_machine(a, b) and x.setting == y.setting and y.p50_ms > NOISE * x.p50_ms:
            drops.append(f"{name}: takes {y.p50_ms / x.p50_ms:.2f} times as long")
    return Comparison(notes, table, drops)


def compare_overhead(a: OverheadResult, b: OverheadResult) -> Comparison:
    """Compare what a run adds to the network; between machines not the times, but what share of a frame they are."""
    notes = notes_on(a, b)
    table = [["", "before", "after", "after / before"]]
    if (a.format, a.frame) != (b.format, b.frame):
        told = ("{}, frames of {}x{}".format(one.format, *one.frame) for one in (a, b))
        return Comparison([*notes, " and ".join(told)], table, [])
    figures = {
        "a frame, times the network": (a.bare_fps / a.run_fps, b.bare_fps / b.run_fps),
        "memory, MB": (a.memory_mb, b.memory_mb),
    }
    if same_machine(a, b):
        figures |= {
            "besides the network p50, ms": (a.rest_p50_ms, b.rest_p50_ms),
            "besides the network p90, ms": (a.rest_p90_ms, b.rest_p90_ms),
            "digitcam --help, ms": (a.help_ms, b.help_ms),
        }
    table += [[name, f"{x:.2f}", f"{y:.2f}", f"{y / x:.3f}"] for name, (x, y) in figures.items()]
    drops = [f"{name}: {y:.2f}, was {x:.2f}" for name, (x, y) in figures.items() if y > NOISE * x]
    return Comparison(notes, table, drops)


def compare_sweep(a: SweepResult, b: SweepResult) -> Comparison:
    """Compare the points that both curves have."""
    notes = notes_on(a, b)
    table = [["varied", "at", "before", "after", "points", "95 % interval"]]
    if a.usual != b.usual:
        return Comparison([*notes, f"what is held is held otherwise: {a.usual} and {b.usual}"], table, [])
    drops = []
    for axis in [axis for axis in a.curves if axis in b.curves]:
        others = {point.value: point.sequence_accuracy for point in b.curves[axis]}
        for point in [point for point in a.curves[axis] if point.value in others]:
            cells, drop = _shares(point.sequence_accuracy, a.images, others[point.value], b.images)
            table.append([axis, f"{point.value:g}", *cells])
            if drop:
                drops.append(f"{axis} {point.value:g}: {drop}")
    return Comparison(notes, table, drops)


def compare_debug(a: DebugResult, b: DebugResult) -> Comparison:
    """Compare the signal-to-noise ratios of the int8 networks' outputs; a drop is one of more than `NOISE_DB`."""
    notes = notes_on(a, b)
    table = [["format", "output", "before", "after", "dB", "worst layer before", "after"]]
    if (a.data, a.split, a.images) != (b.data, b.split, b.images):
        notes.append(" and ".join(f"{one.images} images of {one.data}, {one.split}" for one in (a, b)))
        return Comparison(notes, table, [])
    drops = []
    for format in [format for format in a.formats if format in b.formats]:
        x, y = a.formats[format], b.formats[format]
        for output, before_db in x.outputs_db.items():
            change = y.outputs_db[output] - before_db
            ratios = [f"{before_db:.1f} dB", f"{y.outputs_db[output]:.1f} dB", f"{change:+.1f}"]
            table.append([format, output, *ratios, x.layers[0].name, y.layers[0].name])
            if change < -NOISE_DB:
                drops.append(f"{format} {output}: {change:+.1f} dB; its worst layer is {y.layers[0].name}")
    return Comparison(notes, table, drops)


def _shares(x: float, images: int, y: float, others: int) -> tuple[list[str], str]:
    """Return the cells of two shares, and the second's fall in words where its 95 % interval lies below 0.

    The images are taken for different ones: of the same the interval is too wide, never too narrow.
    """
    low, high = (100 * end for end in independent_interval(round(y * others), others, round(x * images), images))
    points, interval = f"{100 * (y - x):+.2f}", f"{low:+.2f} to {high:+.2f}"
    return [f"{x:.4f}", f"{y:.4f}", points, interval], f"{points} points, {interval}" if high < 0 else ""
