"""What `bench latency` writes."""

from __future__ import annotations

import msgspec

from digitcam.benchmarks.environment import Environment
from digitcam.benchmarks.results.subject import SCHEMA, Subject


class FormatLatency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Times of one format in milliseconds; `ratio` is the reference's median over this one's."""

    runs: int
    seconds: float
    first_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    fps: float
    ratio: float


class LatencyResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="latency", tag_field="kind"):
    """What `bench latency` writes."""

    subject: Subject
    environment: Environment
    reference: str
    threads: int
    formats: dict[str, FormatLatency]
    schema: int = SCHEMA
