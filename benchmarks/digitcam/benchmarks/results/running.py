"""What `bench overhead` and `bench soak` write."""

from __future__ import annotations

import msgspec

from digitcam.benchmarks.environment import Environment
from digitcam.benchmarks.results.subject import SCHEMA, Subject
from digitcam.benchmarks.results.watched import Judged, Watched


class OverheadResult(Watched, frozen=True, forbid_unknown_fields=True, tag="overhead", tag_field="kind"):
    """What `bench overhead` writes.

    frame
        Width and height of the frames in pixels.
    rest_p50_ms, rest_p90_ms, rest_p99_ms
        All but the network, from the frame at hand to the reading sent.
    run_fps, bare_fps
        Frames a second of the whole run and of the network alone.
    help_ms, python_ms
        Medians of starting `digitcam --help`, and Python that does nothing.
    memory_mb
        The most that a run without the page held, in 10^6 bytes.
    """

    subject: Subject
    environment: Environment
    format: str
    frame: tuple[int, int]
    frames: int
    rest_p50_ms: float
    rest_p90_ms: float
    rest_p99_ms: float
    run_fps: float
    bare_fps: float
    help_ms: float
    python_ms: float
    memory_mb: float
    schema: int = SCHEMA


class Sample(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A process at one moment: frames read by then, its resident memory in 10^6 bytes, threads, open descriptors."""

    frames: int
    memory_mb: float
    threads: int
    descriptors: int


class SoakResult(Judged, frozen=True, forbid_unknown_fields=True, tag="soak", tag_field="kind"):
    """What `bench soak` writes.

    frames, received
        Frames read, and how many of them the broker's other end got readings of.
    lost
        Frames of which it got none.
    samples
        The runner over time; the first is taken after the warm-up.
    growth_mb
        Of the resident memory, the median of the last tenth of the samples less that of the first.
    pages
        How often the page's picture and numbers were fetched meanwhile.
    """

    subject: Subject
    environment: Environment
    seconds: float
    frames: int
    received: int
    lost: int
    growth_mb: float
    pages: int
    samples: list[Sample]
    schema: int = SCHEMA
