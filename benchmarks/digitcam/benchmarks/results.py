"""Result files: JSON, one schema a kind, strict in reading, never overwritten half."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias, TypeVar

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
    """An image on which a format and the reference disagree about being right; how sure each of them was.

    The confidences are None in results from before they were kept.
    """

    index: int
    truth: str
    reference: str
    number: str
    reference_confidence: float | None = None
    confidence: float | None = None


class Bin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Readings of like confidence: how many, their mean confidence, the share of them that is right."""

    readings: int
    confidence: float
    accuracy: float


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether confidences mean what they say: expected calibration error 0..1 and reliability curve."""

    error: float
    curve: list[Bin]


class Coverage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The share of the images accepted from `threshold` on, of which `accuracy` are right.

    The threshold is None where none gives that accuracy.
    """

    accuracy: float
    threshold: float | None
    share: float


class FormatAccuracy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One format on one data set; what is None in a result is from before it was measured.

    difference
        Of sequence accuracy to the reference, in points (1/100).
    accepted, wrongly_accepted
        Shares of the images whose best reading passes the card's threshold, and of those where it is wrong.
    interval, p_value
        95 % interval of the difference, in points, and McNemar's exact p-value; see `statistics`.
    iou_above
        By limit ("0.5", ...), the share of the images with a box whose reading's box overlaps it by more; empty
        where no image has a box.
    calibration, coverage
        Of the best readings, see `calibration`.
    """

    metrics: Metrics
    difference: float
    lost: list[Flip]
    won: list[Flip]
    accepted: float | None = None
    wrongly_accepted: float | None = None
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    iou_above: dict[str, float] | None = None
    calibration: Calibration | None = None
    coverage: list[Coverage] | None = None

    @property
    def wrong_per_10000(self) -> float | None:
        """Frames of 10,000 on which a wrong reading is accepted."""
        return None if self.wrongly_accepted is None else 1e4 * self.wrongly_accepted


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


class OverheadResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="overhead", tag_field="kind"):
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


class SoakResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="soak", tag_field="kind"):
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


class LayerLoss(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What int8 loses in one layer; signal-to-noise ratios in dB, against float.

    weights_db
        Of the weights; None where there are none.
    output_db
        Of what the layer gives in the int8 network, with all that was lost before it.
    own_db
        Of what it gives against a float layer on the very same int8 input: what this layer itself loses.
    buys, weights_buy
        Share of the squared error of the network's outputs that goes away when the layer's weights and its output
        are kept in float, and when its weights alone are; below 0 where errors cancelled each other.
    bytes, macs
        What it costs: bytes more of weights, and multiplications done in float.
    """

    name: str
    operator: str
    weights_db: float | None
    output_db: float
    own_db: float
    buys: float
    weights_buy: float
    bytes: int
    macs: int


class FormatLosses(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One int8 network, its layers worst first.

    outputs_db
        Signal-to-noise ratio of each of the network's outputs.
    model_db
        That of the computed model of the int8 network, in which layers are put back to float, against the network
        itself: what is lower than the outputs' ratios is not told by it.
    """

    outputs_db: dict[str, float]
    model_db: float
    layers: list[LayerLoss]


class DebugResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="debug", tag_field="kind"):
    """What `bench debug` writes: where each int8 format loses, on the first `images` of a data set."""

    subject: Subject
    environment: Environment
    reference: str
    data: str
    split: str
    images: int
    formats: dict[str, FormatLosses]
    schema: int = SCHEMA


Result: TypeAlias = (
    AccuracyResult
    | LatencyResult
    | TrainingResult
    | PeersResult
    | SweepResult
    | SeedResult
    | OverheadResult
    | SoakResult
    | DebugResult
)
R = TypeVar("R", bound=Result)


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
    result: R = _read(path, kind)
    return result


def read_any(path: Path) -> Result:
    """Read a result file of whichever kind.

    Raises
    ------
    BenchmarkInvalidError
        When it is missing, no result, or of another schema.
    """
    result: Result = _read(path, Result)
    return result


def _read(path: Path, kind: Any) -> Any:
    try:
        result = msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise BenchmarkInvalidError(f"{path}: cannot read the result: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise BenchmarkInvalidError(f"{path}: not a result of this kind and version: {error}: measure again") from None
    if result.schema != SCHEMA:
        raise BenchmarkInvalidError(f"{path}: field 'schema' is {result.schema}, not {SCHEMA}: measure again")
    return result
