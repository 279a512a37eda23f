from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from digitcam.benchmarks import readme
from digitcam.benchmarks import seed as module
from digitcam.benchmarks.commands import bench
from digitcam.benchmarks.environment import Environment
from digitcam.benchmarks.results import SeedResult, SeedRun
from digitcam.benchmarks.seed import RECIPES, ROWS, read_seed, seed, variants, write_seed
from digitcam.core.errors import BenchmarkInvalidError, ConfigError
from digitcam.core.metrics import Metrics
from digitcam.train import svhn
from digitcam.train.checkpoint import write_checkpoint
from digitcam.train.plain import PlainConfig
from digitcam.train.recipe import Recipe, load_recipe

FOLDER = readme.ROOT / RECIPES
MACHINE = Environment("Some CPU", 2, [], "Linux", "3.11", {})


def a_run(sequence: float, data: str = "canvas", images: int = 1_000) -> SeedRun:
    metrics = Metrics(5_000, sequence, 0.5, 123.456, 0.5, {})
    return SeedRun(images, "bf16", 2.4, data, data, "0123", MACHINE, "", metrics)


def test_the_rows_are_the_recipes() -> None:
    assert {path.stem for path in FOLDER.glob("*.toml")} == set(ROWS)


@pytest.mark.parametrize("name", ROWS[:-1])  # the last is ours, without pooling and without a twin
def test_a_twin_differs_in_the_halving_alone(name: str) -> None:
    pair = variants(name, FOLDER, 100)
    pair.pop(f"{name}-mended", None)
    recipe = pair.pop(name)
    assert isinstance(recipe.network, PlainConfig) and recipe.schedule.images == 100
    if name in ("svhn-no-pooling", "svhn-no-digit-reweight"):
        assert recipe.network.halving == "conv" and not pair
        return
    twin = pair.pop(f"{name}-strided")
    network = msgspec.structs.replace(recipe.network, halving="conv")
    assert recipe.network.halving == "pool" and not pair
    assert twin == msgspec.structs.replace(recipe, name=f"{name}-strided", network=network)


def test_a_mended_row_differs_in_one_thing_alone() -> None:
    found = variants("localization-fc", FOLDER, 100, "bf16")
    assert list(found) == ["localization-fc", "localization-fc-strided", "localization-fc-mended"]
    row, mended = found["localization-fc"], found["localization-fc-mended"]
    loss = msgspec.structs.replace(row.loss, class_weight=1000.0)
    assert mended == msgspec.structs.replace(row, name="localization-fc-mended", loss=loss) and row.loss != loss
    assert {recipe.schedule.precision for recipe in found.values()} == {"bf16"}


def test_what_mends_a_row_is_one_change() -> None:
    mended = {name for name in ROWS if f"{name}-mended" in variants(name, FOLDER)}
    assert {"sequence-canvas", "localization-fc", "svhn-baseline"} <= mended
    assert all(len(load_recipe(FOLDER / f"{name}.toml").mend) == 1 for name in mended)


@pytest.fixture
def quick_rows(tmp_path: Path) -> Path:
    """The rows with small networks on small drawn images, to be trained in seconds."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    for name in ROWS:
        text = (FOLDER / f"{name}.toml").read_text(encoding="utf-8")
        for old, new in (('digits = "mnist"', 'digits = "glyphs"'), ("canvas-five", "glyphs-variable")):
            text = text.replace(old, new)
        text = re.sub(r"^layers = .*", "layers = [[3, 4], [3, 4], [3, 4], [3, 4]]", text, flags=re.MULTILINE)
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.slow
def test_a_run_is_measured_and_taken_further(quick_rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("digitcam.train.loop.VALIDATION_IMAGES", 4)
    out, runs, name = tmp_path / "seed.json", tmp_path / "runs", "weighted-loss-strided"
    write_seed(out, "svhn-baseline", a_run(0.25))
    said: list[str] = []
    seed(out, runs, (name,), images=50, count=6, folder=quick_rows, say=said.append)
    first = read_seed(out).runs
    assert set(first) == {"svhn-baseline", name} and first["svhn-baseline"] == a_run(0.25)
    assert (first[name].images, first[name].metrics.images, first[name].test_data) == (50, 6, "canvas")
    assert first[name].environment.packages["torch"] and first[name].minutes >= 0
    assert said[0] == f"{name}: 50 images" and said[1].startswith(f"{name}: sequence 0.")

    with pytest.raises(ConfigError, match="--resume"):
        seed(out, runs, (name,), images=100, count=6, folder=quick_rows, say=said.append)
    seed(out, runs, (name,), images=100, count=6, resume=True, folder=quick_rows, say=said.append)
    second = read_seed(out).runs
    assert second[name].images == 100 and second["svhn-baseline"] == a_run(0.25)
    assert second[name].minutes >= first[name].minutes


def test_a_row_says_what_its_run_learned_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what lies on the disk by now: here photographs."""
    recipe = load_recipe(FOLDER / "svhn-baseline.toml")
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, recipe, {}, 50, {"step": 1, "seconds": 60.0, "source": "drawn stand-in"})
    monkeypatch.setattr(svhn, "at_hand", lambda split: True)
    monkeypatch.setattr(module, "train", lambda recipe, out, resume: path)
    monkeypatch.setattr(module, "network_of", lambda saved: None)
    monkeypatch.setattr(module, "evaluate_network", lambda *_: Metrics(7, 0.5, 0.5, 1.0, 0.5, {}))
    found = module.measured(recipe, tmp_path, 7, resume=True)
    assert (found.train_data, found.test_data) == ("drawn stand-in", "photographs")
    assert (found.images, found.minutes) == (50, 1.0)


