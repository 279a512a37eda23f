"""`bench accuracy`: every format on the very same images, and which images it reads otherwise than float."""

from __future__ import annotations

from collections.abc import Callable

from digitcam.benchmarks.environment import environment
from digitcam.benchmarks.results import AccuracyResult, DataSetAccuracy, Flip, FormatAccuracy
from digitcam.benchmarks.subject import REFERENCE, subject
from digitcam.core.arrays import UInt8Array
from digitcam.core.bundle import Bundle
from digitcam.core.decode import Line
from digitcam.core.errors import GateError
from digitcam.edge import engines
from digitcam.edge.pipeline import read_tensor
from digitcam.train.data import samples
from digitcam.train.evaluate import Results, collect
from digitcam.train.mnist import Split


def format_results(bundle: Bundle, format: str, data: str, split: Split, count: int | None) -> Results:
    """Read the first `count` images of a data set's split (all by default) with one format, one at a time."""
    engine, spec = engines.load(bundle, format), bundle.card.input
    shape = (1, spec.height, spec.width, spec.channels)

    def read(images: list[UInt8Array]) -> list[list[Line]]:
        return [read_tensor(engine, bundle.card, image.reshape(shape)) for image in images]

    return collect(samples(data, split, count), read)


def flips(reference: Results, found: Results) -> tuple[list[Flip], list[Flip]]:
    """Return the images lost (right in the reference only) and won (right here only)."""
    lost: list[Flip] = []
    won: list[Flip] = []
    for i, (truth, before, now) in enumerate(zip(found.truths, reference.numbers, found.numbers, strict=True)):
        if (before == truth) != (now == truth):
            (lost if before == truth else won).append(Flip(i, truth, before, now))
    return lost, won


def accuracy(
    bundle: Bundle,
    data_sets: list[str],
    split: Split = "test",
    count: int | None = None,
    say: Callable[[str], None] = print,
) -> AccuracyResult:
    """Measure all formats of a bundle on all data sets."""
    measured = []
    described = subject(bundle, bundle.formats)
    for data in data_sets:
        by_format: dict[str, FormatAccuracy] = {}
        reference = None
        for format in sorted(bundle.formats, key=lambda f: f != REFERENCE):
            found = format_results(bundle, format, data, split, count)
            reference = reference or found
            metrics = found.metrics()
            base = by_format[REFERENCE].metrics if by_format else metrics
            difference = round(100 * (metrics.sequence_accuracy - base.sequence_accuracy), 4)
            by_format[format] = FormatAccuracy(metrics, difference, *flips(reference, found))
            lost, won = len(by_format[format].lost), len(by_format[format].won)
            say(
                f"{data}/{split} {format:12} sequence {metrics.sequence_accuracy:.4f} ({difference:+.2f} points, "
                f"{lost} lost, {won} won)  localisation {metrics.localisation_error_px2:.3f} px²"
            )
        images = by_format[REFERENCE].metrics.images
        measured.append(DataSetAccuracy(data, split, images, by_format))
    return AccuracyResult(described, environment(), REFERENCE, measured)


def check_drop(result: AccuracyResult, max_drop: float) -> None:
    """Refuse a result in which a format loses more than `max_drop` points.

    Raises
    ------
    GateError
        Naming the first such format and data set.
    """
    for data_set in result.data_sets:
        for format, found in data_set.formats.items():
            if found.difference < -max_drop:
                raise GateError(
                    f"{format}: loses {-found.difference:.2f} points on {data_set.data}, more than {max_drop:g}"
                )
