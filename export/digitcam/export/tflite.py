"""A folded network to TFLite: float by litert-torch, int8 by ai-edge-quantizer with plain min-max ranges."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from digitcam.core.arrays import UInt8Array
from digitcam.core.card import Input
from digitcam.train.deploy import FromUint8
from digitcam.train.model import Network

SIGNATURE = "serving_default"


def export_float(network: Network, spec: Input) -> bytes:
    """Return the float model: uint8 [1, H, W, channels] in, float32 logits and boxes out."""
    return _convert(FromUint8(network), torch.zeros(1, spec.height, spec.width, spec.channels, dtype=torch.uint8))


def export_int8(network: Network, spec: Input, calibration: UInt8Array) -> bytes:
    """Return the int8 model: int8 in (the pixel's byte minus 128), int8 out.

    Parameters
    ----------
    calibration
        uint8 [N, H, W, channels] training images that reach both 0 and 255: that makes the input's scale 1/255 and
        its zero point -128. The quantizer's own default, a moving average of ranges, clips them and is not used.
    """
    with _quiet():
        import litert_torch
        from ai_edge_quantizer import calibrator, quantizer, recipe, recipe_manager
        from ai_edge_quantizer.utils import qsv_utils
    module = litert_torch.to_channel_last_io(network, args=[0])
    data = _convert(module, torch.zeros(1, spec.height, spec.width, spec.channels))
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "float.tflite"
        path.write_bytes(data)
        manager = recipe_manager.RecipeManager()
        manager.load_quantization_recipe(recipe.static_wi8_ai8())
        ranges = calibrator.Calibrator(str(path), qsv_update_func=qsv_utils.min_max_update)
        name = _input_name(path)
        images = [{name: image[None].astype(np.float32) / 255} for image in calibration]
        ranges.calibrate({SIGNATURE: images}, manager)
        quantized = quantizer.Quantizer(path, recipe.static_wi8_ai8()).quantize(ranges.get_model_qsvs())
    assert quantized.quantized_model is not None
    return bytes(quantized.quantized_model)


def _convert(module: nn.Module, example: torch.Tensor) -> bytes:
    with tempfile.TemporaryDirectory() as folder, _quiet():
        import litert_torch

        path = Path(folder) / "model.tflite"
        litert_torch.convert(module.eval(), (example,)).export(str(path))
        return path.read_bytes()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the converter's chatter, some of it from C++, off the terminal; show it when it fails."""
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as log:
        kept = os.dup(1), os.dup(2)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            yield
        except BaseException:
            log.seek(0)
            os.write(kept[1], log.read())
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(kept[0], 1)
            os.dup2(kept[1], 2)
            os.close(kept[0])
            os.close(kept[1])


def _input_name(path: Path) -> str:
    from ai_edge_litert.interpreter import Interpreter

    signatures = Interpreter(model_path=str(path)).get_signature_list()
    name: str = signatures[SIGNATURE]["inputs"][0]
    return name
