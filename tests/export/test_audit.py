from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from digitcam.core.bundle import open_bundle, write_bundle
from digitcam.core.errors import GateError, ModelError
from digitcam.core.formats import FORMATS
from digitcam.export.audit import Audit, _onnx, audit, check


@pytest.mark.parametrize("format", FORMATS)
def test_the_shipped_network(format: str) -> None:
    found = audit(open_bundle("canvas"), format)
    # By hand, output pixels times weights: stem 64x64 · 24·4·5·2, two halvings, four 3x3 at 16x32, 1x1 head.
    stem = 64 * 64 * 24 * 4 * 5 * 2
    down = 32 * 64 * 24 * 12 * 9 + 16 * 32 * 48 * 24 * 9
    blocks = 4 * 16 * 32 * 48 * 48 * 9
    head = 16 * 32 * (64 * 48 + 11 * 64 + 4 * 64)
    assert found.macs == stem + down + blocks + head == open_bundle("canvas").card.macs <= 60e6
    assert found.pooling == []
    convolutions = {key: n for key, n in found.operators.items() if key.startswith("CONV")}
    precision = "int8" if format.startswith("int8") else "float32"
    assert {key.split()[1] for key in convolutions} == {precision} and sum(convolutions.values()) == 10
    assert bool(found.float_compute) == format.startswith("fp32")
    assert found.inputs[0].endswith("int8 [1, 128, 256, 1]")
    assert any(line.endswith("[1, 16, 32, 11]") for line in found.outputs)
    check(found)


def small_model(*nodes: onnx.NodeProto) -> bytes:
    weights = numpy_helper.from_array(np.ones((2, 1, 3, 3), np.float32), "w")
    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [weights],
    )
    data: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()
    return data


def test_pooling_and_float_are_found() -> None:
    operators, _, _ = _onnx(
        small_model(
            helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[3, 3]),
            helper.make_node("MaxPool", ["c"], ["y"], kernel_shape=[2, 2]),
        )
    )
    assert [(o.kind, o.precision, o.macs) for o in operators] == [
        ("CONV", "float32", 6 * 6 * 2 * 9),
        ("MAXPOOL", "float32", 0),
    ]


def report(format: str, pooling: list[str], float_compute: list[str]) -> Audit:
    return Audit(format, 1, 1, {}, [], [], pooling, float_compute)


def test_the_gates() -> None:
    check(report("fp32.onnx", [], ["CONV"]))
    with pytest.raises(GateError, match="has pooling operators: MAXPOOL"):
        check(report("fp32.onnx", ["MAXPOOL"], []))
    with pytest.raises(GateError, match=r"int8\.onnx: computes in float: CONV"):
        check(report("int8.onnx", [], ["CONV"]))


@pytest.mark.parametrize(
    ("format", "data", "kind"),
    [
        ("int8.onnx", b"hello", "an ONNX"),
        ("int8.onnx", b"", "an ONNX"),
        ("int8.tflite", b"hello", "a TFLite"),
        ("int8.tflite", b"", "a TFLite"),
    ],
)
def test_what_is_no_network_is_refused(format: str, data: bytes, kind: str, tmp_path: Path) -> None:
    write_bundle(tmp_path / "odd", open_bundle("canvas").card, {f"model.{format}": data})
    with pytest.raises(ModelError) as caught:
        audit(open_bundle(tmp_path / "odd"), format)
    assert str(caught.value) == f"{tmp_path / 'odd'}: model.{format} is not {kind} network: export it again"
