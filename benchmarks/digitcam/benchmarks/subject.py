"""The bundle under measurement, as results name it."""

from __future__ import annotations

from digitcam.benchmarks.results import Subject
from digitcam.core.bundle import Bundle
from digitcam.core.errors import ConfigError

REFERENCE = "fp32.onnx"
"""What every format is compared with."""


def subject(bundle: Bundle, formats: list[str]) -> Subject:
    """Describe a bundle.

    Raises
    ------
    ConfigError
        When it lacks the reference or one of the formats asked for.
    """
    for format in (REFERENCE, *formats):
        if format not in bundle.formats:
            raise ConfigError(f"{bundle.path}: has no {format}, only {', '.join(bundle.formats)}")
    card = bundle.card
    return Subject(
        name=card.name,
        images_trained=card.training.images,
        commit=card.training.commit,
        parameters=card.parameters,
        macs=card.macs,
        sha256={format: card.files[f"model.{format}"] for format in formats},
        bytes={format: len(bundle.read(f"model.{format}")) for format in formats},
    )
