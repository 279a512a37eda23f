"""The plots of the report, each from plain figures."""

from __future__ import annotations

from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator, PercentFormatter, StrMethodFormatter

from digitcam.benchmarks.history import Drop, on_same_images
from digitcam.benchmarks.plots import BAD, INK, QUIET, SERIES, Palette, Plot, drawing, legend
from digitcam.benchmarks.results import Entry, FormatLatency, LayerLoss, Sample
from digitcam.benchmarks.results.latency import Stages

MOST_LAYERS = 15


class Point(NamedTuple):
    """A format's share of right readings with its 95 % interval, and its median latency in ms."""

    bundle: str
    format: str
    latency_ms: float
    accuracy: float
    interval: tuple[float, float]


class Curve(NamedTuple):
    """What one bundle's format gives over x; `weights` are how many images each point stands for."""

    bundle: str
    format: str
    x: list[float]
    y: list[float]
    weights: list[int] | None = None


def accuracy_latency(palette: Palette, data: str, made_on: str, points: list[Point]) -> Plot:
    """Plot accuracy against latency, one point a bundle and format."""
    told = "; ".join(f"{p.bundle} {p.format} {p.accuracy:.4f} at {p.latency_ms:.2f} ms" for p in points)
    title = f"Sequence accuracy against median latency, {data}: {told}"
    with drawing(title, "median latency, ms", "numbers right") as drawn:
        for p in points:
            drawn.axes.errorbar(
                [p.latency_ms],
                [p.accuracy],
                yerr=[[p.accuracy - p.interval[0]], [p.interval[1] - p.accuracy]],
                color=palette.colour(p.bundle),
                marker=palette.marker(p.format),
                markersize=6,
                capsize=3,
                elinewidth=1,
            )
        _log(drawn.axes, drawn.axes.xaxis)
        _percent(drawn.axes)
        drawn.axes.margins(0.12)
        palette.key(drawn.axes, [p.bundle for p in points], [p.format for p in points])
    return Plot(drawn.svg, f"{data}: numbers right, with 95 % intervals, against median latency on {made_on}")


def reliability(palette: Palette, data: str, curves: list[Curve]) -> Plot:
    """Plot the share that is right against how sure the readings are."""
    title = f"Reliability on {data} of {_told(curves)}; the table gives each calibration error"
    with drawing(title, "confidence", "numbers right") as drawn:
        drawn.axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8, linestyle=":")
        for curve in curves:
            _line(drawn.axes, palette, curve)
            most = max(curve.weights or [1])
            sizes = [4 + 40 * weight / most for weight in curve.weights or []]
            drawn.axes.scatter(curve.x, curve.y, s=sizes, color=palette.colour(curve.bundle), linewidths=0)
        drawn.axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        _percent(drawn.axes)
        drawn.axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        palette.key(drawn.axes, [c.bundle for c in curves], [c.format for c in curves], lines=True)
    return Plot(drawn.svg, f"{data}: on the dotted line a confidence means what it says; larger dots, more readings")


def by_length(palette: Palette, data: str, curves: list[Curve]) -> Plot:
    """Plot accuracy against how many digits the number has."""
    title = f"Sequence accuracy by length of the number on {data}, {_told(curves)}"
    with drawing(title, "digits in the number", "numbers right") as drawn:
        for curve in curves:
            _line(drawn.axes, palette, curve, "o")
        drawn.axes.xaxis.set_major_locator(FixedLocator(sorted({x for curve in curves for x in curve.x})))
        drawn.axes.set_ylim(top=min(1.0, drawn.axes.get_ylim()[1]))
        _percent(drawn.axes)
        palette.key(drawn.axes, [c.bundle for c in curves], [c.format for c in curves], lines=True)
    return Plot(drawn.svg, f"{data}: numbers right by how many digits they have")


def swept(palette: Palette, label: str, usual: float, curves: list[Curve]) -> Plot:
    """Plot accuracy against one thing that is varied; a dotted line where it stands otherwise."""
    title = f"Numbers right against {label}, {_told(curves)}"
    with drawing(title, label, "numbers right") as drawn:
        drawn.axes.axvline(usual, color=QUIET, linewidth=0.8, linestyle=":")
        for curve in curves:
            _line(drawn.axes, palette, curve, "o")
        drawn.axes.set_ylim(-0.02, 1.04)
        _percent(drawn.axes)
        palette.key(drawn.axes, [c.bundle for c in curves], [c.format for c in curves], lines=True)
    return Plot(drawn.svg, f"numbers right against {label}; dotted: the value held while another is varied")


