"""What `bench peers` writes."""

from __future__ import annotations

import msgspec

from digitcam.benchmarks.environment import Environment
from digitcam.benchmarks.results.subject import SCHEMA, Subject
from digitcam.benchmarks.results.watched import Watched


class Peer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One reader on the frames; what is None in a result is from before it was measured.

    setting
        In words; of a peer the best of several, chosen on other frames.
    p50_ms, p90_ms
        Of a frame, from frame to number.
    crop
        Whether it was shown the number and a margin in place of the whole frame.
    interval
        Wilson's 95 % interval of the sequence accuracy, see `statistics`.
    difference_interval
        95 % interval of the difference to digitcam's sequence accuracy, in points (1/100), negative where digitcam
        is ahead; Newcombe's for pairs.
    times
        How many times digitcam's median one takes.
    memory_mb
        The most that a process of its own held, in 10^6 bytes, with what it started.
    install_mb
        Files of all packages installed for it and of its models, in 10^6 bytes; Python itself is in none.
    """

    version: str
    setting: str
    sequence_accuracy: float
    p50_ms: float
    crop: bool = False
    interval: tuple[float, float] | None = None
    difference_interval: tuple[float, float] | None = None
    p90_ms: float | None = None
    times: float | None = None
    memory_mb: float | None = None
    install_mb: float | None = None


class PeersResult(Watched, frozen=True, forbid_unknown_fields=True, tag="peers", tag_field="kind"):
    """What `bench peers` writes: the same frames through every reader, in one run.

    source
        A source's URI, or a data set's name, of which `split` was read.
    tuned
        How many further frames the settings were chosen on.
    left_out
        Peers that were not measured, and for each why not or what to do.
    """

    subject: Subject
    environment: Environment
    source: str
    frames: int
    peers: dict[str, Peer]
    schema: int = SCHEMA
    split: str | None = None
    tuned: int | None = None
    left_out: dict[str, str] | None = None
