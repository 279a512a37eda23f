"""The formats of a bundle's networks; apart from the card, which costs the command more to load than all its verbs."""

from __future__ import annotations

FORMATS = ("fp32.onnx", "int8.onnx", "fp32.tflite", "int8.tflite")
