"""A folded network to ONNX: float by torch's exporter, int8 by onnxruntime's static quantisation (QDQ, U8S8)."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from digitcam.core.arrays import UInt8Array
from digitcam.core.card import Input
from digitcam.core.errors import GateError
from digitcam.train.deploy import FromUint8
from digitcam.train.model import Network

OPSET = 18
INPUT = "image"
OUTPUTS = ["logits", "boxes"]


class FromFloat(nn.Module):
    """The form that is calibrated: float32 NHWC in 0..1, so that its first scale is 1/255."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """float32 [B, H, W, channels] to logits and boxes."""
        logits, boxes = self.network(image.permute(0, 3, 1, 2))
        return logits, boxes


def export_float(network: Network, spec: Input) -> bytes:
    """Return the float model: uint8 [1, H, W, channels] in, float32 logits and boxes out."""
    return _export(FromUint8(network), torch.zeros(1, spec.height, spec.width, spec.channels, dtype=torch.uint8))


def export_int8(network: Network, spec: Input, calibration: UInt8Array) -> bytes:
    """Return the int8 model: uint8 in, uint8 activations, int8 weights a channel, float32 out after the last scale.

    Parameters
    ----------
    calibration
        uint8 [N, H, W, channels] training images that reach both 0 and 255.

    Raises
    ------
    GateError
        When calibration did not give the input the scale 1/255 and the zero point 0, so that the camera's bytes
        cannot be taken as they are.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("float.onnx", "prepared.onnx", "int8.onnx")]
        paths[0].write_bytes(_export(FromFloat(network), torch.zeros(1, spec.height, spec.width, spec.channels)))
        quant_pre_process(str(paths[0]), str(paths[1]))
        quantize_static(
            str(paths[1]),
            str(paths[2]),
            _Images(calibration),
            quant_format=QuantFormat.QDQ,
            # The stem's padding comes before the first scale: it can be done on bytes.
            nodes_to_exclude=[n.name for n in onnx.load(str(paths[1])).graph.node if n.op_type == "Pad"],
            per_channel=True,
            # Seven bits for weights: x86 without VNNI adds pairs of products in 16 bits, and eight would saturate
            # there, so that the same file gave other numbers on another machine.
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        model = onnx.load(str(paths[2]))
    _take_bytes(model)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def _export(module: nn.Module, example: Tensor) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            module.eval(),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=OUTPUTS,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    # The exporter notes source lines, and with them this machine's paths, on every node.
    for node in model.graph.node:
        del node.metadata_props[:]
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output]:
        del value.metadata_props[:]
    data: bytes = model.SerializeToString()
    return data


class _Images(CalibrationDataReader):  # type: ignore[misc]
    """Feeds calibration images one by one, as float32 in 0..1."""

    def __init__(self, images: UInt8Array) -> None:
        self._left: Iterator[UInt8Array] = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next input, None at the end."""
        image = next(self._left, None)
        return None if image is None else {INPUT: image[None].astype(np.float32) / 255}


def _take_bytes(model: onnx.ModelProto) -> None:
    """Let the graph begin with the camera's bytes in place of its first QuantizeLinear.

    With scale 1/255 and zero point 0 that operator maps a pixel's byte to itself. What stands before it only moves
    data and does so to bytes as well.
    """
    graph = model.graph
    movers, tensor = [], INPUT
    while (node := next(node for node in graph.node if tensor in node.input)).op_type != "QuantizeLinear":
        movers.append(node)
        tensor = node.output[0]
    first = node
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    scale, zero = (values[name] for name in first.input[1:])
    if not np.isclose(scale, 1 / 255, rtol=1e-5) or zero != 0:
        raise GateError(
            f"int8.onnx: the input's scale is {scale} and zero point {zero}, not 1/255 and 0: "
            "calibrate on images that reach 0 and 255"
        )
    if others := {node.op_type for node in movers} - {"Transpose", "Reshape", "Pad"}:
        raise GateError(f"int8.onnx: {', '.join(others)} before the first quantisation: they would see bytes")
    for node in movers:
        if node.op_type == "Pad":
            del node.input[2:]  # the value to pad with is of the float type; without it, it is 0
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name == first.output[0]:
                node.input[i] = first.input[0]
    graph.node.remove(first)
    shape = [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim]
    graph.input[0].CopyFrom(helper.make_tensor_value_info(INPUT, TensorProto.UINT8, shape))
    del graph.value_info[:]
