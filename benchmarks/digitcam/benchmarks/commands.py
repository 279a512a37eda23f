"""The verbs of `digitcam bench`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

PATH = click.Path(path_type=Path)
OUT = click.option("--out", type=PATH, required=True, help="The result file.")


def note(message: str) -> None:
    """Say what is being measured, on standard error."""
    print(message, file=sys.stderr, flush=True)


@click.group()
def bench() -> None:
    """Measure; each benchmark writes a JSON result with the machine it was made on."""


@bench.command("accuracy")
@click.argument("bundle")
@click.option("--data", "names", multiple=True, required=True, help="A data set's name; may be given again.")
@click.option("--split", type=click.Choice(["train", "validation", "test"]), default="validation", show_default=True)
@click.option("--count", type=click.IntRange(min=1), help="Only the first images.")
@click.option("--max-drop", type=float, help="Exit 7 when a format loses more points than this.")
@click.option("--pictures", type=PATH, help="Also a picture file of the images that were flipped, the worst first.")
@OUT
def bench_accuracy(
    bundle: str,
    names: tuple[str, ...],
    split: Any,
    count: int | None,
    max_drop: float | None,
    pictures: Path | None,
    out: Path,
) -> None:
    """All formats of BUNDLE on the same images, and which they read otherwise than float."""
    from digitcam.benchmarks.accuracy import accuracy, check_drop, log_rare
    from digitcam.benchmarks.results import write_result
    from digitcam.core.bundle import open_bundle

    result = accuracy(open_bundle(bundle), list(names), split, count, note)
    write_result(out, result)
    log_rare(result, out.with_name("rare.jsonl"))
    click.echo(out)
    if pictures is not None:
        from digitcam.benchmarks.flipsheet import flip_sheet
        from digitcam.core.draw import write_image

        write_image(pictures, flip_sheet(result))
        click.echo(pictures)
    if max_drop is not None:
        check_drop(result, max_drop)


@bench.command("debug")
@click.argument("bundle")
@click.option("--data", required=True, help="A data set's name.")
@click.option("--split", type=click.Choice(["train", "validation", "test"]), default="validation", show_default=True)
@click.option("--count", type=click.IntRange(min=1), default=32, show_default=True, help="Images.")
@OUT
def bench_debug(bundle: str, data: str, split: Any, count: int, out: Path) -> None:
    """In which layers of BUNDLE int8 loses, and what keeping each in float would buy and cost."""
    from digitcam.benchmarks.debug import debug
    from digitcam.benchmarks.results import write_result
    from digitcam.core.bundle import open_bundle

    write_result(out, debug(open_bundle(bundle), data, split, count, note))
    click.echo(out)


@bench.command("compare")
@click.argument("before", type=PATH)
@click.argument("after", type=PATH)
def bench_compare(before: Path, after: Path) -> None:
    """Two accuracy or two latency results side by side, and what is worse by more than noise."""
    from digitcam.benchmarks.compare import compare_files

    click.echo(compare_files(before, after))


@bench.command("latency")
@click.argument("bundle")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@OUT
def bench_latency(bundle: str, threads: int, out: Path) -> None:
    """How long BUNDLE's networks take, formats interleaved, batch 1."""
    from digitcam.benchmarks.latency import latency
    from digitcam.benchmarks.results import write_result
    from digitcam.core.bundle import open_bundle

    write_result(out, latency(open_bundle(bundle), threads, say=note))
    click.echo(out)


@bench.command("overhead")
@click.argument("bundle")
@click.option("--format", "format_", help="Which network; by default the int8 one of the engine at hand.")
@OUT
def bench_overhead(bundle: str, format_: str | None, out: Path) -> None:
    """Measure what a run with BUNDLE adds to its network: time a frame, time to start, memory."""
    from digitcam.benchmarks.overhead import overhead
    from digitcam.benchmarks.results import write_result
    from digitcam.core.bundle import open_bundle

    write_result(out, overhead(open_bundle(bundle), format_, note))
    click.echo(out)


