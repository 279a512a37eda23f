"""Bundles whose quantisation is broken on purpose are caught, and the layer is named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import flatbuffers
import msgspec
import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from click.testing import CliRunner
from onnx import numpy_helper

from digitcam.benchmarks.accuracy import accuracy, check_drop
from digitcam.benchmarks.debug import MOST_DB, debug, snr_db
from digitcam.benchmarks.int8 import Int8, OnnxInt8, OnnxRun, TfliteInt8
from digitcam.benchmarks.layers import Network
from digitcam.benchmarks.results import DebugResult, read_result
from digitcam.cli import cli
from digitcam.core.bundle import Bundle, open_bundle, write_bundle
from digitcam.core.errors import ConfigError, GateError, ModelError
from digitcam.export import onnx as onnx_export
from digitcam.export import tflite as tflite_export
from digitcam.export.equalise import equalise
from digitcam.export.quantize import calibration_images
from digitcam.train.checkpoint import network_of, read_checkpoint
from digitcam.train.deploy import fold

WEIGHTS = Path(__file__).parents[2] / "train" / "weights"
EXPORTS = {"int8.onnx": onnx_export.export_int8, "int8.tflite": tflite_export.export_int8}


def with_files(name: str, path: Path, files: Mapping[str, bytes]) -> Bundle:
    """Write the shipped bundle's float network with other int8 ones."""
    shipped = open_bundle(name)
    card = msgspec.structs.replace(shipped.card, metrics={})
    write_bundle(path, card, {"model.fp32.onnx": shipped.read("model.fp32.onnx"), **files})
    return open_bundle(path)


def ruined_onnx(data: bytes, layer: str, factor: float) -> bytes:
    """Return an int8.onnx in which the scale of a layer's weights is `factor` times what it was."""
    model = onnx.load_model_from_string(data)
    scale = next(tensor for tensor in model.graph.initializer if tensor.name == f"network.{layer}.weight_scale")
    scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) * np.float32(factor), scale.name))
    ruined: bytes = model.SerializeToString()
    return ruined


def ruined_tflite(data: bytes, convolution: int, factor: float) -> bytes:
    """Return an int8.tflite in which the scale of the weights of the nth convolution is `factor` times what it was."""
    model = schema.ModelT.InitFromPackedBuf(data)
    (graph,) = model.subgraphs
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    found = [op for op in graph.operators if codes[op.opcodeIndex] == schema.BuiltinOperator.CONV_2D][convolution]
    quantization = graph.tensors[found.inputs[1]].quantization
    quantization.scale = [float(scale) * factor for scale in quantization.scale]
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def calibrated_on_black(name: str, format: str) -> bytes:
    """Return a shipped network in an int8 format, calibrated on black images but for a pixel of the full range."""
    saved = read_checkpoint(WEIGHTS / name / "weights.pt")
    spec = saved.recipe.input
    black = np.zeros((2, spec.height, spec.width, spec.channels), np.uint8)
    black[0, 0, 0] = 255
    # The export's own float network, its channels balanced on real images: only the ranges are those of black ones.
    network = equalise(fold(network_of(saved)), calibration_images(saved.recipe))  # type: ignore[arg-type]
    return EXPORTS[format](network, spec, black)


def test_ratios_by_hand() -> None:
    signal = np.array([3.0, 4.0])
    # 25 of signal, 0.25 of noise: a hundredth.
    assert snr_db(signal, signal + np.array([0.5, 0.0])) == pytest.approx(20)
    assert snr_db(signal, signal) == MOST_DB
    assert snr_db(0 * signal, signal) == -MOST_DB


def test_layers_have_their_names_and_multiplications() -> None:
    bundle = open_bundle("digitcam-n")
    network = Network(bundle.read("model.fp32.onnx"))
    names = [layer.name for layer in network.layers]
    assert names[0] == "stem.conv" and {"head.logits", "sum after blocks.0.second.0"} <= set(names)
    assert sum(layer.macs for layer in network.layers) == bundle.card.macs


@pytest.mark.parametrize("kind", [OnnxInt8, TfliteInt8])
def test_the_model_of_an_int8_network_is_that_network(kind: type) -> None:
    bundle = open_bundle("canvas")
    network = Network(bundle.read("model.fp32.onnx"))
    inside: Int8 = kind(bundle.read("model.int8.onnx" if kind is OnnxInt8 else "model.int8.tflite"), network)
    image = bundle.golden().images[3:4]
    found, model = inside.run(image), OnnxRun(network.as_int8(inside.quantised, probe=True)).run(image)
    for layer in network.layers:
        # But for a value in thousands that the other order of additions rounds the other way.
        assert snr_db(found[layer.name], model[layer.output]) > 45
    everything = [layer.name for layer in network.layers]
    back = OnnxRun(network.as_int8(inside.quantised, everything, everything)).run(image)
    whole = OnnxRun(bundle.read("model.fp32.onnx")).run(image)
    for name, value in whole.items():
        np.testing.assert_array_equal(back[name], value)


