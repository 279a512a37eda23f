"""Engines: what runs a network. All behind one protocol, so that formats can be compared and exchanged."""

from __future__ import annotations

import importlib.util
from typing import Protocol

from digitcam.core.arrays import FloatArray, UInt8Array
from digitcam.core.bundle import Bundle
from digitcam.core.errors import ConfigError, ModelError

Outputs = dict[str, FloatArray]


class Engine(Protocol):
    """A network loaded and ready."""

    def run(self, image: UInt8Array) -> Outputs:
        """Run uint8 [1, H, W, channels]; return float32 `logits` and `boxes`, shaped as the card says."""
        ...


def _has(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def available(bundle: Bundle) -> list[str]:
    """Return the bundle's formats that an installed engine runs."""
    return [f for f in bundle.formats if _has("ai_edge_litert" if f.endswith("tflite") else "onnxruntime")]


def default_format() -> str:
    """Return the int8 format of the engine at hand: LiteRT's before onnxruntime's.

    Raises
    ------
    ModelError
        When neither is installed.
    """
    if _has("ai_edge_litert"):
        return "int8.tflite"
    if _has("onnxruntime"):
        return "int8.onnx"
    raise ModelError("no engine is installed: pip install 'digitcam[litert]' or 'digitcam[onnx]'")


def load(bundle: Bundle, format: str | None = None, threads: int = 1) -> Engine:
    """Load a bundle's network in one of `core.card.FORMATS`, by default the int8 one of the engine at hand.

    Raises
    ------
    ConfigError
        When the bundle has no such format.
    ModelError
        When its engine is not installed, or the file cannot be loaded or does not fit the card.
    """
    format = format or default_format()
    if format not in bundle.formats:
        raise ConfigError(f"{bundle.path}: has no format {format!r}: choose from {', '.join(bundle.formats)}")
    data = bundle.read(f"model.{format}")
    module, extra = ("ai_edge_litert", "litert") if format.endswith("tflite") else ("onnxruntime", "onnx")
    if not _has(module):
        raise ModelError(f"{format} needs {module}: pip install 'digitcam[{extra}]'")
    where = f"{bundle.path}: model.{format}"
    if extra == "litert":
        from digitcam.edge.engines.litert import LiteRTEngine

        return LiteRTEngine(data, bundle.card, threads, where)
    from digitcam.edge.engines.onnx import OnnxEngine

    return OnnxEngine(data, bundle.card, threads, where)
