"""The two int8 formats seen from inside: each layer's rounded weights and scales, and what it gives for an image.

Both are matched with the layers of the float ONNX network: ONNX by the names that its quantiser keeps, TFLite, whose
converter names tensors after its own wrappers, by the order and the shapes of the layers.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import onnx
from onnx import numpy_helper

from digitcam.benchmarks.layers import Layer, Network, Quantised, Rounding, with_outputs
from digitcam.core.arrays import FloatArray, UInt8Array
from digitcam.core.errors import ModelError

Tensors = dict[str, FloatArray]
_TFLITE_LAYERS = ("CONV_2D", "FULLY_CONNECTED", "ADD")


class Int8(Protocol):
    """An int8 network seen from inside."""

    quantised: dict[str, Quantised]
    """By layer's name."""

    def run(self, image: UInt8Array) -> Tensors:
        """Run uint8 [1, H, W, channels]; return each layer's output by its name, shaped as in float ONNX."""
        ...


class OnnxRun:
    """An ONNX network loaded for one thread; gives all its outputs.

    Computed as it stands unless `optimised`: onnxruntime would quantise the weights of a float Conv between rounded
    activations.
    """

    def __init__(self, data: bytes, optimised: bool = False) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if not optimised:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._names = [output.name for output in self._session.get_outputs()]

    def run(self, image: UInt8Array) -> Tensors:
        """Run uint8 [1, H, W, channels]; return the outputs by name."""
        return dict(zip(self._names, self._session.run(self._names, {self._input: image}), strict=True))


class OnnxInt8:
    """`int8.onnx`: operators between DequantizeLinear and QuantizeLinear.

    Raises
    ------
    ModelError
        When it lacks one of the float network's layers.
    """

    def __init__(self, data: bytes, network: Network) -> None:
        model = onnx.load_model_from_string(data)
        nodes = {node.name: node for node in model.graph.node}
        self._makers = {name: node for node in model.graph.node for name in node.output}
        self._constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        rounders = {node.input[0]: node for node in model.graph.node if node.op_type == "QuantizeLinear"}
        self.quantised: dict[str, Quantised] = {}
        self._tensors: dict[str, str] = {}
        for layer in network.layers:
            node = nodes.get(layer.node)
            if node is None:
                raise ModelError(f"int8.onnx: has no {layer.node}, {layer.operator} of {layer.name}: export again")
            rounder = rounders.get(node.output[0])
            weights = self._constant(node.input[1]) if layer.weights else None
            if weights is not None:
                _check_shape("int8.onnx", weights, layer, network)
            self.quantised[layer.name] = Quantised(
                weights,
                self._constant(node.input[2]) if layer.bias else None,
                Rounding(float(self._of(rounder, 1)), self._of(rounder, 2)) if rounder else None,
            )
            # The rounded tensor and not the float one before it, so that the engine still computes in int8.
            self._tensors[layer.name] = (rounder or node).output[0]
        self._engine = OnnxRun(with_outputs(model, list(self._tensors.values())), optimised=True)

    def run(self, image: UInt8Array) -> Tensors:
        """Run uint8 [1, H, W, channels]; return each layer's output, float32."""
        found = self._engine.run(image)
        return {name: _dequantised(found[t], self.quantised[name].output) for name, t in self._tensors.items()}

    def _of(self, node: onnx.NodeProto, place: int) -> Any:
        return self._constants[node.input[place]][()]

    def _constant(self, tensor: str) -> FloatArray:
        """Return a constant, dequantised where it comes out of a DequantizeLinear."""
        if tensor in self._constants:
            whole: FloatArray = self._constants[tensor]
            return whole
        node = self._makers[tensor]
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        values, scale = (self._constants[name] for name in node.input[:2])
        zero = self._constants[node.input[2]] if len(node.input) > 2 else np.zeros_like(scale, values.dtype)
        return _scaled(values, scale, zero, axis)


