"""The command as a user meets it: one line on standard error, the documented exit code, no traceback."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import cv2
import numpy as np
import pytest

from digitcam.cli import cli
from digitcam.core.bundle import SHIPPED
from digitcam.core.canvas import draw_glyphs, rng_for
from digitcam.core.reading import decode_reading
from digitcam.later import Later
from digitcam.options import FiniteRange


def digitcam(*words: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "digitcam.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(env or {})}, check=False)


def errors(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return what digitcam itself said on standard error; LiteRT says a line of its own."""
    assert "Traceback" not in done.stderr
    return [line for line in done.stderr.splitlines() if not line.startswith("INFO: ")]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "number.png"
    cv2.imwrite(str(path), draw_glyphs("4096", rng_for(11, 5, 0)).image)
    return path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED / "canvas", tmp_path / "bundle"))


def edit_card(bundle: Path, **changes: object) -> None:
    path = bundle / "card.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))


def test_predict_says_number_confidence_and_place(image: Path) -> None:
    done = digitcam("predict", "canvas", image)
    assert done.returncode == 0 and errors(done) == []
    assert done.stdout.startswith(f"{image}: 4096  ")


def test_the_readmes_first_example(monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Path(__file__).parents[2]
    monkeypatch.chdir(repository)
    example = re.search(r"^digitcam (predict .*)\n(.*)\n", Path("README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert example
    done = digitcam(*example[1].split())
    assert done.returncode == 0 and done.stdout == f"{example[2]}\n"


def test_predict_gives_json_and_pictures(image: Path, tmp_path: Path) -> None:
    done = digitcam("predict", "canvas", image, image, "--json", "--draw", tmp_path / "drawn")
    readings = [decode_reading(line) for line in done.stdout.splitlines()]
    assert [(r.number, r.seq, r.source) for r in readings] == [("4096", 0, str(image)), ("4096", 1, str(image))]
    drawn = cv2.imread(str(tmp_path / "drawn" / "number.png"))
    assert drawn is not None and (drawn != cv2.imread(str(image))).any()


def test_an_image_without_a_number_exits_1(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((50, 100), np.uint8))
    done = digitcam("predict", "canvas", tmp_path / "black.png")
    assert done.returncode == 1 and done.stdout.endswith("black.png: no number\n")


def test_a_folder_with_one_bad_image_reads_the_rest(image: Path) -> None:
    shutil.copy(image, image.with_name("zebra.png"))
    image.with_name("bad.png").write_bytes(image.read_bytes()[:100])
    done = digitcam("predict", "canvas", image.parent)
    assert done.returncode == 4
    assert [line.split(": ")[1][:4] for line in done.stdout.splitlines()] == ["4096", "4096"]
    assert errors(done) == [f"digitcam: {image.with_name('bad.png')}: is cut short: copy it again"]


def test_run_prints_one_json_line_a_frame(tmp_path: Path) -> None:
    done = digitcam("run", "--source", "demo:3", "--frames", "5", "--sheet", tmp_path / "sheet.png")
    assert done.returncode == 0
    readings = [decode_reading(line) for line in done.stdout.splitlines()]
    assert [r.seq for r in readings] == [0, 1, 2, 3, 4]
    assert cv2.imread(str(tmp_path / "sheet.png")) is not None
    assert any("5 of 5" in line for line in errors(done))


@pytest.mark.parametrize(
    ("words", "code", "say"),
    [
        (["predict", "canvas"], 2, "Missing argument 'IMAGES...'"),
        (["predict", "nowhere", "{image}"], 3, "nowhere: no such bundle"),
        (["predict", "canvas", "{image}", "--format", "int4"], 2, "'int4' is not one of"),
        (["predict", "canvas", "{image}.none"], 4, "No such file"),
        (["run", "--source", "{image}.mp4"], 4, "No such file"),
        (["run", "--source", "ftp://host/x"], 2, "'ftp' are not known"),
        (["run", "--source", "dmo:"], 2, "dmo:: sources of kind 'dmo' are not known: use demo:, "),
        (["run", "--source", "/dev/video7"], 2, "/dev/video7: is a device: write v4l2:///dev/video7"),
        (["run", "--config", "{image}.toml"], 2, "{image}.toml"),
        (["run", "--frames", "0"], 2, "--frames"),
        (
            ["run", "--sheet", "{image}.txt"],
            2,
            "'--sheet': {image}.txt: cannot write a picture of kind '.txt': use .png",
        ),
        (["data", "fetch"], 2, "svhn. See '"),
        (["selftest", "nowhere"], 3, "nowhere: no such bundle"),
        (["audit", "nowhere"], 3, "nowhere: no such bundle"),
        (["train", "{image}"], 2, "not TOML"),
        (["train", "{image}.none"], 2, "cannot read the recipe"),
        (["evaluate", "canvas", "--data", "datecodes", "--split", "test"], 2, "use 'digitcam bench accuracy'"),
        (["evaluate", "canvas", "--data", "moon"], 2, "'moon' is not known: choose from canvas-variable"),
        (["evaluate", "{image}.pt", "--data", "glyphs-variable"], 3, "cannot read the checkpoint"),
        (["data", "preview", "glyphs-five", "--out", "sheet"], 2, "'--out': sheet: cannot write a picture of kind ''"),
        (["data", "preview", "moon"], 2, "'moon' is not known"),
        (["export", "{image}", "--out", "{image}.out"], 3, "not a checkpoint"),
        (["bench", "report", "{image}.none", "--out", "{image}.html"], 6, "no result (*.json) in this folder"),
    ],
)
def test_bad_words(words: list[str], code: int, say: str, image: Path) -> None:
    done = digitcam(*(word.replace("{image}", str(image)) for word in words))
    (line,) = errors(done)
    assert line.startswith("digitcam: ") and say.replace("{image}", str(image)) in line
    assert done.returncode == code


def test_missing_data_names_the_command_that_fetches_it(tmp_path: Path) -> None:
    done = digitcam("evaluate", "canvas", "--data", "canvas-five", env={"DIGITCAM_DATA": str(tmp_path)})
    (line,) = errors(done)
    assert done.returncode == 4 and "digitcam data fetch mnist" in line


@pytest.mark.parametrize(
    ("changes", "say"),
    [
        ({"colour": "red"}, "colour"),
        ({"schema": 99}, "field 'schema' is 99, this digitcam reads 1: install a newer digitcam"),
        ({"files": {}}, "field 'files' names no network (model.fp32.onnx, ...): export it again"),
    ],
)
def test_bad_cards(changes: dict[str, object], say: str, bundle: Path, image: Path) -> None:
    edit_card(bundle, **changes)
    done = digitcam("predict", bundle, image)
    (line,) = errors(done)
    assert say in line and str(bundle) in line
    assert done.returncode == 3


def test_a_card_that_is_no_json(bundle: Path, image: Path) -> None:
    (bundle / "card.json").write_text("{")
    done = digitcam("predict", bundle, image)
    assert done.returncode == 3 and "not a model card" in errors(done)[0]


def test_a_network_whose_sha256_differs(bundle: Path, image: Path) -> None:
    path = bundle / "model.int8.tflite"
    path.write_bytes(path.read_bytes() + b"\0")
    done = digitcam("predict", bundle, image)
    (line,) = errors(done)
    assert done.returncode == 3 and "model.int8.tflite is damaged: SHA-256" in line


def test_help_loads_no_verb() -> None:
    code = (
        "import sys\n"
        "from digitcam.cli import cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        "heavy = ('numpy', 'cv2', 'msgspec', 'digitcam.edge', 'digitcam.benchmarks', 'digitcam.flash')\n"
        "print(*sorted(name for name in sys.modules if name.startswith(heavy)), end='', file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for verb in ("bench", "bundle", "flash", "image", "payload", "run"):
        assert f"\n  {verb} " in done.stdout


def test_run_loads_neither_torch_nor_onnx_nor_matplotlib() -> None:
    code = (
        "import sys; sys.argv = ['digitcam', 'run', '--frames', '1']\n"
        "from digitcam import cli\n"
        "try: cli.main()\n"
        "except SystemExit as done: assert not done.code, done.code\n"
        "heavy = {'torch', 'onnx', 'matplotlib', 'onnxruntime', 'jax', 'starlette', 'paho'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_verb_explains_itself() -> None:
    verbs = [
        "predict",
        "run",
        "selftest",
        "doctor",
        "data fetch",
        "data preview",
        "train",
        "evaluate",
        "export",
        "coverage",
        "bundle pack",
        "bundle unpack",
        "bundle sign",
        "bundle verify",
        "flash",
        "image",
        "payload",
        "audit",
    ]
    verbs += [
        f"bench {name}"
        for name in ("accuracy", "latency", "overhead", "soak", "training", "peers", "sweep", "seed", "report")
    ]
    from click.testing import CliRunner

    from digitcam.cli import cli

    for verb in verbs:
        done = CliRunner().invoke(cli, [*verb.split(), "--help"])
        assert done.exit_code == 0 and len(done.output.splitlines()) > 5, verb


def test_standard_output_on_a_full_disk() -> None:
    command = [sys.executable, "-m", "digitcam.cli", "selftest", "canvas"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 5
    assert errors(done) == ["digitcam: standard output or a file: No space left on device"]


def test_a_path_that_cannot_be_one() -> None:
    name = 300 * "x"
    done = digitcam("selftest", name)
    assert (done.returncode, errors(done)) == (2, [f"digitcam: {name}: File name too long"])


def test_a_missing_choice_is_told_on_one_line() -> None:
    done = digitcam("data", "fetch")
    assert done.returncode == 2 and len(errors(done)) == 1


def test_predict_writes_no_picture_over_its_image(image: Path) -> None:
    before = image.read_bytes()
    done = digitcam("predict", "canvas", image, "--draw", image.parent)
    told = f"digitcam: {image}: its picture would be written over {image}: draw into another folder"
    assert (done.returncode, errors(done), done.stdout) == (2, [told], "")
    assert image.read_bytes() == before


def test_a_card_that_is_no_utf8_is_refused(bundle: Path, image: Path) -> None:
    path = bundle / "card.json"
    path.write_bytes(path.read_bytes().replace(b'"name": "canvas"', b'"name": "caf\xe9"', 1))
    done = digitcam("predict", bundle, image)
    assert done.returncode == 3
    assert errors(done) == [f"digitcam: {path}: not a model card: byte 0xe9 is not UTF-8"]


def test_a_name_that_is_no_utf8_is_told_in_json(image: Path) -> None:
    odd = image.rename(image.with_name(os.fsdecode(b"caf\xe9.png")))
    done = digitcam("predict", "canvas", odd, "--json")
    assert (done.returncode, errors(done)) == (0, [])
    assert decode_reading(done.stdout).source == f"{image.parent}/caf\N{REPLACEMENT CHARACTER}.png"


def test_every_number_with_a_fraction_is_a_finite_one() -> None:
    found = {}
    for verb in cli.commands.values():
        command = verb.load() if isinstance(verb, Later) else verb
        for each in command.commands.values() if isinstance(command, click.Group) else [command]:
            kinds = {option.name: option.type for option in each.params}
            found |= {
                (each.name, name): kind
                for name, kind in kinds.items()
                if isinstance(kind, (click.types.FloatParamType, click.FloatRange))
            }
    assert {("accuracy", "max_drop"), ("export", "max_drop"), ("latency", "sustained"), ("flash", "window")} <= set(
        found
    )
    assert {type(kind) for kind in found.values()} == {FiniteRange}