def times(palette: Palette, made_on: str, rows: list[tuple[str, str, FormatLatency]]) -> Plot:
    """Plot the median of each bundle and format, and how far its times reach."""
    told = "; ".join(f"{bundle} {format} {found.p50_ms:.2f}" for bundle, format, found in rows)
    height_in = 0.9 + 0.2 * len(rows)
    with drawing(f"Median latency in ms on {made_on}: {told}", "ms a frame", "", height_in) as drawn:
        for i, (bundle, format, found) in enumerate(rows):
            colour = palette.colour(bundle)
            drawn.axes.plot([found.p50_ms, found.max_ms], [i, i], color=colour, linewidth=0.8)
            drawn.axes.plot([found.p50_ms, found.p99_ms], [i, i], color=colour, linewidth=4, solid_capstyle="butt")
            drawn.axes.plot([found.p50_ms], [i], color=colour, marker=palette.marker(format), markersize=6)
        drawn.axes.set_yticks(range(len(rows)), [f"{bundle} {format}" for bundle, format, _ in rows])
        drawn.axes.invert_yaxis()
        drawn.axes.grid(axis="y", visible=False)
        _log(drawn.axes, drawn.axes.xaxis)
    return Plot(drawn.svg, f"Median, to the 99th percentile (thick) and the slowest (thin), on {made_on}")


def histogram(palette: Palette, bundle: str, made_on: str, formats: dict[str, FormatLatency]) -> Plot:
    """Plot how often each time was seen, of the formats that have a histogram."""
    told = ", ".join(f"{format} {found.runs} runs" for format, found in formats.items())
    with drawing(f"Histogram of {bundle}'s latency: {told}", "ms a frame", "share of the runs") as drawn:
        for format, found in formats.items():
            if found.histogram is None:
                continue
            bins = found.histogram
            edges = [bins.low_ms * bins.step**k for k in range(len(bins.counts) + 1)]
            shares = [count / sum(bins.counts) for count in bins.counts]
            colour, style = palette.colour(bundle), palette.style(format)
            drawn.axes.stairs(shares, edges, color=colour, linestyle=style, linewidth=1.3, label=format)
        _log(drawn.axes, drawn.axes.xaxis)
        _percent(drawn.axes)
        legend(drawn.axes)
    return Plot(drawn.svg, f"{bundle}: how long its runs took on {made_on}")


def stages(bundle: str, found: Stages) -> Plot:
    """Plot where a frame's time goes, the medians of the parts side by side."""
    parts = ("capture", "preprocess", "inference", "decode", "publish")
    medians = {
        format: [one.capture, one.preprocess, one.inference, one.decode, one.publish]
        for format, one in found.formats.items()
    }
    told = "; ".join(
        f"{format} " + ", ".join(f"{part} {q.p50_ms:.2f}" for part, q in zip(parts, some, strict=True))
        for format, some in medians.items()
    )
    height_in = 1.2 + 0.3 * len(medians)
    with drawing(f"Median ms of each stage of a frame with {bundle}: {told}", "ms a frame", "", height_in) as drawn:
        left = [0.0] * len(medians)
        for k, part in enumerate(parts):
            widths = [some[k].p50_ms for some in medians.values()]
            drawn.axes.barh(range(len(medians)), widths, left=left, height=0.6, color=SERIES[k], label=part)
            left = [a + b for a, b in zip(left, widths, strict=True)]
        drawn.axes.set_yticks(range(len(medians)), list(medians))
        drawn.axes.invert_yaxis()
        drawn.axes.grid(axis="y", visible=False)
        legend(drawn.axes)
    return Plot(drawn.svg, f"{bundle}: where a frame's time goes, {found.frames:,} frames of {found.source}")


