import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from digitcam.benchmarks import peak as module
from digitcam.benchmarks.peak import peak

KINDS = {
    "fp32": ("MatMul", TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.FLOAT),
    "int8": ("MatMulInteger", TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32),
}


@pytest.mark.parametrize("precision", KINDS)
def test_the_models_are_a_single_product(precision: str) -> None:
    path = Path(module.__file__).with_name(f"gemm.{precision}.onnx")
    operator, *kinds = KINDS[precision]
    a, b, c = (
        helper.make_tensor_value_info(name, kind, shape)
        for name, kind, shape in zip("abc", kinds, (["m", "k"], ["k", "n"], ["m", "n"]), strict=True)
    )
    graph = helper.make_graph([helper.make_node(operator, ["a", "b"], ["c"])], "gemm", [a, b], [c])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    assert onnx.load(path) == made
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    x, y = np.array([[200, 3]]), np.array([[2, -100], [1, 5]])
    kind_x, kind_y = (helper.tensor_dtype_to_np_dtype(kind) for kind in kinds[:2])
    (found,) = session.run(None, {"a": x.astype(kind_x), "b": y.astype(kind_y)})
    assert found.tolist() == [[403, -19985]]


def test_a_peak_is_measured() -> None:
    found = peak(1, seconds=0.0)
    assert found.fp32_gmacs and found.int8_gmacs
    assert min(found.fp32_gmacs, found.int8_gmacs) > 0 and onnxruntime.__version__ in found.how


def test_without_onnxruntime_it_is_said_that_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    found = peak(1)
    assert (found.fp32_gmacs, found.int8_gmacs) == (None, None)
    assert "pip install 'digitcam[onnx]'" in found.how
