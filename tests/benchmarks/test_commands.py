"""What all verbs have in common."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click import BadParameter
from click.testing import CliRunner, Result

from digitcam.benchmarks.commands import bench, check_writable
from digitcam.cli import cli
from digitcam.core.errors import ModelError, SinkError
from digitcam.edge import engines

VERBS = {
    "accuracy": ["canvas", "--data", "glyphs-variable", "--out"],
    "debug": ["canvas", "--data", "glyphs-variable", "--out"],
    "latency": ["canvas", "--out"],
    "overhead": ["canvas", "--out"],
    "soak": ["canvas", "--out"],
    "training": ["train/recipes/quick.toml", "--out"],
    "peers": ["canvas", "--out"],
    "seed": ["--out"],
    "sweep": ["canvas", "--picture"],
    "report": ["benchmarks/results", "--out"],
}


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, ["bench", *words], standalone_mode=False)


@pytest.fixture
def _nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    measured: list[str] = []
    for verb in VERBS:
        name = f"digitcam.benchmarks.{verb}.{'write_report' if verb == 'report' else verb}"
        monkeypatch.setattr(name, lambda *_, verb=verb, **__: measured.append(verb))
    yield
    assert measured == []


@pytest.mark.usefixtures("_nothing_is_measured")
@pytest.mark.parametrize("verb", VERBS)
def test_where_nothing_can_be_written_is_said_before_anything_is_measured(verb: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("earlier")
    folder = tmp_path / "folder.png"
    folder.mkdir()
    for path, said in (
        (tmp_path / "file" / "x.png", "cannot be written: Not a directory"),
        (folder, "is a folder: name a file"),
    ):
        done = run(verb, *VERBS[verb], str(path))
        assert isinstance(done.exception, SinkError) and done.exception.exit_code == 5
        assert str(done.exception).startswith(f"{path}: ") and str(done.exception).endswith(said)
    folder.rmdir()
    assert [found.name for found in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "earlier"


@pytest.mark.usefixtures("_nothing_is_measured")
@pytest.mark.parametrize(
    "words",
    [
        ["sweep", "canvas", "--picture", "x.txt"],
        ["accuracy", "canvas", "--data", "glyphs-variable", "--out", "x.json", "--pictures", "x.txt"],
    ],
)
def test_an_ending_of_no_picture_is_told_before_anything_is_measured(words: list[str]) -> None:
    done = run(*words)
    assert isinstance(done.exception, BadParameter) and done.exception.exit_code == 2
    assert "x.txt: cannot write a picture of kind '.txt': use .png or .jpg" in str(done.exception)


@pytest.mark.parametrize(
    ("verb", "more"),
    [
        ("accuracy", ["--data", "glyphs-variable", "--count", "1"]),
        ("debug", ["--data", "glyphs-variable", "--count", "1"]),
        ("latency", []),
        ("overhead", ["--format", "int8.onnx"]),
        ("peers", ["--format", "int8.onnx"]),
        ("peers", ["--format", "int8.onnx", "--peer", "rapidocr"]),
    ],
)
def test_a_missing_engine_is_told_with_its_extra(
    verb: str, more: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has = engines._has
    monkeypatch.setattr(engines, "_has", lambda name: name != "onnxruntime" and has(name))
    done = run(verb, "canvas", *more, "--out", str(tmp_path / "x.json"))
    assert isinstance(done.exception, ModelError) and done.exception.exit_code == 3
    assert "needs onnxruntime: pip install 'digitcam[onnx]'" in str(done.exception)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["overhead", "peers"])
def test_no_engine_at_all_is_told_with_both_extras(verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_has", lambda name: False)
    done = run(verb, "canvas", "--out", str(tmp_path / "x.json"))
    assert isinstance(done.exception, ModelError) and done.exception.exit_code == 3
    assert str(done.exception).endswith("pip install 'digitcam[litert]' or 'digitcam[onnx]'")


def test_every_verb_that_measures_is_looked_at() -> None:
    assert set(bench.commands) - {"compare", "validate", "history"} == set(VERBS)


@pytest.mark.usefixtures("_nothing_is_measured")
def test_pictures_and_further_results_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("earlier")
    accuracy = [
        "accuracy",
        "canvas",
        "--data",
        "glyphs-variable",
        "--max-drop",
        "0.3",
        "--out",
        str(tmp_path / "x.json"),
    ]
    for words in (
        [*accuracy, "--pictures", str(tmp_path / "file" / "flips.png")],
        ["sweep", "canvas", "--picture", str(tmp_path / "x.png"), "--results", str(tmp_path / "file")],
    ):
        done = run(*words)
        assert isinstance(done.exception, SinkError) and "Not a directory" in str(done.exception)


def test_folders_that_are_not_there_yet_are_not_made_by_looking(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "newer" / "x.json")
    check_writable(tmp_path / "x.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_nothing_is_measured")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["accuracy", *VERBS["accuracy"], "{out}", "--max-drop", "nan"], "nan is not a finite number."),
        (["accuracy", *VERBS["accuracy"], "{out}", "--max-drop", "inf"], "inf is not a finite number."),
        (["accuracy", *VERBS["accuracy"], "{out}", "--max-drop", "-0.1"], "-0.1 is not in the range x>=0."),
        (["latency", *VERBS["latency"], "{out}", "--sustained", "nan"], "nan is not a finite number."),
        (["latency", *VERBS["latency"], "{out}", "--seconds", "1e999"], "1e999 is not a finite number."),
    ],
)
def test_what_is_no_finite_number_is_refused(words: list[str], said: str, tmp_path: Path) -> None:
    done = run(*(word.replace("{out}", str(tmp_path / "x.json")) for word in words))
    assert isinstance(done.exception, BadParameter) and done.exception.message == said
