"""The verbs of `digitcam bench`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from digitcam.core.errors import SinkError
from digitcam.core.formats import FORMATS
from digitcam.options import FiniteRange, PicturePath


def check_writable(path: Path) -> None:
    """Raise SinkError where a file cannot be written: said before a measurement, it costs none."""
    try:
        if path.is_dir():
            raise SinkError(f"{path}: is a folder: name a file")
        above = next(folder for folder in path.absolute().parents if folder.exists())
        tempfile.TemporaryFile(dir=above).close()
    except OSError as error:
        raise SinkError(f"{path}: cannot be written: {error.strerror}") from None


def _writable(ctx: click.Context, param: click.Parameter, value: Path) -> Path:
    check_writable(value)
    return value


PATH = click.Path(path_type=Path)
OUT = click.option("--out", type=PATH, callback=_writable, required=True, help="The result file.")


def note(message: str) -> None:
    """Say what is being measured, on standard error."""
    print(message, file=sys.stderr, flush=True)


@click.group()
def bench() -> None:
    """Measure; each benchmark writes a JSON result with the machine it was made on."""


@bench.command("accuracy")
@click.argument("bundles", nargs=-1, required=True)
@click.option("--data", "names", multiple=True, required=True, help="A data set's name; may be given again.")
@click.option("--split", type=click.Choice(["train", "validation", "test"]), default="validation", show_default=True)
@click.option("--count", type=click.IntRange(min=1), help="Only the first images.")
@click.option(
    "--format", "formats", type=click.Choice(FORMATS), multiple=True, help="Beside fp32.onnx; all by default."
)
@click.option("--max-drop", type=FiniteRange(min=0), help="Exit 7 when a format loses more points than this.")
@click.option(
    "--pictures",
    type=PicturePath(or_folder=True),
    help="Also a picture of the images that were flipped, the worst first; of several bundles the folder.",
)
@click.option(
    "--out", type=PATH, required=True, help="The result file; of several bundles the folder of NAME-accuracy.json."
)
def bench_accuracy(
    bundles: tuple[str, ...],
    names: tuple[str, ...],
    split: Any,
    count: int | None,
    formats: tuple[str, ...],
    max_drop: float | None,
    pictures: Path | None,
    out: Path,
) -> None:
    """All formats of BUNDLES on the same images, and which they read otherwise than float."""
    from digitcam.benchmarks.accuracy import accuracy, check_drop, log_rare, result_files
    from digitcam.benchmarks.results import write_result
    from digitcam.core.bundle import open_bundle

    opened = [open_bundle(bundle) for bundle in bundles]
    files = result_files(opened, out, "accuracy.json")
    sheets = result_files(opened, pictures, "flips.png") if pictures else []
    for path in (*files, *sheets):
        check_writable(path)
    measured = accuracy(opened, names, split, count, formats, note)
    for path, result in zip(files, measured, strict=True):
        write_result(path, result)
        log_rare(result, path.with_name("rare.jsonl"))
        click.echo(path)
    if sheets:
        from digitcam.benchmarks.flipsheet import flip_sheet
        from digitcam.core.draw import write_image

        for path, result in zip(sheets, measured, strict=True):
            write_image(path, flip_sheet(result))
            click.echo(path)
    if max_drop is not None:
        for result in measured:
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
    """Two results of one kind side by side, and what is worse by more than noise.

    The kinds are accuracy, latency, peers, overhead, sweep and debug.
    """
    from digitcam.benchmarks.compare import compare_files

    click.echo(compare_files(before, after))


@bench.command("latency")
@click.argument("bundle")
@click.option("--format", "formats", type=click.Choice(FORMATS), multiple=True, help="All by default.")
@click.option("--threads", type=click.IntRange(min=1), multiple=True, default=(1,), help="1; may be given again.")
@click.option("--cpus", default="", metavar="N,N...", help="Keep to these CPUs.")
@click.option(
    "--source", default="demo:", show_default=True, help="What whole runs read: a camera, where there is one."
)
@click.option(
    "--runs", type=click.IntRange(min=1), help="Of each format, at least. Fewer than by default are no result."
)
@click.option("--seconds", type=FiniteRange(min=0), help="Of each, at least; less than 10 is no result.")
@click.option("--sustained", type=FiniteRange(min=0), help="Seconds of each in one go, 60; 0 leaves it out.")
@OUT
def bench_latency(
    bundle: str,
    formats: tuple[str, ...],
    threads: tuple[int, ...],
    cpus: str,
    source: str,
    runs: int | None,
    seconds: float | None,
    sustained: float | None,
    out: Path,
) -> None:
    """How long BUNDLE's networks take, formats interleaved, batch 1, and where a frame's time goes.

    A measurement that does not hold (throttled, other load, too few runs ...) exits 6 and goes to NAME.invalid.json.
    """
    from digitcam.benchmarks.latency import Plan, cpu_numbers, latency
    from digitcam.benchmarks.results import write_judged
    from digitcam.core.bundle import open_bundle

    told = {"runs": runs, "seconds": seconds, "sustained_s": sustained}
    plan = Plan(**{name: value for name, value in told.items() if value is not None})  # type: ignore[arg-type]
    write_judged(out, latency(open_bundle(bundle), formats, threads, cpu_numbers(cpus), source, plan, say=note))
    click.echo(out)


@bench.command("overhead")
@click.argument("bundle")
@click.option("--format", "format_", help="Which network; by default the int8 one of the engine at hand.")
@OUT
def bench_overhead(bundle: str, format_: str | None, out: Path) -> None:
    """Measure what a run with BUNDLE adds to its network: time a frame, time to start, memory.

    A measurement on a board that throttled or was busy exits 6 and goes to NAME.invalid.json.
    """
    from digitcam.benchmarks.overhead import overhead
    from digitcam.benchmarks.results import write_judged
    from digitcam.core.bundle import open_bundle

    write_judged(out, overhead(open_bundle(bundle), format_, note))
    click.echo(out)


@bench.command("soak")
@click.argument("bundle")
@click.option("--frames", type=click.IntRange(min=1000), default=1_000_000, show_default=True)
@click.option("--format", "format_", help="Which network; by default the int8 one of the engine at hand.")
@OUT
def bench_soak(bundle: str, frames: int, format_: str | None, out: Path) -> None:
    """See whether a long run with BUNDLE keeps its memory and loses nothing: demo frames, MQTT, the page open.

    One that loses readings, or whose memory (by 2 MB), threads or descriptors grow, exits 6 and goes to
    NAME.invalid.json.
    """
    from digitcam.benchmarks.results import write_judged
    from digitcam.benchmarks.soak import soak
    from digitcam.core.bundle import open_bundle

    write_judged(out, soak(open_bundle(bundle), frames, format_, note))
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
@click.option("--data", help="A data set's name, in place of --source.")
@click.option("--split", type=click.Choice(["train", "validation", "test"]), default="test", show_default=True)
@click.option("--frames", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--tune", type=click.IntRange(min=1), default=10, show_default=True, help="Frames to choose settings on.")
@click.option("--peer", "only", multiple=True, help="Only this one, by default all that are there. May be given again.")
@click.option("--seed", type=PATH, help="A checkpoint of one of the seed's recipes, to read them too.")
@click.option("--format", "format_", help="Which network; by default the int8 one of the engine at hand.")
@OUT
def bench_peers(
    bundle: str,
    source: str,
    data: str | None,
    split: str,
    frames: int,
    tune: int,
    only: tuple[str, ...],
    seed: Path | None,
    format_: str | None,
    out: Path,
) -> None:
    """Read the same frames with BUNDLE and with RapidOCR, Tesseract and the seed's network, each at its best.

    Settings are chosen on other frames. Time, memory and installed size are measured too. A measurement on a board that
    throttled or was busy exits 6 and goes to NAME.invalid.json.
    """
    from digitcam.benchmarks.peers import peers
    from digitcam.benchmarks.peers.rare import log
    from digitcam.benchmarks.results import write_judged
    from digitcam.core.bundle import open_bundle

    options: dict[str, Any] = {"data": data, "split": split, "only": only, "seed": seed, "format": format_}
    result = peers(open_bundle(bundle), source, frames, **options, tune=tune, say=note)
    try:
        write_judged(out, result)
    finally:  # invalid or not, the frames were looked at
        log(result, out.with_name("rare.jsonl"))
    click.echo(out)


@bench.command("seed")
@click.option(
    "--only", multiple=True, help="A row's name; with -strided or -mended that run alone. May be given again."
)
@click.option("--images", type=click.IntRange(min=1), help="Training images a run, in place of the recipes'.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), help="What training computes in, instead of theirs.")
@click.option("--count", type=click.IntRange(min=1), default=5_000, show_default=True, help="Test images.")
@click.option("--resume", is_flag=True, help="Take runs further that are in --runs already.")
@click.option("--runs", type=PATH, default=Path("runs/seed"), show_default=True, help="Where the runs are kept.")
@click.option("--out", type=PATH, callback=_writable, default=Path("benchmarks/results/seed.json"), show_default=True)
def bench_seed(
    only: tuple[str, ...], images: int | None, precision: Any, count: int, resume: bool, runs: Path, out: Path
) -> None:
    """Train and measure the recipes of train/recipes/seed, each as it was, without pooling and mended.

    Every run is written as it ends, beside those the result file has. Run this in the repository's root.
    """
    from digitcam.benchmarks.seed import seed

    seed(out, runs, only, images, precision, count, resume, say=note)
    click.echo(out)


@bench.command("sweep")
@click.argument("bundles", nargs=-1, required=True)
@click.option("--format", "format_", default="int8.onnx", show_default=True, help="Which network of each.")
@click.option("--images", type=click.IntRange(min=1), default=200, show_default=True, help="Images a point.")
@click.option("--results", type=PATH, default=Path("benchmarks/results"), show_default=True, help="NAME-sweep.json.")
@click.option(
    "--picture",
    type=PicturePath(),
    callback=_writable,
    default=Path("benchmarks/results/sweep.png"),
    show_default=True,
)
def bench_sweep(bundles: tuple[str, ...], format_: str, images: int, results: Path, picture: Path) -> None:
    """How accuracy falls with digit height, contrast, blur and turn: one picture for all BUNDLES."""
    from digitcam.benchmarks.results import write_result
    from digitcam.benchmarks.sweep import draw_sweep, sweep
    from digitcam.core.bundle import open_bundle

    opened = [open_bundle(bundle) for bundle in bundles]
    files = [results / f"{bundle.card.name}-sweep.json" for bundle in opened]
    for path in files:
        check_writable(path)
    measured = [sweep(bundle, format_, images, note) for bundle in opened]
    for path, result in zip(files, measured, strict=True):
        write_result(path, result)
    draw_sweep(measured, picture)
    click.echo(picture)


@bench.command("validate")
@click.argument("files", nargs=-1, required=True, type=PATH)
def bench_validate(files: tuple[Path, ...]) -> int:
    """Hold FILES, results of boards, against what they must tell; exit 6 when one does not.

    See benchmarks/results/boards/README.md.
    """
    from digitcam.benchmarks.boards import check_board
    from digitcam.core.errors import BenchmarkInvalidError

    code = 0
    for path in files:
        try:
            found = check_board(path)
        except BenchmarkInvalidError as error:
            click.echo(f"digitcam: {error}", err=True)
            code = error.exit_code
        else:
            machine = found.environment.board or found.environment.cpu
            click.echo(f"{path}: {found.subject.name} on {machine}: ok")
    return code


@bench.command("report")
@click.argument("results", type=PATH)
@click.option("--out", type=PATH, callback=_writable, required=True, help="The HTML file.")
def bench_report(results: Path, out: Path) -> None:
    """One HTML page of all results in the folder RESULTS and their history."""
    from digitcam.benchmarks.report import write_report

    write_report(results, out)
    click.echo(out)


@bench.command("history")
@click.argument("results", type=PATH)
def bench_history(results: Path) -> None:
    """Append to history.jsonl in the folder RESULTS what its results say and the history does not yet."""
    from digitcam.benchmarks.history import FILE, append_new

    note(f"{append_new(results)} new lines")
    click.echo(results / FILE)