def losses(palette: Palette, bundle: str, format: str, layers: list[LayerLoss]) -> Plot:
    """Plot the worst layers' signal-to-noise ratios."""
    shown = layers[:MOST_LAYERS]
    told = "; ".join(f"{layer.name} {layer.own_db:.1f} dB itself, {layer.output_db:.1f} dB in all" for layer in shown)
    height_in = 1.1 + 0.2 * len(shown)
    label = "signal-to-noise against float, dB"
    with drawing(f"Losses of {bundle} {format} by layer: {told}", label, "", height_in) as drawn:
        for i, layer in enumerate(shown):
            drawn.axes.plot([layer.output_db, layer.own_db], [i, i], color=QUIET, linewidth=0.8)
        rows = range(len(shown))
        colour = palette.colour(bundle)
        drawn.axes.plot([layer.own_db for layer in shown], rows, "o", color=colour, label="lost by the layer itself")
        drawn.axes.plot([layer.output_db for layer in shown], rows, "s", color=INK, label="with all before it")
        drawn.axes.set_yticks(rows, [_short(layer.name) for layer in shown])
        drawn.axes.invert_yaxis()
        legend(drawn.axes)
    return Plot(
        drawn.svg, f"{bundle} {format}: the worst {len(shown)} of {len(layers)} layers; further right, less is lost"
    )


def memory(bundle: str, samples: list[Sample]) -> Plot:
    """Plot a long run's memory over the frames it read."""
    title = f"Memory of {bundle} over a long run: {samples[0].memory_mb:.1f} MB first, {samples[-1].memory_mb:.1f} last"
    with drawing(title, "frames read", "resident memory, MB", 2.6) as drawn:
        drawn.axes.plot([s.frames for s in samples], [s.memory_mb for s in samples], color=INK)
        drawn.axes.set_ylim(0, 1.15 * max(s.memory_mb for s in samples))
        drawn.axes.xaxis.set_major_locator(MaxNLocator(4))
        drawn.axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    return Plot(drawn.svg, f"{bundle}: resident memory over the run")


def timeline(
    palette: Palette,
    title: str,
    ylabel: str,
    lines: dict[tuple[str, str], list[Entry]],
    drops: list[Drop],
    order: list[str],
) -> Plot:
    """Plot what was measured commit by commit, by bundle and format; drops are ringed, other images are not joined.

    Parameters
    ----------
    order
        All commits of the history, the oldest first.
    """
    dates = {e.commit: e.date for some in lines.values() for e in some}
    commits = [commit for commit in order if commit in dates]
    place = {commit: i for i, commit in enumerate(commits)}
    last = "; ".join(f"{bundle} {format} {some[-1].value:.4f}" for (bundle, format), some in lines.items())
    with drawing(f"{title}, commit by commit; last {last}", "", ylabel) as drawn:
        for i, ((bundle, format), some) in enumerate(lines.items()):
            # Side by side, so that intervals can be told apart.
            x = [place[e.commit] + 0.06 * (i - (len(lines) - 1) / 2) for e in some]
            error = [
                [e.value - e.interval[0] if e.interval else 0 for e in some],
                [e.interval[1] - e.value if e.interval else 0 for e in some],
            ]
            colour, marker = palette.colour(bundle), palette.marker(format)
            values = [e.value for e in some]
            drawn.axes.errorbar(x, values, yerr=error, color=colour, marker=marker, elinewidth=0.8, linestyle="none")
            end = 0
            for part in on_same_images(some):
                start, end = end, end + len(part)
                drawn.axes.plot(x[start:end], values[start:end], color=colour)
            worse = [e in [drop.after for drop in drops] for e in some]
            ringed = [(a, e.value) for a, e, bad in zip(x, some, worse, strict=True) if bad]
            for a, b in ringed:
                drawn.axes.plot([a], [b], "o", markersize=12, markerfacecolor="none", color=BAD)
        drawn.axes.set_xticks(range(len(commits)), [f"{commit[:7]}\n{dates[commit]}" for commit in commits])
        drawn.axes.margins(x=0.15)
        if any(e.interval for some in lines.values() for e in some):
            _percent(drawn.axes)
        palette.key(drawn.axes, [bundle for bundle, _ in lines], [format for _, format in lines])
    return Plot(drawn.svg, title)


def _line(axes: Axes, palette: Palette, curve: Curve, marker: str = "") -> None:
    axes.plot(
        curve.x, curve.y, color=palette.colour(curve.bundle), linestyle=palette.style(curve.format), marker=marker
    )


def _log(axes: Axes, axis: Axis) -> None:
    axes.set_xscale("log")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_locator(NullLocator())


def _percent(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(PercentFormatter(1))


def _told(curves: list[Curve]) -> str:
    return ", ".join(f"{curve.bundle} {curve.format}" for curve in curves)


def _short(name: str, most: int = 30) -> str:
    return name if len(name) <= most else f"…{name[1 - most :]}"