@bench.command("soak")
@click.argument("bundle")
@click.option("--frames", type=click.IntRange(min=1000), default=1_000_000, show_default=True)
@click.option("--format", "format_", help="Which network; by default the int8 one of the engine at hand.")
@OUT
def bench_soak(bundle: str, frames: int, format_: str | None, out: Path) -> None:
    """See whether a long run with BUNDLE keeps its memory and loses nothing: demo frames, MQTT, the page open."""
    from digitcam.benchmarks.results import write_result
    from digitcam.benchmarks.soak import soak
    from digitcam.core.bundle import open_bundle

    write_result(out, soak(open_bundle(bundle), frames, format_, note))
    click.echo(out)


@bench.command("training")
@click.argument("recipe", type=PATH)
@OUT
def bench_training(recipe: Path, out: Path) -> None:
    """How many images a second RECIPE draws and trains on, and how long training waits for them."""
    from digitcam.benchmarks.results import write_result
    from digitcam.benchmarks.training import training
    from digitcam.train.recipe import load_recipe

    write_result(out, training(load_recipe(recipe), say=note))
    click.echo(out)


@bench.command("peers")
@click.argument("bundle")
@click.option("--source", default="demo:", show_default=True, help="Frames that know their truth.")
@click.option("--frames", type=click.IntRange(min=1), default=100, show_default=True)
@OUT
def bench_peers(bundle: str, source: str, frames: int, out: Path) -> None:
    """BUNDLE's default network and Tesseract on the same frames."""
    from digitcam.benchmarks.peers import peers
    from digitcam.benchmarks.results import write_result
    from digitcam.core.bundle import open_bundle

    write_result(out, peers(open_bundle(bundle), source, frames, note))
    click.echo(out)


@bench.command("seed")
@click.option("--only", multiple=True, help="A row's name; with -strided its twin alone. May be given again.")
@click.option("--images", type=click.IntRange(min=1), help="Training images a run, in place of the recipes'.")
@click.option("--count", type=click.IntRange(min=1), default=5_000, show_default=True, help="Test images.")
@click.option("--resume", is_flag=True, help="Take runs further that are in --runs already.")
@click.option("--runs", type=PATH, default=Path("runs/seed"), show_default=True, help="Where the runs are kept.")
@click.option("--out", type=PATH, default=Path("benchmarks/results/seed.json"), show_default=True)
def bench_seed(only: tuple[str, ...], images: int | None, count: int, resume: bool, runs: Path, out: Path) -> None:
    """Train and measure the recipes of train/recipes/seed, each as it was and without pooling.

    Every run is written as it ends, beside those the result file has. Run this in the repository's root.
    """
    from digitcam.benchmarks.seed import seed

    seed(out, runs, only, images, count, resume, say=note)
    click.echo(out)


@bench.command("sweep")
@click.argument("bundles", nargs=-1, required=True)
@click.option("--format", "format_", default="int8.onnx", show_default=True, help="Which network of each.")
@click.option("--images", type=click.IntRange(min=1), default=200, show_default=True, help="Images a point.")
@click.option("--results", type=PATH, default=Path("benchmarks/results"), show_default=True, help="NAME-sweep.json.")
@click.option("--picture", type=PATH, default=Path("benchmarks/results/sweep.png"), show_default=True)
def bench_sweep(bundles: tuple[str, ...], format_: str, images: int, results: Path, picture: Path) -> None:
    """How accuracy falls with digit height, contrast, blur and turn: one picture for all BUNDLES."""
    from digitcam.benchmarks.results import write_result
    from digitcam.benchmarks.sweep import draw_sweep, sweep
    from digitcam.core.bundle import open_bundle

    measured = [sweep(open_bundle(bundle), format_, images, note) for bundle in bundles]
    for result in measured:
        write_result(results / f"{result.subject.name}-sweep.json", result)
    draw_sweep(measured, picture)
    click.echo(picture)


@bench.command("report")
@click.argument("results", type=PATH)
@click.option(
    "--name", default="canvas", show_default=True, help="Whose results: NAME-accuracy.json, NAME-latency.json."
)
@click.option("--out", type=PATH, required=True, help="The HTML file.")
def bench_report(results: Path, name: str, out: Path) -> None:
    """One HTML page of the results in the folder RESULTS."""
    from digitcam.benchmarks.report import report

    page = report(results, name)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding="utf-8")
    click.echo(out)
