"""`bench report`: one self-contained HTML page of all results in a folder, without scripts or outside assets."""

from __future__ import annotations

from pathlib import Path

import jinja2

from digitcam.benchmarks import accuracy_view, views
from digitcam.benchmarks.gather import gather, machine, of_kind, threads
from digitcam.benchmarks.history import FILE, by_series, drops, read_history
from digitcam.benchmarks.results import (
    AccuracyResult,
    DebugResult,
    FlashResult,
    LatencyResult,
    OutputsResult,
    OverheadResult,
    PeersResult,
    SeedResult,
    SoakResult,
    SweepResult,
    TrainingResult,
)
from digitcam.core.errors import SinkError
from digitcam.core.whole import write_file


def report(folder: Path) -> str:
    """Return the page of all results in a folder and of its history, with whatever subset of them is there.

    Raises
    ------
    BenchmarkInvalidError
        When there is no result, or a file is none.
    """
    results, known = gather(folder), read_history(folder / FILE)
    accuracy, latency = of_kind(results, AccuracyResult), of_kind(results, LatencyResult)
    debug, sweep = of_kind(results, DebugResult), of_kind(results, SweepResult)
    palette = views.palette(results.values(), known)
    template = _templates().get_template("report.html")
    return template.render(
        palette=palette,
        networks=views.networks(results.values(), palette),
        invalid=views.invalid(results),
        accuracy=accuracy_view.data_sets(accuracy, latency.values(), palette),
        latency=views.latency(latency, palette),
        sweep=views.sweep(sweep.values(), palette),
        debug=views.debug(debug, palette),
        peers=of_kind(results, PeersResult),
        overhead=of_kind(results, OverheadResult),
        soak=views.soak(of_kind(results, SoakResult)),
        outputs=of_kind(results, OutputsResult),
        flashed=of_kind(results, FlashResult),
        training=of_kind(results, TrainingResult),
        seed=of_kind(results, SeedResult),
        history=views.history(known, palette),
        lines=by_series(known),
        drops=drops(known),
        machines=views.machines(results),
        files=results,
    )


def write_report(folder: Path, out: Path) -> None:
    """Write the page of a folder's results, replacing an earlier one only when the new one is whole.

    Raises
    ------
    BenchmarkInvalidError
        As `report`.
    SinkError
        When it cannot be written; an earlier file stays.
    """
    page = report(folder)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_file(out, page.encode())
    except OSError as error:
        raise SinkError(f"{out}: cannot write the report: {error.strerror}") from None


def _templates() -> jinja2.Environment:
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    templates.filters.update(machine=machine, threads=threads)
    return templates
