"""Result files: JSON, one schema a kind, strict in reading, never overwritten half."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias, TypeVar

import msgspec

from digitcam.benchmarks.environment import Environment
from digitcam.core.errors import BenchmarkInvalidError, SinkError
from digitcam.core.metrics import Metrics

SCHEMA = 1


class Subject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The bundle measured; `sha256` by format."""

    name: str
    images_trained: int
    commit: str
    parameters: int
    macs: int
    sha256: dict[str, str]
    bytes: dict[str, int]


class Flip(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An image on which a format and the reference disagree about being right."""

    index: int
    truth: str
    reference: str
    number: str


class FormatAccuracy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One format on one data set.

    difference
        Of sequence accuracy to the reference, in points (1/100).
    accepted, wrongly_accepted
        Shares of the images whose best reading passes the card's threshold, and of those where it is wrong; None in
        results from before they were counted.
    """

    metrics: Metrics
    difference: float
    lost: list[Flip]
    won: list[Flip]
    accepted: float | None = None
    wrongly_accepted: float | None = None


class DataSetAccuracy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All formats on the very same images of one data set."""

    data: str
    split: str
    images: int
    formats: dict[str, FormatAccuracy]


class AccuracyResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="accuracy", tag_field="kind"):
    """What `bench accuracy` writes."""

    subject: Subject
    environment: Environment
    reference: str
    data_sets: list[DataSetAccuracy]
    schema: int = SCHEMA


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


class TrainingResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="training", tag_field="kind"):
    """What `bench training` writes: images a second, on all cores.

    drawn_per_second, trained_per_second
        Each alone.
    together_per_second, waiting
        Both as in a real run, and the share 0..1 of its time that training waits for images.
    """

    recipe: str
    environment: Environment
    drawn_per_second: float
    trained_per_second: float
    together_per_second: float
    waiting: float
    schema: int = SCHEMA


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


class SweepPoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sequence accuracy at one value of what is varied."""

    value: float
    sequence_accuracy: float


class SweepResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="sweep", tag_field="kind"):
    """What `bench sweep` writes: one curve an axis, `images` at each point, the others at their `usual` value."""

    subject: Subject
    environment: Environment
    format: str
    images: int
    usual: dict[str, float]
    curves: dict[str, list[SweepPoint]]
    schema: int = SCHEMA


class SeedRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One recipe, trained and measured on test images.

    images
        Training images seen.
    minutes
        Of training, validation included, all stretches of the run together.
    train_data, test_data
        What the images are: `SvhnData.source`, or the data's kind.
    environment, gpu
        The machine of the last stretch; `gpu` is empty where the processor trained.
    """

    images: int
    minutes: float
    train_data: str
    test_data: str
    commit: str
    environment: Environment
    gpu: str
    metrics: Metrics

    @property
    def machine(self) -> str:
        """What trained, in one phrase."""
        return self.gpu or f"{self.environment.cpu}, {self.environment.cores} cores"


class SeedResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="seed", tag_field="kind"):
    """What `bench seed` writes: runs by name, a recipe's and, with `seed.TWIN`, that of its twin without pooling."""

    runs: dict[str, SeedRun]
    schema: int = SCHEMA


Result: TypeAlias = AccuracyResult | LatencyResult | TrainingResult | PeersResult | SweepResult | SeedResult
R = TypeVar("R", AccuracyResult, LatencyResult, TrainingResult, PeersResult, SweepResult, SeedResult)


def write_result(path: Path, result: Result) -> None:
    """Write a result file, replacing an earlier one only when the new one is whole.

    Raises
    ------
    SinkError
        When it cannot be written; an earlier file stays.
    """
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
        part.replace(path)
    except OSError as error:
        raise SinkError(f"{path}: cannot write the result: {error.strerror}") from None


def read_result(path: Path, kind: type[R]) -> R:
    """Read a result file of one kind.

    Raises
    ------
    BenchmarkInvalidError
        When it is missing or of another kind or schema.
    """
    try:
        result = msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise BenchmarkInvalidError(f"{path}: cannot read the result: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise BenchmarkInvalidError(f"{path}: not a result of this kind and version: {error}: measure again") from None
    if result.schema != SCHEMA:
        raise BenchmarkInvalidError(f"{path}: field 'schema' is {result.schema}, not {SCHEMA}: measure again")
    return result
