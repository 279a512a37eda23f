"""What `bench peers` writes."""

from __future__ import annotations

import msgspec

from digitcam.benchmarks.environment import Environment
from digitcam.benchmarks.results.subject import SCHEMA, Subject


class Peer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One reader on the frames; `p50_ms` of a frame, from frame to number."""

    version: str
    setting: str
    sequence_accuracy: float
    p50_ms: float


class PeersResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="peers", tag_field="kind"):
    """What `bench peers` writes: the same frames through every reader, in one run."""

    subject: Subject
    environment: Environment
    source: str
    frames: int
    peers: dict[str, Peer]
    schema: int = SCHEMA