class TfliteInt8:
    """`int8.tflite`, by LiteRT's interpreter with every tensor kept.

    Raises
    ------
    ModelError
        When its layers are not those of the float network.
    """

    def __init__(self, data: bytes, network: Network) -> None:
        from ai_edge_litert import interpreter
        from ai_edge_litert import schema_py_generated as schema

        model = schema.ModelT.InitFromPackedBuf(data)
        self._data, self._network, self._model, self._graph = data, network, model, model.subgraphs[0]
        operators = [(kind, op) for kind, op in self._operators(schema) if self._is_layer(kind, op)]
        if len(operators) != len(network.layers):
            raise ModelError(f"int8.tflite: has {len(operators)} layers, fp32.onnx {len(network.layers)}: export again")
        self.quantised: dict[str, Quantised] = {}
        self._indices: dict[str, int] = {}
        for layer, (kind, operator) in zip(network.layers, operators, strict=True):
            self.quantised[layer.name] = self._quantised(layer, kind, operator)
            self._indices[layer.name] = int(operator.outputs[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that keeping all tensors is for debugging
            self._interpreter = interpreter.Interpreter(
                model_content=data, num_threads=1, experimental_preserve_all_tensors=True
            )
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]

    def run(self, image: UInt8Array) -> Tensors:
        """Run uint8 [1, H, W, channels]; return each layer's output, float32."""
        self._interpreter.set_tensor(self._input, (image ^ 0x80).view(np.int8))
        self._interpreter.invoke()
        found = {name: self._interpreter.get_tensor(index) for name, index in self._indices.items()}
        return {name: _as_onnx(_dequantised(t, self.quantised[name].output)) for name, t in found.items()}

    def _operators(self, schema: Any) -> Iterator[tuple[str, Any]]:
        names = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
        for operator in self._graph.operators:
            code = self._model.operatorCodes[operator.opcodeIndex]
            yield names[max(code.builtinCode, code.deprecatedBuiltinCode)], operator

    def _is_layer(self, kind: str, operator: Any) -> bool:
        if kind not in _TFLITE_LAYERS:
            return False
        return kind != "ADD" or all(self._values(index) is None for index in operator.inputs)

    def _quantised(self, layer: Layer, kind: str, operator: Any) -> Quantised:
        output = self._graph.tensors[operator.outputs[0]].quantization
        rounding = Rounding(float(output.scale[0]), np.int8(output.zeroPoint[0]))
        if (kind == "ADD") != (layer.operator == "Add"):
            raise ModelError(f"int8.tflite: has {kind}, fp32.onnx {layer.operator} for {layer.name}: export again")
        if kind == "ADD":
            return Quantised(None, None, rounding)
        image, kernel = (self._graph.tensors[index] for index in operator.inputs[:2])
        found = kernel.quantization
        scale = np.array(found.scale, np.float32)
        zero = np.resize(np.array(found.zeroPoint), len(scale))
        values = np.frombuffer(bytes(self._values(operator.inputs[1])), np.int8).reshape(kernel.shape)
        weights = _as_onnx(_scaled(values, scale, zero, found.quantizedDimension))
        _check_shape("int8.tflite", weights, layer, self._network)
        bias = None
        if layer.bias:
            # The kernels add it to the products, whatever scale it has itself.
            products = scale * np.float32(image.quantization.scale[0])
            bias = np.frombuffer(bytes(self._values(operator.inputs[2])), np.int32).astype(np.float32) * products
        return Quantised(weights, bias, rounding)

    def _values(self, index: int) -> Any:
        buffer = self._model.buffers[self._graph.tensors[index].buffer]
        # Of a larger model the weights follow the flatbuffer; an offset of 1 is a placeholder.
        return self._data[buffer.offset : buffer.offset + buffer.size] if buffer.offset > 1 else buffer.data


def _check_shape(format: str, weights: FloatArray, layer: Layer, network: Network) -> None:
    expected = network.constants[layer.weights].shape
    if weights.shape != expected:
        raise ModelError(f"{format}: {layer.name} is {weights.shape}, in fp32.onnx {expected}: export again")


def _scaled(values: np.ndarray, scale: np.ndarray, zero: np.ndarray, axis: int) -> FloatArray:
    """Return (values - zero) * scale, one scale and zero point in all or one each along the axis."""
    shape = [-1 if i == axis else 1 for i in range(values.ndim)] if scale.size > 1 else []
    result: FloatArray = (values.astype(np.float32) - zero.astype(np.float32).reshape(shape)) * scale.reshape(shape)
    return result


def _dequantised(values: np.ndarray, rounding: Rounding | None) -> FloatArray:
    if rounding is None:
        return values
    result: FloatArray = (values.astype(np.float32) - np.float32(rounding.zero)) * np.float32(rounding.scale)
    return result


def _as_onnx(values: FloatArray) -> FloatArray:
    """Return [first, height, width, channels] as [first, channels, height, width]; others as they are."""
    return values.transpose(0, 3, 1, 2) if values.ndim == 4 else values
