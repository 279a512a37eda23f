from pathlib import Path

import cv2
import msgspec
import pytest
from click.testing import CliRunner

from digitcam.cli import cli
from digitcam.core.canvas import draw_glyphs, rng_for
from digitcam.core.errors import ConfigError, ModelError
from digitcam.core.reading import decode_reading
from digitcam.train.checkpoint import write_checkpoint
from digitcam.train.recipe import load_recipe

TRAIN = Path(__file__).parents[2] / "train"
CANVAS = TRAIN / "weights" / "canvas" / "weights.pt"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "number.png"
    cv2.imwrite(str(path), draw_glyphs("4096", rng_for(11, 5, 0)).image)
    return path


def test_a_checkpoint_reads_as_its_bundle_does(image: Path) -> None:
    found = []
    for model in (CANVAS, "canvas"):
        done = CliRunner().invoke(cli, ["predict", str(model), str(image), "--json"], standalone_mode=False)
        assert done.return_value == 0, done.output
        found.append(decode_reading(done.stdout))
    checkpoint, bundle = found
    assert checkpoint.model.format == "torch" and checkpoint.model.name == bundle.model.name == "canvas"
    assert checkpoint.number == bundle.number == "4096"
    assert checkpoint.box == pytest.approx(bundle.box, abs=2)


def test_a_network_without_a_box_says_a_number_all_the_same(image: Path, tmp_path: Path) -> None:
    overrides = ("network.layers=[[3, 4], [3, 4]]", "network.units=8")
    recipe = load_recipe(TRAIN / "recipes" / "seed" / "classification-only.toml", overrides)
    network = recipe.network.build(recipe.head, recipe.input)
    network.digits.logits.bias.data[7] = 50.0  # type: ignore[union-attr]
    path = tmp_path / "weights.pt"
    write_checkpoint(path, recipe, network.state_dict(), 1)
    done = CliRunner().invoke(cli, ["predict", str(path), str(image), "--json"], standalone_mode=False)
    reading = decode_reading(done.stdout)
    assert reading.number == "77777" and reading.box[2:] == (0, 0)
    assert msgspec.to_builtins(reading)["latency_ms"]["total"] > 0


@pytest.mark.parametrize(
    ("model", "options", "error", "words"),
    [
        (CANVAS, ["--format", "int8.onnx"], ConfigError, "--format: a checkpoint has no formats: leave it out"),
        ("none.pt", [], ModelError, "none.pt: cannot read the checkpoint"),
    ],
)
def test_what_cannot_be_is_said(
    model: str | Path, options: list[str], error: type[Exception], words: str, image: Path
) -> None:
    with pytest.raises(error, match=words):
        CliRunner().invoke(
            cli, ["predict", str(model), str(image), *options], standalone_mode=False, catch_exceptions=False
        )
