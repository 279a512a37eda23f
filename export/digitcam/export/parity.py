"""The gates of an export: what a format may differ from torch, and lose in accuracy, before it is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from digitcam.core.arrays import FloatArray, UInt8Array
from digitcam.core.bundle import Bundle
from digitcam.core.canvas import Sample
from digitcam.core.errors import GateError
from digitcam.core.metrics import Metrics
from digitcam.edge import engines
from digitcam.edge.pipeline import image_reader
from digitcam.train.evaluate import Results, collect
from digitcam.train.model import Network

MAX_DIFFERENCE = 1e-4
"""Largest difference of a float format's logits from torch's."""
MAX_DROP = 0.3
"""Points (1/100) of sequence accuracy an int8 format may lose against the float one of the same runtime, if no other
limit is given."""


@torch.no_grad()
def torch_outputs(network: Network, images: UInt8Array) -> dict[str, FloatArray]:
    """Run a network on uint8 [N, H, W, channels]; return float32 logits and boxes, [N, ...]."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32) / 255
    logits, boxes = network(x)
    return {"logits": logits.numpy(), "boxes": boxes.numpy()}


def engine_outputs(bundle: Bundle, format: str, images: UInt8Array) -> dict[str, FloatArray]:
    """Run a bundle's format on uint8 [N, H, W, channels]; return float32 logits and boxes, [N, ...]."""
    engine = engines.load(bundle, format)
    outputs = [{k: v.copy() for k, v in engine.run(image[None]).items()} for image in images]
    return {name: np.concatenate([output[name] for output in outputs]) for name in outputs[0]}


def check_parity(format: str, found: dict[str, FloatArray], expected: dict[str, FloatArray]) -> float:
    """Return the largest difference of logits.

    Raises
    ------
    GateError
        When it exceeds `MAX_DIFFERENCE`.
    """
    difference = float(np.abs(found["logits"] - expected["logits"]).max())
    if not difference <= MAX_DIFFERENCE:
        raise GateError(f"{format}: logits differ from torch's by {difference:.2g}, more than {MAX_DIFFERENCE:g}")
    return difference


def read_format(bundle: Bundle, format: str, drawn: Sequence[Sample]) -> Results:
    """Read drawn images with a format."""
    return collect(drawn, image_reader(bundle, format))


def check_drop(data: str, metrics: dict[str, Metrics], max_drop: float = MAX_DROP) -> None:
    """Compare each int8 format's sequence accuracy with its runtime's float one.

    Raises
    ------
    GateError
        When one loses more than `max_drop` points.
    """
    for runtime in ("onnx", "tflite"):
        whole, small = (metrics[f"{precision}.{runtime}"].sequence_accuracy for precision in ("fp32", "int8"))
        # 0.6822 and 0.6792 differ by 0.30000000000000027 points.
        if 100 * (whole - small) > max_drop + 1e-9:
            raise GateError(
                f"int8.{runtime}: sequence accuracy {small:.4f} on {data} validation images, {whole:.4f} in float: "
                f"more than {max_drop:g} points lost; train with schedule.quantised, or allow more with --max-drop"
            )
