"""What is really in a network's file: operators by type and precision, inputs, outputs, multiplications, size."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, numpy_helper, shape_inference

from digitcam.core.bundle import Bundle
from digitcam.core.errors import GateError, ModelError

MOVERS = {"TRANSPOSE", "RESHAPE", "PAD"}
"""Move values and compute nothing."""
CONVERTERS = {"QUANTIZELINEAR", "DEQUANTIZELINEAR", "QUANTIZE", "DEQUANTIZE"}


class Operator(NamedTuple):
    """One operator: its type in capitals, the type it computes in (`float32`, `int8`, ...), its multiplications."""

    kind: str
    precision: str
    macs: int


class Audit(msgspec.Struct, frozen=True):
    """One format's file. `operators` counts "TYPE precision"; `inputs` and `outputs` say "name type shape"."""

    format: str
    bytes: int
    macs: int
    operators: dict[str, int]
    inputs: list[str]
    outputs: list[str]
    pooling: list[str]
    float_compute: list[str]


def audit(bundle: Bundle, format: str) -> Audit:
    """Read one format's file operator by operator.

    Raises
    ------
    ModelError
        When it is no such network.
    """
    data = bundle.read(f"model.{format}")
    try:
        operators, inputs, outputs = _onnx(data) if format.endswith("onnx") else _tflite(data)
        if not operators:
            raise ValueError
    except Exception:  # of other bytes, the readers of protobuf and flatbuffers may raise anything
        kind = "an ONNX" if format.endswith("onnx") else "a TFLite"
        raise ModelError(f"{bundle.path}: model.{format} is not {kind} network: export it again") from None
    compute = [o for o in operators if o.kind not in MOVERS | CONVERTERS]
    return Audit(
        format=format,
        bytes=len(data),
        macs=sum(o.macs for o in operators),
        operators=dict(sorted(Counter(f"{o.kind} {o.precision}" for o in operators).items())),
        inputs=inputs,
        outputs=outputs,
        pooling=sorted({o.kind for o in operators if "POOL" in o.kind}),
        float_compute=sorted({o.kind for o in compute if o.precision.startswith("float")}),
    )


def check(found: Audit) -> None:
    """Refuse pooling anywhere and float compute in int8 files.

    Raises
    ------
    GateError
        Naming the operators.
    """
    if found.pooling:
        raise GateError(f"{found.format}: has pooling operators: {', '.join(found.pooling)}")
    if found.format.startswith("int8") and found.float_compute:
        raise GateError(f"{found.format}: computes in float: {', '.join(found.float_compute)}")


def _onnx(data: bytes) -> tuple[list[Operator], list[str], list[str]]:
    """Read an ONNX graph; an operator between DequantizeLinear and QuantizeLinear computes in int8 (QDQ form)."""
    model = shape_inference.infer_shapes(onnx.load_model_from_string(data))
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    types = {v.name: v.type.tensor_type for v in [*graph.input, *graph.output, *graph.value_info]}
    maker = {name: node for node in graph.node for name in node.output}
    users: dict[str, list[str]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node.op_type)

    def precision(node: onnx.NodeProto) -> str:
        tensors = [n for n in node.input if n and (n in maker or n in types)]
        dequantised = all(n in maker and maker[n].op_type == "DequantizeLinear" for n in tensors)
        quantised = all(kind == "QuantizeLinear" for n in node.output for kind in users.get(n, ["output"]))
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear") and tensors and dequantised and quantised:
            return "int8"
        source = next((types[n].elem_type for n in node.input if n in types), TensorProto.FLOAT)
        return str(onnx.helper.tensor_dtype_to_np_dtype(source))

    def shape(name: str) -> list[int]:
        if name in constants:
            return list(constants[name].shape)
        if name in types:
            return [d.dim_value for d in types[name].shape.dim]
        return shape(maker[name].input[0])  # a dequantised constant

    def macs(node: onnx.NodeProto) -> int:
        if node.op_type == "Conv":
            return math.prod(shape(node.output[0])[2:]) * math.prod(shape(node.input[1]))
        return math.prod(shape(node.input[1])) if node.op_type in ("Gemm", "MatMul") else 0

    def say(value: Any) -> str:
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        return f"{value.name} {kind} {[d.dim_value for d in value.type.tensor_type.shape.dim]}"

    operators = [Operator(node.op_type.upper(), precision(node), macs(node)) for node in graph.node]
    return operators, [say(v) for v in graph.input], [say(v) for v in graph.output]


def _tflite(data: bytes) -> tuple[list[Operator], list[str], list[str]]:
    """Read a TFLite flatbuffer; an operator computes in the type of its first output."""
    model = schema.ModelT.InitFromPackedBuf(data)
    (graph,) = model.subgraphs
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if not k.startswith("_")}
    types = {v: k.lower() for k, v in vars(schema.TensorType).items() if not k.startswith("_")}

    def operators() -> Iterator[Operator]:
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            kind = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
            output = graph.tensors[operator.outputs[0]]
            macs = 0
            if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
                filters = math.prod(graph.tensors[operator.inputs[1]].shape)
                macs = math.prod(output.shape[1:3]) * int(filters)
            elif kind == "FULLY_CONNECTED":
                macs = int(math.prod(graph.tensors[operator.inputs[1]].shape))
            yield Operator(kind, types[output.type], int(macs))

    def say(index: int) -> str:
        tensor = graph.tensors[index]
        return f"{tensor.name.decode()} {types[tensor.type]} {[int(n) for n in tensor.shape]}"

    return list(operators()), [say(i) for i in graph.inputs], [say(i) for i in graph.outputs]
