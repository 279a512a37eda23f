from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from digitcam.core.bundle import open_bundle
from digitcam.core.card import GridHead, SlotsHead
from digitcam.core.errors import ConfigError, GateError
from digitcam.core.formats import FORMATS
from digitcam.core.metrics import Metrics
from digitcam.export import onnx, parity
from digitcam.export.audit import audit, check
from digitcam.export.bundle import export
from digitcam.export.quantize import calibration_images
from digitcam.train.checkpoint import network_of, read_checkpoint, write_checkpoint
from digitcam.train.deploy import fold
from digitcam.train.model import Network
from digitcam.train.recipe import Recipe, load_recipe

RECIPES = Path(__file__).parents[2] / "train" / "recipes"
Write = Callable[[Recipe], Path]


def metrics(accuracy: float) -> Metrics:
    return Metrics(100, accuracy, accuracy, 1.0, 1.0, {})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["quick", "slots"])
def test_a_checkpoint_becomes_a_bundle(
    kind: str, request: pytest.FixtureRequest, checkpoint: Write, tmp_path: Path
) -> None:
    recipe: Recipe = request.getfixturevalue(kind)
    path = checkpoint(recipe)
    said: list[str] = []
    card = export(path, tmp_path / "out", images=20, say=said.append)
    bundle = open_bundle(tmp_path / "out")
    assert bundle.card == card and bundle.formats == list(FORMATS)
    assert isinstance(card.head, GridHead if kind == "quick" else SlotsHead)
    assert card.parameters == sum(p.numel() for p in network_of(read_checkpoint(path)).parameters())
    assert set(card.metrics) == set(FORMATS) and set(card.metrics["int8.onnx"]) == {"glyphs-variable/validation"}
    assert {f: [one.accuracy for one in covered] for f, covered in card.coverage.items()} == {
        format: [0.98, 0.99] for format in FORMATS
    }
    for format in FORMATS:
        found = audit(bundle, format)
        check(found)
        assert found.macs == card.macs
        assert " uint8 [1, 128, 256, 1]" in found.inputs[0] or " int8 [1, 128, 256, 1]" in found.inputs[0]

    golden = bundle.golden()
    expected = parity.torch_outputs(fold(network_of(read_checkpoint(path))), golden.images)
    for format in FORMATS:
        for name, value in parity.engine_outputs(bundle, format, golden.images).items():
            span = np.ptp(expected[name])
            assert np.abs(value - expected[name]).max() <= (1e-4 * max(1, span) if "fp32" in format else 0.2 * span)
    with pytest.raises(ConfigError, match="exists already"):
        export(path, tmp_path / "out", images=20)


def test_the_seed_s_networks_are_not_for_export(tmp_path: Path) -> None:
    recipe = load_recipe(RECIPES / "seed" / "weighted-loss.toml")
    path = tmp_path / "weights.pt"
    write_checkpoint(path, recipe, recipe.network.build(recipe.head, recipe.input).state_dict(), 50)
    with pytest.raises(
        ConfigError, match=r"weights\.pt: networks of the seed's, with pooling or GRU, are for comparison"
    ):
        export(path, tmp_path / "out", say=lambda _: None)
    assert not (tmp_path / "out").exists()


def test_calibration_reaches_both_ends_in_one_image(quick: Recipe) -> None:
    images = calibration_images(quick, 3)
    assert images.shape == (3, 128, 256, 1) and images.dtype == np.uint8
    assert images[0].min() == 0 and images[0].max() == 255


def test_a_network_that_looks_closer_is_calibrated_on_close_ups() -> None:
    recipe = load_recipe(RECIPES / "digitcam-s.toml", ('data.kinds={"print"=1}', "data.empty=0.0"))
    once = msgspec.structs.replace(recipe, head=msgspec.structs.replace(recipe.head, close_up=None), close_ups=0.0)
    close, plain = calibration_images(recipe, 24), calibration_images(once, 24)
    enlarged = [i for i in range(24) if not np.array_equal(close[i, 1:], plain[i, 1:])]
    assert 5 < len(enlarged) < 19
    assert close[0].min() == 0 and close[0].max() == 255


def test_calibration_on_black_images_is_refused(quick: Recipe) -> None:
    network = fold(Network(quick.network, quick.head, quick.input))
    with pytest.raises(GateError, match=r"not 1/255 and 0: calibrate on images that reach 0 and 255"):
        onnx.export_int8(network, quick.input, np.zeros((2, 128, 256, 1), np.uint8))


def test_the_parity_gate() -> None:
    expected = {"logits": np.zeros((2, 3), np.float32)}
    assert parity.check_parity("fp32.onnx", {"logits": np.full((2, 3), 5e-5, np.float32)}, expected) < 1e-4
    with pytest.raises(GateError, match=r"fp32\.onnx: logits differ from torch's by 0\.0002"):
        parity.check_parity("fp32.onnx", {"logits": np.full((2, 3), 2e-4, np.float32)}, expected)
    with pytest.raises(GateError):
        parity.check_parity("fp32.onnx", {"logits": np.full((2, 3), np.nan, np.float32)}, expected)


def test_the_accuracy_gate() -> None:
    kept = {"fp32.onnx": 0.98, "int8.onnx": 0.978, "fp32.tflite": 0.98, "int8.tflite": 0.981}
    parity.check_drop("five", {format: metrics(accuracy) for format, accuracy in kept.items()})
    parity.check_drop("five", {format: metrics(0.6792 if "int8" in format else 0.6822) for format in kept})
    lost = {**kept, "int8.tflite": 0.9765}
    with pytest.raises(GateError, match=r"int8\.tflite: sequence accuracy 0\.9765 on five .* more than 0\.3 points"):
        parity.check_drop("five", {format: metrics(accuracy) for format, accuracy in lost.items()})


@pytest.mark.slow
def test_a_missed_gate_leaves_nothing_behind(
    quick: Recipe, checkpoint: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "MAX_DIFFERENCE", 0.0)
    with pytest.raises(GateError, match="differ from torch"):
        export(checkpoint(quick), tmp_path / "out", images=5, say=lambda _: None)
    assert not (tmp_path / "out").exists()
