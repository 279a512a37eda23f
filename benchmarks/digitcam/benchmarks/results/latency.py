"""What `bench latency` writes. A field that is None was not measured, or not yet when the result was made."""

from __future__ import annotations

import msgspec

from digitcam.benchmarks.environment import Environment
from digitcam.benchmarks.results.subject import SCHEMA, Subject
from digitcam.benchmarks.results.watched import Watched


class Histogram(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many of the times lie in each bin; bin k begins at `low_ms` times `step` to the power of k."""

    low_ms: float
    step: float
    counts: list[int]


class FormatLatency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Times of one format in milliseconds.

    fps
        Runs a second in the interleaved blocks, all of them together.
    ratio
        The reference's median over this one's.
    ratios
        The same in each half of the run. Each half is a process of its own; in results of before they shared one, and
        the networks were loaded anew for the second.
    halves_ms
        The median of each half.
    burst_fps
        Runs a second in one block of them, the median of the blocks.
    sustained_fps, sustained_s
        Runs a second without a pause, and for how long.
    memory_mb
        The most that a process held which does nothing but run this network, in 10^6 bytes.
    gmacs
        10^9 multiplications a second, at the median.
    peak_share
        Of the machine's measured peak of this precision, see `Peak`.
    energy_mj
        What the board's counter counted for a sustained run, idle power included, in millijoules.
    """

    runs: int
    seconds: float
    first_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    fps: float
    ratio: float
    ratios: tuple[float, float] | None = None
    halves_ms: tuple[float, float] | None = None
    histogram: Histogram | None = None
    burst_fps: float | None = None
    sustained_fps: float | None = None
    sustained_s: float | None = None
    memory_mb: float | None = None
    gmacs: float | None = None
    peak_share: float | None = None
    energy_mj: float | None = None


class Quantiles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of times in milliseconds."""

    p50_ms: float
    p90_ms: float
    p99_ms: float


class FormatStages(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a frame's time goes in a whole run with one format.

    capture
        As the source tells it: the age of a camera's frame, else how long reading or drawing one took.
    publish
        Judging by rules, and writing the reading as a JSON line.
    camera_to_publish
        All of them together, frame by frame.
    """

    capture: Quantiles
    preprocess: Quantiles
    inference: Quantiles
    decode: Quantiles
    publish: Quantiles
    camera_to_publish: Quantiles


class Stages(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whole runs on the frames of a source, `frames` for each format, with the first number of threads."""

    source: str
    frame: tuple[int, int]
    frames: int
    formats: dict[str, FormatStages]


class Peak(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The most that this machine was seen to do in a matrix product, in 10^9 multiplications a second.

    how
        What was run, or why it was not.
    """

    fp32_gmacs: float | None
    int8_gmacs: float | None
    how: str


class LatencyResult(Watched, frozen=True, forbid_unknown_fields=True, tag="latency", tag_field="kind"):
    """What `bench latency` writes.

    threads, formats
        The first number of threads asked for, and the formats with it.
    further
        The formats with each further number of threads; ratios are to the reference with the same number.
    cpus
        The CPUs it was kept to with --cpus.
    peaks
        By number of threads.
    shortfalls
        Where less than usual was measured, though enough for a result.
    """

    subject: Subject
    environment: Environment
    reference: str
    threads: int
    formats: dict[str, FormatLatency]
    further: dict[int, dict[str, FormatLatency]] | None = None
    cpus: list[int] | None = None
    stages: Stages | None = None
    peaks: dict[int, Peak] | None = None
    shortfalls: list[str] | None = None
    schema: int = SCHEMA

    @property
    def by_threads(self) -> dict[int, dict[str, FormatLatency]]:
        """The formats with every number of threads."""
        return {self.threads: self.formats, **(self.further or {})}
