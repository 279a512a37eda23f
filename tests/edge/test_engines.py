import io
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from digitcam.core.bundle import SHIPPED, Bundle, open_bundle, write_bundle
from digitcam.core.card import GridHead
from digitcam.core.errors import ConfigError, ModelError
from digitcam.core.formats import FORMATS
from digitcam.edge import engines
from digitcam.edge.selftest import selftest


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_answers_as_at_export(format: str) -> None:
    bundle = open_bundle("canvas")
    golden = bundle.golden()
    engine = engines.load(bundle, format)
    # One step of int8's coarsest output is about 0.1; kernels of other machines may round one step otherwise.
    tolerance = 1e-3 if format.startswith("fp32") else 0.5
    for i, image in enumerate(golden.images):
        outputs = engine.run(image[None])
        assert outputs.keys() == {"logits", "boxes"}
        for name, value in outputs.items():
            assert value.dtype == np.float32 and value.shape == bundle.card.output_shapes()[name]
            assert np.abs(value[0] - golden.outputs[format][name][i]).max() <= tolerance


def test_selftest_reads_every_golden_input_as_at_export() -> None:
    replays = selftest(open_bundle("canvas"))
    assert [r.format for r in replays] == list(FORMATS)
    assert all(r.same == r.of == 5 for r in replays)


def test_the_default_is_the_int8_network_of_the_engine_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    assert engines.default_format() == "int8.tflite"
    monkeypatch.setattr(engines, "_has", lambda module: module == "onnxruntime")
    assert engines.default_format() == "int8.onnx"
    assert engines.available(open_bundle("canvas")) == ["fp32.onnx", "int8.onnx"]
    with pytest.raises(ModelError, match=r"digitcam\[litert\]"):
        engines.load(open_bundle("canvas"), "int8.tflite")
    monkeypatch.setattr(engines, "_has", lambda _: False)
    with pytest.raises(ModelError, match="no engine is installed"):
        engines.default_format()


def remade(tmp_path: Path, files: dict[str, bytes], **changes: object) -> Bundle:
    """Write the canvas bundle with other files or card fields, its hashes right."""
    bundle = open_bundle("canvas")
    kept = {name: bundle.read(name) for name in bundle.card.files}
    write_bundle(tmp_path / "remade", msgspec.structs.replace(bundle.card, **changes), {**kept, **files})
    return open_bundle(tmp_path / "remade")


def remembered(tmp_path: Path, bundle: Bundle, other: dict[str, np.ndarray]) -> Bundle:
    """Write the canvas bundle with other outputs at export, by `format/name`."""
    golden, buffer = bundle.golden(), io.BytesIO()
    arrays = {f"{f}/{n}": v for f, outputs in golden.outputs.items() for n, v in outputs.items()}
    np.savez(buffer, images=golden.images, numbers=np.array(golden.numbers), **{**arrays, **other})
    return remade(tmp_path, {"golden.npz": buffer.getvalue()})


@pytest.mark.parametrize("format", FORMATS)
def test_rubbish_is_refused(format: str, tmp_path: Path) -> None:
    bundle = remade(tmp_path, {f"model.{format}": b"rubbish" * 100})
    with pytest.raises(ModelError, match=f"model.{format}: .* cannot load it: ") as caught:
        engines.load(bundle, format)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("format", FORMATS)
def test_a_network_that_does_not_fit_its_card_is_refused(format: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the card says"):
        engines.load(remade(tmp_path, {}, head=GridHead(stride=16)), format)


def test_a_format_that_is_not_there(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(SHIPPED / "canvas", tmp_path / "copy"))
    bundle = open_bundle(folder)
    with pytest.raises(ConfigError, match=r"no format 'int4\.onnx': choose from fp32\.onnx"):
        engines.load(bundle, "int4.onnx")


def test_a_network_that_reads_otherwise_fails_the_selftest(tmp_path: Path) -> None:
    bundle = open_bundle("canvas")
    golden = bundle.golden()
    logits = golden.outputs["int8.onnx"]["logits"].copy()
    logits[3, ..., 10] = 30.0  # there was no digit, it says
    with pytest.raises(ModelError, match=r"int8\.onnx reads 1 of 5 golden inputs otherwise than at export"):
        selftest(remembered(tmp_path, bundle, {"int8.onnx/logits": logits}))


def test_outputs_that_differ_more_than_by_rounding_fail_the_selftest(tmp_path: Path) -> None:
    bundle = open_bundle("canvas")
    logits = bundle.golden().outputs["int8.tflite"]["logits"]
    spread = logits.max() - logits.min()
    # All logits alike: each digit is read as before.
    selftest(remembered(tmp_path / "near", bundle, {"int8.tflite/logits": logits + np.float32(0.009 * spread)}))
    with pytest.raises(ModelError, match=r"int8\.tflite's outputs differ from those at export by up to 1\.[12]% of "):
        selftest(remembered(tmp_path / "far", bundle, {"int8.tflite/logits": logits + np.float32(0.011 * spread)}))