def test_an_unknown_row_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--only weighted: no such row: choose from sequence-canvas, "):
        seed(tmp_path / "seed.json", tmp_path, ("weighted",), folder=FOLDER)


def test_a_damaged_result_is_known_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(recipe: Recipe, out: Path, resume: bool) -> Path:
        raise AssertionError

    monkeypatch.setattr(module, "train", train)
    (tmp_path / "seed.json").write_text("{}")
    with pytest.raises(BenchmarkInvalidError, match=r"seed\.json: not a result"):
        seed(tmp_path / "seed.json", tmp_path, folder=FOLDER)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[str, int, str]] = []

    def measured(recipe: Recipe, out: Path, count: int, resume: bool) -> SeedRun:
        given.append((out.name, recipe.schedule.images, recipe.schedule.precision))
        assert resume and count == 7
        return a_run(0.5)

    monkeypatch.setattr(module, "measured", measured)
    monkeypatch.chdir(readme.ROOT)
    out = tmp_path / "seed.json"
    command = ["seed", "--only", "svhn-no-pooling-mended", "--only", "svhn-transfer", "--images", "9", "--count", "7"]
    done = CliRunner().invoke(bench, [*command, "--precision", "bf16", "--resume", "--out", str(out)])
    assert done.exit_code == 0, done.output
    rows = ["svhn-transfer", "svhn-transfer-strided", "svhn-transfer-mended", "svhn-no-pooling-mended"]
    assert given == [(name, 9, "bf16") for name in rows]
    assert set(read_seed(out).runs) == set(rows)


def test_the_table_by_hand(tmp_path: Path) -> None:
    empty = readme.seed_table(tmp_path)
    assert "| weighted-loss | 0.74 / 0.94 / 2.32 | - | - | - | - / - | - / - |" in empty
    assert "| sequence-canvas | 0.15 / - / - | - | - | - | - / - / - | - / - / - |" in empty
    assert "| svhn-no-digit-reweight | 0.40 / 0.82 / 349.6 | - | - | - | - | - |" in empty
    assert empty.count("\n| ") == len(ROWS) and "none of ours has run yet" in empty

    result = SeedResult(
        {
            "weighted-loss": a_run(0.8),
            "weighted-loss-strided": a_run(0.9, images=2_000),
            "classification-only": a_run(0.7),
            "svhn-no-pooling": a_run(0.3, "drawn stand-in"),
            "svhn-no-pooling-mended": a_run(0.6, "drawn stand-in", 3_000),
        }
    )
    for name, run in result.runs.items():
        write_seed(tmp_path / "seed.json", name, run)
    assert read_seed(tmp_path / "seed.json") == result
    table = readme.seed_table(tmp_path)
    row = "| 0.80 / 0.50 / 123.5 | 0.90 / 0.50 / 123.5 | - | 1,000 / 2,000 | 2 / 2 |"
    assert f"| weighted-loss | 0.74 / 0.94 / 2.32 {row}" in table
    # Without a box there is no localisation; a row that has no pooling anyway stands in that column.
    assert "| classification-only | 0.74 / 0.94 / - | 0.70 / 0.50 / - | - | - | 1,000 / - | 2 / - |" in table
    row = "| - | 0.30 / 0.50 / 123.5 * | 0.60 / 0.50 / 123.5 * | 1,000 / 3,000 | 2 / 2 |"
    assert f"| svhn-no-pooling | 0.42 / 0.84 / 423.7 {row}" in table
    assert "(ours: 5,000). Machine: Some CPU, 2 cores, bf16. * drawn stand-in for the photographs." in table