def test_weights_that_follow_the_flatbuffer_are_found() -> None:
    # As in digitcam-s, the largest; 127 levels a channel are about 40 dB.
    bundle = open_bundle("digitcam-s")
    network = Network(bundle.read("model.fp32.onnx"))
    found = TfliteInt8(bundle.read("model.int8.tflite"), network).quantised
    for layer in network.layers:
        if layer.weights:
            assert snr_db(network.constants[layer.weights], found[layer.name].weights) > 30


def test_a_ruined_scale_is_caught_and_its_layer_named(tmp_path: Path) -> None:
    shipped = open_bundle("canvas")
    layer = "blocks.0.first.0"
    files = {
        "model.int8.onnx": ruined_onnx(shipped.read("model.int8.onnx"), layer, 4.0),
        "model.int8.tflite": ruined_tflite(shipped.read("model.int8.tflite"), 3, 4.0),
    }
    with_files("canvas", tmp_path / "ruined", files)
    data = ["--data", "glyphs-variable"]
    gate = ["bench", "accuracy", str(tmp_path / "ruined"), *data, "--count", "10", "--max-drop", "0.3"]
    pictures = tmp_path / "flips.png"
    out = tmp_path / "accuracy.json"
    done = CliRunner().invoke(cli, [*gate, "--pictures", str(pictures), "--out", str(out)], standalone_mode=False)
    assert isinstance(done.exception, GateError) and done.exception.exit_code == 7
    assert out.exists() and pictures.exists()

    out = tmp_path / "debug.json"
    arguments = ["bench", "debug", str(tmp_path / "ruined"), *data, "--count", "1", "--out", str(out)]
    done = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert done.exception is None, done.output
    result = read_result(out, DebugResult)
    assert set(result.formats) == {"int8.onnx", "int8.tflite"} and result.images == 1
    for found in result.formats.values():
        worst, second, *_ = found.layers
        assert worst.name == layer and worst.operator == "Conv"
        # Weights four times what they were: three parts of noise to one of signal, 20 log10(1/3) = -9.5 dB.
        assert worst.weights_db == pytest.approx(-9.54, abs=0.05)
        assert worst.own_db < 0 < 15 < second.own_db
        assert worst.buys > 0.9 and worst.weights_buy > 0.9 and abs(second.buys) < 0.2
        assert found.model_db > 30
        assert worst.bytes == 3 * shipped_weights(layer) and worst.macs > 10**7


def shipped_weights(layer: str) -> int:
    network = Network(open_bundle("canvas").read("model.fp32.onnx"))
    return int(network.constants[f"network.{layer}.weight"].size)


@pytest.mark.slow
@pytest.mark.mnist
@pytest.mark.parametrize("format", EXPORTS)
def test_calibration_on_black_images_is_caught_and_told(format: str, tmp_path: Path) -> None:
    bundle = with_files("canvas", tmp_path / "black", {f"model.{format}": calibrated_on_black("canvas", format)})
    (measured,) = accuracy([bundle], ["glyphs-variable"], "validation", 20, say=lambda _: None)
    with pytest.raises(GateError, match=f"{format}: loses"):
        check_drop(measured, 0.3)
    said: list[str] = []
    found = debug(bundle, "glyphs-variable", "validation", 1, said.append).formats[format]
    # The first layers' ranges are far too narrow, while their weights are as good as ever.
    assert {loss.name for loss in found.layers[:2]} < {"stem.conv", "down.0.0", "down.1.0"}
    worst = found.layers[0]
    assert worst.name in said[1]
    assert worst.own_db < 20 < (worst.weights_db or 0) and abs(worst.weights_buy) < 0.2


def test_what_cannot_be_looked_into_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="datecodes: is measured rarely, and each time logged: use 'digitcam bench acc"
    ):
        debug(open_bundle("canvas"), "datecodes", "test")
    with pytest.raises(ConfigError, match="has no int8 format"):
        debug(with_files("canvas", tmp_path / "float", {}), "glyphs-variable")
    for format in ("int8.onnx", "int8.tflite"):
        other = open_bundle("digitcam-n").read(f"model.{format}")
        bundle = with_files("canvas", tmp_path / format, {f"model.{format}": other})
        with pytest.raises(ModelError, match=f"{format}: .*export again"):
            debug(bundle, "glyphs-variable", count=1)


@pytest.mark.parametrize("format", ["int8.onnx", "int8.tflite"])
def test_what_is_no_network_is_refused(format: str, tmp_path: Path) -> None:
    bundle = with_files("canvas", tmp_path / "odd", {f"model.{format}": b"hello"})
    with pytest.raises(ModelError, match=rf"odd: model\.{format}: .* cannot load it: "):
        debug(bundle, "glyphs-variable", count=1)
