"""LiteRT, TensorFlow Lite's runtime, with its XNNPACK kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from digitcam.core.arrays import FloatArray, UInt8Array
from digitcam.core.card import Card
from digitcam.core.errors import ModelError
from digitcam.edge.engines import Outputs


class LiteRTEngine:
    """A TFLite model, float or int8; see `engines.Engine`. Scales and zero points are read from the file."""

    def __init__(self, data: bytes, card: Card, threads: int, where: str) -> None:
        try:
            self._interpreter = Interpreter(model_content=data, num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{where}: LiteRT cannot load it: {str(error).splitlines()[0]}") from None
        (image,) = self._interpreter.get_input_details()
        spec = card.input
        shape = [1, spec.height, spec.width, spec.channels]
        self._signed = image["dtype"] is np.int8
        if image["shape"].tolist() != shape or image["dtype"] not in (np.uint8, np.int8):
            name = image["dtype"].__name__
            raise ModelError(f"{where}: takes {name} {image['shape'].tolist()}, the card says uint8 {shape}")
        # The byte of a pixel is its int8 value plus 128 only with this scale and zero point.
        scale, zero = image["quantization"]
        if self._signed and not (np.isclose(scale, 1 / 255, rtol=1e-4) and zero == -128):
            raise ModelError(f"{where}: the input's scale is {scale}, zero point {zero}, not 1/255 and -128")
        self._input = image["index"]
        self._outputs = {}
        # Converters name outputs as they like and order them as they like; their shapes are ours.
        by_shape = {tuple(d["shape"].tolist()): d for d in self._interpreter.get_output_details()}
        for name, expected in card.output_shapes().items():
            if expected not in by_shape:
                raise ModelError(f"{where}: gives {list(by_shape)}, the card says {name} {expected}")
            self._outputs[name] = by_shape[expected]

    def run(self, image: UInt8Array) -> Outputs:
        """Run uint8 [1, H, W, channels]; return float32 `logits` and `boxes`."""
        value = (image ^ 0x80).view(np.int8) if self._signed else image
        self._interpreter.set_tensor(self._input, value)
        self._interpreter.invoke()
        return {name: self._dequantised(detail) for name, detail in self._outputs.items()}

    def _dequantised(self, detail: dict[str, Any]) -> FloatArray:
        value: FloatArray = self._interpreter.get_tensor(detail["index"])
        if detail["dtype"] is np.float32:
            return value
        scale, zero = detail["quantization"]
        result: FloatArray = (value.astype(np.float32) - np.float32(zero)) * np.float32(scale)
        return result
