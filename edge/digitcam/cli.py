"""The `digitcam` command. Each verb loads its part only when called, so that a device needs no training library.

The verbs of `digitcam bench` stand beside the benchmarks, in `digitcam.benchmarks.commands`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from digitcam.core.errors import ConfigError, DigitcamError, SinkError
from digitcam.core.formats import FORMATS
from digitcam.later import Later, Verbs
from digitcam.options import FiniteRange, PicturePath

PATH = click.Path(path_type=Path)
SPLITS = click.Choice(["train", "validation", "test"])
FORMAT = click.Choice(FORMATS)


def main() -> None:
    """Run the command and exit: 0 ok, 1 nothing read, 2 to 7 as in `core.errors`, 130 interrupted."""
    try:
        code = cli.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        sys.exit(ConfigError.exit_code)
    except click.ClickException as error:
        command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "digitcam"
        message = " ".join(error.format_message().split()).removesuffix(".")
        print(f"digitcam: {message}. See '{command} --help'.", file=sys.stderr)
        sys.exit(ConfigError.exit_code)
    except DigitcamError as error:
        # As the run that it ends is logged.
        from digitcam.edge.log import log

        log.error(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output has gone; Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        # What is met nearer to its cause says more. A name comes with a path that cannot even be looked at, none with
        # what cannot be written: standard output, as a rule, in a file on a disk that is full.
        kind: type[DigitcamError] = ConfigError if error.filename else SinkError
        where = error.filename or "standard output or a file"
        print(f"digitcam: {where}: {error.strerror or error}", file=sys.stderr)
        sys.exit(kind.exit_code)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        print(f"digitcam: this needs {error.name}: pip install 'digitcam[{extra}]'", file=sys.stderr)
        sys.exit(ConfigError.exit_code)


_EXTRAS = {
    "torch": "train",
    "tqdm": "train",
    "tensorboard": "train",
    "h5py": "train",
    "onnx": "export",
    "onnxscript": "export",
    "litert_torch": "export",
    "ai_edge_quantizer": "export",
    "onnxruntime": "onnx",
    "ai_edge_litert": "litert",
    "paho": "mqtt",
    "starlette": "web",
    "tomlkit": "web",
    "uvicorn": "web",
    "jinja2": "report",
    "matplotlib": "report",
}


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="digitcam")
def cli() -> None:
    """Train, quantise and run a small network that reads and locates a number in a camera image."""


def _json(value: Any) -> None:
    import json

    import msgspec

    click.echo(json.dumps(msgspec.to_builtins(value), indent=2))


@cli.command()
@click.argument("bundle")
@click.argument("images", nargs=-1, required=True, type=PATH)
@click.option("--format", "format_", type=FORMAT, help="Which network; by default the int8 one of the engine at hand.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line a number.")
@click.option("--draw", type=PATH, help="Write each image with its boxes into this folder.")
def predict(bundle: str, images: tuple[Path, ...], format_: str | None, as_json: bool, draw: Path | None) -> int:
    """Read the number in each of IMAGES (files or folders) with BUNDLE, a path or a shipped name such as canvas.

    A checkpoint, a file in .pt, will do as well.
    """
    from digitcam.core.bundle import open_bundle
    from digitcam.core.draw import annotate, drawings, write_image
    from digitcam.core.reading import encode_reading
    from digitcam.edge.pipeline import Reader
    from digitcam.edge.sources.files import ImageSource

    if bundle.endswith(".pt"):
        from digitcam.benchmarks.checkpoint import CheckpointReader

        if format_:
            raise ConfigError("--format: a checkpoint has no formats: leave it out")
        reader: Reader = CheckpointReader(Path(bundle))
    else:
        reader = Reader(open_bundle(bundle), format_)
    accepted = 0
    with ImageSource(images) as source:
        drawn = drawings(source.paths, draw) if draw else {}
        for frame in source:
            readings = reader.read(frame)
            accepted += readings[0].accepted
            for reading in readings:
                if as_json:
                    click.echo(encode_reading(reading))
                elif reading.number:
                    x, y, width, height = (round(value) for value in reading.box)
                    sure = f"{100 * reading.confidence:.0f}%{'' if reading.accepted else ' ' + reading.reason}"
                    click.echo(f"{frame.source}: {reading.number}  {sure}  at {x},{y} {width}x{height}")
                else:
                    click.echo(f"{frame.source}: no number")
            if draw:
                write_image(drawn[frame.source], annotate(frame.image, readings))
    return 4 if source.failed else 0 if accepted else 1


@cli.command()
@click.option("--config", type=PATH, help="A TOML file, see edge/configs/; the options below win over it.")
@click.option("--source", help="A camera (picamera2:, v4l2:, rtsp:, http:, gst:), image, folder or video; else demo:.")
@click.option("--model", help="A bundle's path or a shipped name; by default digitcam-s, and canvas for demo:.")
@click.option("--format", "format", type=FORMAT, help="Which network; by default the int8 one of the engine at hand.")
@click.option("--web", metavar="PORT", type=click.IntRange(1, 65535), help="Serve the page here; [web] has more.")
@click.option("--log", type=click.Choice(["plain", "json"]), help="How messages are written on standard error.")
@click.option("--frames", type=click.IntRange(min=1), help="Stop after so many frames.")
@click.option("--sheet", type=PicturePath(), help="Write the first frames with their boxes as one picture.")
@click.option("--record", type=PATH, help="Keep the frames in a file that --source replay:FILE reads again.")
@click.option("--check", is_flag=True, help="Only check the configuration.")
@click.option("--forget", is_flag=True, help="Only delete what the broker and Home Assistant keep of it.")
def run(
    config: Path | None,
    web: int | None,
    frames: int | None,
    sheet: Path | None,
    record: Path | None,
    check: bool,
    forget: bool,
    **options: str | None,
) -> int:
    """Read numbers from a source of frames; one JSON line a number on standard output.

    SIGHUP has the file read anew, without losing the camera; SIGTERM and Ctrl-C end the run cleanly.
    """
    from digitcam.edge.config import ConfigFile
    from digitcam.edge.runner import check as check_all
    from digitcam.edge.runner import run as run_source

    page = {"port": web} if web else None
    file = ConfigFile(config, {key: value for key, value in {**options, "web": page}.items() if value is not None})
    loaded = file.load()
    if check:
        check_all(loaded, file)
        click.echo(f"{config or 'options'}: ok", err=True)
        return 0
    if forget:
        from digitcam.edge.sinks import forget_all

        for topic in forget_all(loaded):
            click.echo(f"forgot {topic}", err=True)
        return 0
    return run_source(loaded, frames, sheet, file, record)


@cli.command()
@click.option("--config", type=PATH, help="A TOML file, see edge/configs/; without it the defaults.")
@click.option("--source", help="The camera to look at, as digitcam run has it; wins over the file's.")
@click.option("--json", "as_json", is_flag=True, help="A list of check, state, found and mend.")
def doctor(config: Path | None, source: str | None, as_json: bool) -> int:
    """Say what on this machine would stop digitcam, with the mend for each; nothing is changed or published.

    Exit 0 when nothing is wrong, else as the first fault: 2 configuration, 3 engine or network, 4 source, 5 broker or
    disk. Warnings do not count.
    """
    from digitcam.edge.config import ConfigFile
    from digitcam.edge.doctor import examine, exit_code

    found = []
    for finding in examine(ConfigFile(config, {"source": source} if source else {})):
        found.append(finding)
        if not as_json:
            click.echo(finding.line)
    if as_json:
        _json([finding.record for finding in found])
    return exit_code(found)


@cli.command()
@click.argument("bundle")
def selftest(bundle: str) -> None:
    """Replay BUNDLE's golden inputs on this machine's engines."""
    from digitcam.core.bundle import open_bundle
    from digitcam.edge.selftest import selftest as replay_all

    for replay in replay_all(open_bundle(bundle)):
        outputs = f"within {replay.difference:.2g} of" if replay.difference else "equal to"
        click.echo(
            f"{replay.format:12} {replay.same} of {replay.of} golden inputs read as at export, "
            f"outputs {outputs} those at export"
        )


@cli.group()
def data() -> None:
    """Download data sets and look at them."""


@data.command("fetch")
@click.argument("name", type=click.Choice(["mnist", "svhn"]))
@click.option("--part", "parts", type=click.Choice(["train", "test", "extra"]), multiple=True, help="Of svhn; or all.")
@click.option("--keep", is_flag=True, help="Keep svhn's archives once they are unpacked.")
@click.option("--mirror", help="Base URL of the files.")
def data_fetch(name: str, parts: tuple[Any, ...], keep: bool, mirror: str | None) -> None:
    """Download a data set below $DIGITCAM_DATA, or ~/.cache/digitcam; every file's size and md5 are checked.

    A download that broke off is gone on with when the same command is run again.
    """
    if name == "mnist":
        from digitcam.train import mnist

        if parts or keep:
            raise ConfigError("--part and --keep are for svhn: leave them out")
        for path in mnist.fetch(mirror or mnist.MIRROR):
            click.echo(path)
        return
    from digitcam.train import svhn_archive

    for fetched in svhn_archive.fetch(parts or tuple(svhn_archive.ARCHIVES), mirror or svhn_archive.MIRROR, keep):
        click.echo(f"{fetched.labels}: {fetched.photographs} photographs")
        if fetched.left_out:
            total = fetched.photographs + len(fetched.left_out)
            click.echo(
                f"digitcam: {fetched.labels}: {len(fetched.left_out)} of {total} records are unusable and left out, "
                f"the first {fetched.left_out[0]}",
                err=True,
            )


@data.command("preview")
@click.argument("name")
@click.option("--split", type=SPLITS, default="train", show_default=True)
@click.option("--count", type=click.IntRange(1, 400), default=32, show_default=True)
@click.option("--out", type=PicturePath(), help="NAME.png by default.")
def data_preview(name: str, split: Any, count: int, out: Path | None) -> None:
    """Write a contact sheet of drawn images with their boxes."""
    from digitcam.core.draw import write_image
    from digitcam.train.preview import preview

    path = out or Path(f"{name}.png")
    write_image(path, preview(name, split, count))
    click.echo(path)


@cli.command()
@click.argument("recipe", type=PATH)
@click.option("--out", type=PATH, help="Where the run is kept; runs/NAME by default.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key, as schedule.images=9000.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@click.option("--start", type=PATH, help="Begin with the weights of this checkpoint of the same network.")
def train(recipe: Path, out: Path | None, overrides: tuple[str, ...], resume: bool, start: Path | None) -> None:
    """Train RECIPE, a TOML file below train/recipes."""
    import shlex

    from digitcam.train.interrupt import StoppedError
    from digitcam.train.loop import WEIGHTS
    from digitcam.train.loop import train as train_recipe
    from digitcam.train.recipe import load_recipe

    loaded = load_recipe(recipe, overrides)
    try:
        click.echo(train_recipe(loaded, out or Path("runs") / loaded.name, resume, start).with_name(WEIGHTS))
    except StoppedError as stopped:
        options = [word for override in overrides for word in ("--set", override)]
        options += ["--out", str(out)] if out else []
        again = shlex.join(["digitcam", "train", str(recipe), *options, "--resume"])
        raise StoppedError(f"{stopped}; go on with: {again}") from None


@cli.command()
@click.argument("model")
@click.option("--data", "name", required=True, help="A data set's name, as canvas-five.")
@click.option("--split", type=SPLITS, default="validation", show_default=True)
@click.option("--count", type=click.IntRange(min=1), help="Only the first images.")
@click.option("--format", "format_", type=FORMAT, help="Which network of a bundle.")
@click.option("--json", "as_json", is_flag=True)
def evaluate(model: str, name: str, split: Any, count: int | None, format_: str | None, as_json: bool) -> None:
    """Measure MODEL, a checkpoint or a bundle, on a data set."""
    from digitcam.train.data import caution, data_set, refuse_rare

    refuse_rare(name)
    if warning := caution(data_set(name), split):
        click.echo(f"digitcam: {warning}", err=True)
    if model.endswith(".pt"):
        from digitcam.train.checkpoint import network_of, read_checkpoint
        from digitcam.train.evaluate import evaluate_network

        if format_:
            raise ConfigError("--format: a checkpoint has no formats: leave it out")
        saved = read_checkpoint(Path(model))
        metrics = evaluate_network(network_of(saved), saved.recipe, name, split, count)
    else:
        from digitcam.benchmarks.accuracy import format_results
        from digitcam.core.bundle import open_bundle
        from digitcam.edge.engines import default_format

        metrics = format_results(open_bundle(model), format_ or default_format(), name, split, count).metrics()
    if as_json:
        _json(metrics)
        return
    click.echo(f"{metrics.images} images of {name}/{split}")
    click.echo(f"sequence accuracy   {metrics.sequence_accuracy:.4f}")
    click.echo(f"character accuracy  {metrics.character_accuracy:.4f}")
    click.echo(f"localisation error  {metrics.localisation_error_px2:.3f} px²")
    click.echo(f"IoU                 {metrics.iou:.4f}")
    for length, share in metrics.sequence_by_length.items():
        click.echo(f"  {length} digits  {share:.4f}")


@cli.command()
@click.argument("checkpoint", type=PATH)
@click.option("--out", type=PATH, required=True, help="The bundle's folder; must not exist.")
@click.option("--images", type=click.IntRange(min=1), default=5000, show_default=True, help="Validation images a gate.")
@click.option(
    "--max-drop", type=FiniteRange(min=0), default=0.3, show_default=True, help="Points of accuracy int8 may lose."
)
def export(checkpoint: Path, out: Path, images: int, max_drop: float) -> None:
    """Export CHECKPOINT as a bundle: ONNX and TFLite, float and int8, checked against gates."""
    from digitcam.benchmarks.commands import note
    from digitcam.export.bundle import export as export_bundle

    export_bundle(checkpoint, out, images, max_drop, note)
    click.echo(out)


@cli.command()
@click.argument("bundle")
@click.option("--images", type=click.IntRange(min=1), help="Validation images a data set; by default as at export.")
def coverage(bundle: str, images: int | None) -> None:
    """Measure from which confidence BUNDLE's readings are 98 and 99% right, and write it into its card.

    The export does this too; bundles from before it did are measured on the validation images that their card names.
    Only card.json changes.
    """
    from digitcam.benchmarks.commands import note
    from digitcam.core.bundle import CARD, open_bundle
    from digitcam.export.coverage import write_coverage

    opened = open_bundle(bundle)
    write_coverage(opened, images, note)
    click.echo(opened.path / CARD)


@cli.command()
@click.argument("bundle")
@click.option("--json", "as_json", is_flag=True)
def audit(bundle: str, as_json: bool) -> None:
    """Say what is really in BUNDLE's networks; exit 7 on pooling, or float compute in an int8 one."""
    from digitcam.core.bundle import open_bundle
    from digitcam.export.audit import audit as audit_format
    from digitcam.export.audit import check

    opened = open_bundle(bundle)
    found = [audit_format(opened, format) for format in opened.formats]
    if as_json:
        _json(found)
    else:
        for one in found:
            click.echo(f"{one.format}: {one.bytes / 1e3:.0f} kB, {one.macs / 1e6:.2f} MMAC")
            click.echo(f"  in   {'; '.join(one.inputs)}")
            click.echo(f"  out  {'; '.join(one.outputs)}")
            for operator, count in one.operators.items():
                click.echo(f"  {count:3} {operator}")
            click.echo(f"  pooling: {', '.join(one.pooling) or 'none'}")
            click.echo(f"  float compute: {', '.join(one.float_compute) or 'none'}")
    for one in found:
        check(one)


for later in (
    Later("bench", "digitcam.benchmarks.commands:bench", "Measure; each benchmark writes a JSON result."),
    Later("bundle", "digitcam.edge.bundle_commands:bundle", "Pack, unpack, sign and verify bundles."),
    Later("flash", "digitcam.flash.flash_command:flash", "Put runner, model and service onto HOST over your own ssh."),
    Later("image", "digitcam.flash.commands:image", "Have a card with Raspberry Pi OS boot into the runner."),
    Later("payload", "digitcam.flash.commands:payload", "Write all that a device needs into one folder."),
):
    cli.add_command(later)


if __name__ == "__main__":
    main()
