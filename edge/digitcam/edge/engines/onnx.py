"""onnxruntime on the CPU."""

from __future__ import annotations

import onnxruntime

from digitcam.core.arrays import UInt8Array
from digitcam.core.card import Card
from digitcam.core.errors import ModelError
from digitcam.edge.engines import Outputs


class OnnxEngine:
    """An ONNX model; see `engines.Engine`."""

    def __init__(self, data: bytes, card: Card, threads: int, where: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises classes of its own, none of them documented
            raise ModelError(f"{where}: onnxruntime cannot load it: {str(error).splitlines()[0]}") from None
        (image,) = self._session.get_inputs()
        spec = card.input
        shape = [1, spec.height, spec.width, spec.channels]
        if image.type != "tensor(uint8)" or image.shape != shape:
            raise ModelError(f"{where}: takes {image.type} {image.shape}, the card says uint8 {shape}")
        found = {output.name: tuple(output.shape) for output in self._session.get_outputs()}
        if found != card.output_shapes():
            raise ModelError(f"{where}: gives {found}, the card says {card.output_shapes()}")
        self._input, self._names = image.name, list(found)

    def run(self, image: UInt8Array) -> Outputs:
        """Run uint8 [1, H, W, channels]; return float32 `logits` and `boxes`."""
        return dict(zip(self._names, self._session.run(self._names, {self._input: image}), strict=True))
