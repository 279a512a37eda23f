"""The layers of a float ONNX network, and the network with some of them as int8 computes them.

A layer is an operator with weights (Conv, Gemm, MatMul) or a sum of two activations, with the Relu behind it. An int8
network is modelled as the float one with rounded weights and with its activations rounded to each layer's scale: what
either runtime computes but for the order of additions. In that model any layer can be put back to float.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from digitcam.core.arrays import FloatArray

WEIGHTED = ("Conv", "Gemm", "MatMul")
OWN = "/float"
"""Ends the name of what a float layer gives on the modelled network's input to it."""


class Layer(NamedTuple):
    """One layer of the float network.

    node
        The operator's name in the graph.
    weights, bias
        Names of its initialisers; empty where it has none.
    output
        The tensor after its Relu, or of the operator itself where none follows.
    macs
        Multiplications an image.
    """

    name: str
    operator: str
    node: str
    weights: str
    bias: str
    output: str
    macs: int


class Rounding(NamedTuple):
    """A tensor's scale and zero point; the latter's type, int8 or uint8, gives the range."""

    scale: float
    zero: np.int8 | np.uint8


class Quantised(NamedTuple):
    """A layer in an int8 network: dequantised weights and bias shaped as in the float one, its output's rounding.

    Weights and bias are None where it has none, the rounding where the output stays in float.
    """

    weights: FloatArray | None
    bias: FloatArray | None
    output: Rounding | None


class Network:
    """A float ONNX network whose layers can be looked at and exchanged."""

    def __init__(self, data: bytes) -> None:
        self.model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(data))
        graph = self.model.graph
        self.outputs = [value.name for value in graph.output]
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self._users: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self._users.setdefault(name, []).append(node)
        shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.value_info}
        shapes |= {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.output}
        self.layers: list[Layer] = []
        for node in graph.node:
            inputs = [name for name in node.input if name]
            if node.op_type in WEIGHTED and inputs[1] in self.constants:
                name = inputs[1].removeprefix("network.").removesuffix(".weight")
                kernel = self.constants[inputs[1]].shape
                places = math.prod(shapes[node.output[0]][2:]) if node.op_type == "Conv" else 1
                bias = inputs[2] if len(inputs) > 2 else ""
                found = Layer(name, node.op_type, node.name, inputs[1], bias, "", places * math.prod(kernel))
            elif node.op_type == "Add" and not any(name in self.constants for name in inputs):
                before = self.layers[-1].name if self.layers else "input"
                found = Layer(f"sum after {before}", "Add", node.name, "", "", "", 0)
            else:
                continue
            self.layers.append(found._replace(output=self._after_relu(node.output[0])))

    def probed(self) -> bytes:
        """Return the network with every layer's output as one of its own."""
        return with_outputs(self.model, [layer.output for layer in self.layers])

    def as_int8(
        self,
        quantised: Mapping[str, Quantised],
        float_weights: Collection[str] = (),
        float_outputs: Collection[str] = (),
        probe: bool = False,
    ) -> bytes:
        """Return the network as int8 computes it.

        Parameters
        ----------
        quantised
            By layer's name.
        float_weights, float_outputs
            Names of the layers whose weights, and whose outputs, stay in float all the same.
        probe
            Let it also give, as outputs, what each layer gives in it and, with `OWN` behind the name, what the float
            layer gives on the same input.
        """
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        graph = model.graph
        del graph.value_info[:]
        initialisers = {tensor.name: tensor for tensor in graph.initializer}
        for layer in self.layers:
            found = quantised[layer.name]
            if probe:
                _add_float_twin(self, graph, layer)
            if layer.name not in float_weights:
                for name, value in ((layer.weights, found.weights), (layer.bias, found.bias)):
                    if name and value is not None:
                        initialisers[name].CopyFrom(numpy_helper.from_array(value.astype(np.float32), name))
            if found.output is not None and layer.name not in float_outputs:
                _round(graph, layer.output, found.output)
        probes = [name for layer in self.layers for name in (layer.output, layer.output + OWN)] if probe else []
        return with_outputs(model, probes)

    def _after_relu(self, tensor: str) -> str:
        users = self._users.get(tensor, [])
        if len(users) == 1 and users[0].op_type == "Relu":
            return str(users[0].output[0])
        return tensor


def weight_bytes(network: Network, layer: Layer) -> int:
    """Return how many bytes more the layer's weights take in float32 than in int8."""
    return 3 * math.prod(network.constants[layer.weights].shape) if layer.weights else 0


def with_outputs(model: onnx.ModelProto, tensors: Collection[str]) -> bytes:
    """Return the network with further tensors among its outputs."""
    graph = model.graph
    have = {value.name for value in graph.output}
    wider = onnx.ModelProto()
    wider.CopyFrom(model)
    # An output needs no type: the engine finds it.
    wider.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors if name not in have)
    data: bytes = wider.SerializeToString()
    return data


def _add_float_twin(network: Network, graph: onnx.GraphProto, layer: Layer) -> None:
    """Add the layer once more, with float weights, behind the one that is to be rounded."""
    place = _maker(graph, layer.output)
    nodes = [node for node in graph.node[: place + 1] if node.name == layer.node]
    if graph.node[place].name != layer.node:
        nodes.append(graph.node[place])
    for i, node in enumerate(nodes):
        twin = onnx.NodeProto()
        twin.CopyFrom(node)
        twin.name += OWN
        twin.output[0] += OWN
        if i > 0:
            twin.input[0] += OWN
        for j, name in enumerate(twin.input):
            if name and name in (layer.weights, layer.bias):
                graph.initializer.append(numpy_helper.from_array(network.constants[name], name + OWN))
                twin.input[j] = name + OWN
        graph.node.insert(place + 1 + i, twin)


def _round(graph: onnx.GraphProto, tensor: str, rounding: Rounding) -> None:
    """Let a tensor be rounded to a scale before anything else sees it."""
    place = _maker(graph, tensor)
    raw, scale, zero = f"{tensor}/raw", f"{tensor}/scale", f"{tensor}/zero"
    graph.node[place].output[0] = raw
    graph.initializer.append(numpy_helper.from_array(np.array(rounding.scale, np.float32), scale))
    graph.initializer.append(numpy_helper.from_array(np.array(rounding.zero), zero))
    rounded = f"{tensor}/rounded"
    graph.node.insert(place + 1, helper.make_node("QuantizeLinear", [raw, scale, zero], [rounded]))
    graph.node.insert(place + 2, helper.make_node("DequantizeLinear", [rounded, scale, zero], [tensor]))


def _maker(graph: onnx.GraphProto, tensor: str) -> int:
    """Return the place of the node that gives a tensor."""
    return next(i for i, node in enumerate(graph.node) if tensor in node.output)
