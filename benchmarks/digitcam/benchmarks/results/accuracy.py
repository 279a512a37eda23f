"""What `bench accuracy` writes."""

from __future__ import annotations

import msgspec

from digitcam.benchmarks.environment import Environment
from digitcam.benchmarks.results.subject import SCHEMA, Subject
from digitcam.core.metrics import Coverage, Metrics


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
        Of the best readings, see `calibration` and `core.measure.coverage`.
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
    def boxed(self) -> bool:
        """Whether any image has a box: without one localisation error and IoU of `metrics` mean nothing."""
        return self.iou_above != {}

    @property
    def wrong_per_10000(self) -> float | None:
        """Frames of 10,000 on which a wrong reading is accepted."""
        return None if self.wrongly_accepted is None else 1e4 * self.wrongly_accepted


class DataSetAccuracy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All formats on the very same images of one data set.

    fingerprint
        Of those images and their truths, see `images`; None in results from before it was told.
    """

    data: str
    split: str
    images: int
    formats: dict[str, FormatAccuracy]
    fingerprint: str | None = None


class AccuracyResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="accuracy", tag_field="kind"):
    """What `bench accuracy` writes."""

    subject: Subject
    environment: Environment
    reference: str
    data_sets: list[DataSetAccuracy]
    schema: int = SCHEMA
