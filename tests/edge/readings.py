"""Frames, readings and outcomes by hand, as the runner hands them on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from math import prod
from typing import Any

import msgspec
import numpy as np

from digitcam.core.reading import Latency, Model, ReadDigit, Reading
from digitcam.edge.config import ConfigFile
from digitcam.edge.control import Control
from digitcam.edge.health import Health
from digitcam.edge.outcome import Outcome
from digitcam.edge.sinks import Desk
from digitcam.edge.sources import Frame

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
ACCEPT = 0.3
"""From which confidence `reading` accepts."""


def reading(number: str, confidences: Sequence[float] | None = None, **changes: Any) -> Reading:
    """Return what a reader makes of a number, its digits' confidences 0.99 unless given."""
    confidences = confidences or [0.99] * len(number)
    confidence = prod(confidences) if number else 0.0
    reason = "" if number and confidence >= ACCEPT else "low_confidence" if number else "no_number"
    made = Reading(
        ts=NOON,
        seq=0,
        source="test:",
        number=number,
        digits=tuple(ReadDigit(d, c, (0, 0, 1, 1)) for d, c in zip(number, confidences, strict=True)),
        box=(0, 0, 0, 0),
        confidence=confidence,
        accepted=not reason,
        reason=reason,
        previous=None,
        model=Model("test", "", ""),
        latency_ms=Latency(0, 0, 0, 0, 0),
    )
    return msgspec.structs.replace(made, **changes)


def frame(seq: int = 0, width: int = 64, height: int = 48, truth: str | None = None) -> Frame:
    """Return a black frame."""
    return Frame(np.zeros((height, width, 3), np.uint8), NOON, seq, "test:", 1.0, truth)


def outcome(readings: Reading | list[Reading], number: str | None = None, region: str = "") -> Outcome:
    """Return what a region gave, without rules."""
    return Outcome(region, readings if isinstance(readings, list) else [readings], number, None)


def desk(file: ConfigFile | None = None) -> Desk:
    """Return a desk that nobody has worked at yet."""
    return Desk(Health(), Control(), file or ConfigFile())
