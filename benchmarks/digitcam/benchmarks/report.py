"""`bench report`: one self-contained HTML page of result files, tables and a plot, without outside assets."""

from __future__ import annotations

import io
from pathlib import Path

import jinja2
import matplotlib

from digitcam.benchmarks.results import AccuracyResult, LatencyResult, read_result
from digitcam.core.errors import ConfigError

matplotlib.use("Agg")


def report(results: Path, name: str) -> str:
    """Return the page for a bundle's accuracy and latency results in a folder.

    Raises
    ------
    BenchmarkInvalidError
        When a result is missing or of another version.
    """
    accuracy = read_result(results / f"{name}-accuracy.json", AccuracyResult)
    latency = read_result(results / f"{name}-latency.json", LatencyResult)
    if accuracy.subject.sha256 != latency.subject.sha256:
        raise ConfigError(f"{results}: accuracy and latency of {name} are of different networks: measure both again")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
    page = environment.from_string(Path(__file__).with_name("report.html").read_text(encoding="utf-8"))
    return page.render(accuracy=accuracy, latency=latency, plot=plot(accuracy, latency))


def plot(accuracy: AccuracyResult, latency: LatencyResult) -> str:
    """Return accuracy against latency, one point a format and data set, as an SVG element."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    for data in accuracy.data_sets:
        x = [latency.formats[format].p50_ms for format in data.formats]
        y = [found.metrics.sequence_accuracy for found in data.formats.values()]
        axes.scatter(x, y, label=data.data)
        for format, px, py in zip(data.formats, x, y, strict=True):
            axes.annotate(format, (px, py), textcoords="offset points", xytext=(5, 4), fontsize=8)
    axes.set_xlabel("median latency, ms")
    axes.set_ylabel("sequence accuracy")
    axes.margins(0.15)
    axes.legend()
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :]
