"""`bench accuracy`: every format on the very same images, and which images it reads otherwise than float."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timezone
from functools import cache
from pathlib import Path

import msgspec
import numpy as np

from digitcam.benchmarks.calibration import TARGETS, calibration, coverage
from digitcam.benchmarks.environment import environment
from digitcam.benchmarks.results import AccuracyResult, DataSetAccuracy, Flip, FormatAccuracy
from digitcam.benchmarks.statistics import mcnemar, paired_interval
from digitcam.benchmarks.subject import REFERENCE, subject
from digitcam.core.boxes import iou
from digitcam.core.bundle import Bundle, open_bundle
from digitcam.core.errors import BenchmarkInvalidError, GateError
from digitcam.edge.pipeline import image_reader
from digitcam.train.data import data_set, samples
from digitcam.train.evaluate import Read, Results, collect, joined
from digitcam.train.mnist import Split

PART = 250
"""Images a job: few enough to hold."""
IOU_LIMITS = (0.5, 0.75, 0.9)
RARE = ("datecodes",)
"""Data sets of which every measurement is logged."""


def format_results(bundle: Bundle, format: str, data: str, split: Split, count: int | None) -> Results:
    """Read the first `count` images of a data set's split (all by default) with one format, one at a time."""
    return collect(samples(data, split, count), image_reader(bundle, format))


def flips(reference: Results, found: Results) -> tuple[list[Flip], list[Flip]]:
    """Return the images lost (right in the reference only) and won (right here only)."""
    lost: list[Flip] = []
    won: list[Flip] = []
    for i, (truth, before, now) in enumerate(zip(found.truths, reference.numbers, found.numbers, strict=True)):
        if (before == truth) != (now == truth):
            sure = round(float(reference.confidences[i]), 4), round(float(found.confidences[i]), 4)
            (lost if before == truth else won).append(Flip(i, truth, before, now, *sure))
    return lost, won


def iou_above(found: Results) -> dict[str, float]:
    """Return by limit the share of the images with a box whose reading's box overlaps it by more."""
    boxed = found.truth_boxes_xywh[:, 2] > 0
    if not boxed.any():
        return {}
    overlaps = iou(found.boxes_xywh[boxed], found.truth_boxes_xywh[boxed])
    return {f"{limit:g}": float((overlaps > limit).mean()) for limit in IOU_LIMITS}


def compared(reference: Results, found: Results, accept: float) -> FormatAccuracy:
    """Return what is told of a format, read on the very same images as the reference.

    Parameters
    ----------
    accept
        Confidence from which a reading counts.
    """
    metrics, base = found.metrics(), reference.metrics()
    lost, won = flips(reference, found)
    right = np.array(found.numbers) == np.array(found.truths)
    read = np.array(found.numbers) != ""
    accepted = found.confidences >= accept
    both = int(right.sum()) - len(won)
    low, high = paired_interval(both, len(won), len(lost), len(right) - both - len(won) - len(lost))
    sure, correct = found.confidences[read], right[read]
    return FormatAccuracy(
        metrics,
        round(100 * (metrics.sequence_accuracy - base.sequence_accuracy), 4),
        lost,
        won,
        float(accepted.mean()),
        float((accepted & ~right).mean()),
        (round(100 * low, 4), round(100 * high, 4)),
        mcnemar(len(lost), len(won)),
        iou_above(found),
        calibration(sure, correct),
        [coverage(sure, correct, len(right), target) for target in TARGETS],
    )


def accuracy(
    bundle: Bundle,
    data_sets: list[str],
    split: Split = "test",
    count: int | None = None,
    say: Callable[[str], None] = print,
) -> AccuracyResult:
    """Measure all formats of a bundle on all data sets, on all cores at once: nothing is timed.

    Raises
    ------
    BenchmarkInvalidError
        When a data set has no images of the split.
    """
    described = subject(bundle, bundle.formats)
    counts = {data: data_set(data).size(split) if count is None else count for data in data_sets}
    if empty := [data for data, images in counts.items() if not images]:
        raise BenchmarkInvalidError(f"{empty[0]}: has no {split} images: choose another --split")
    measured = []
    formats = sorted(bundle.formats, key=lambda format: format != REFERENCE)
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        jobs = {
            data: [pool.submit(_measure, bundle.path, formats, data, split, part) for part in _parts(counts[data])]
            for data in data_sets
        }
        for data in data_sets:
            parts = [job.result() for job in jobs[data]]
            results = {format: joined([part[format] for part in parts]) for format in formats}
            reference = results[REFERENCE]
            by_format: dict[str, FormatAccuracy] = {}
            for format, found in results.items():
                one = by_format[format] = compared(reference, found, bundle.card.thresholds.accept)
                say(f"{data}/{split} {format:12} {_told(one)}")
            measured.append(DataSetAccuracy(data, split, len(reference.truths), by_format))
    return AccuracyResult(described, environment(), REFERENCE, measured)


def _told(found: FormatAccuracy) -> str:
    low, high = found.interval or (0.0, 0.0)
    covered = ", ".join(f"{one.share:.3f} at {100 * one.accuracy:g}% right" for one in found.coverage or [])
    return (
        f"sequence {found.metrics.sequence_accuracy:.4f} ({found.difference:+.2f} points, {low:+.2f} to {high:+.2f}; "
        f"{len(found.lost)} lost, {len(found.won)} won)  localisation {found.metrics.localisation_error_px2:.3f} px², "
        f"{found.accepted:.4f} accepted, {found.wrong_per_10000:.0f} wrongly in 10,000; covers {covered}"
    )


def _parts(count: int) -> list[range]:
    return [range(start, min(start + PART, count)) for start in range(0, count, PART)]


def _measure(path: Path, formats: list[str], data: str, split: Split, part: range) -> dict[str, Results]:
    """Read some images of a data set, each drawn once, with all formats."""
    source = data_set(data)
    drawn = [source.sample(split, index) for index in part]
    return {format: collect(drawn, _loaded(path, format)) for format in formats}


@cache
def _loaded(path: Path, format: str) -> Read:
    """Return a format's reader, loaded once a process and not once a job."""
    return image_reader(open_bundle(path), format)


def log_rare(result: AccuracyResult, path: Path) -> None:
    """Append a line for each data set in `RARE`: what is looked at too often is tuned on in the end."""
    for measured in result.data_sets:
        if measured.data in RARE:
            line = {
                "date": datetime.now(timezone.utc).date().isoformat(),
                "data": measured.data,
                "model": result.subject.name,
                "images_trained": result.subject.images_trained,
                "sequence_accuracy": {f: found.metrics.sequence_accuracy for f, found in measured.formats.items()},
            }
            with path.open("ab") as log:
                log.write(msgspec.json.encode(line) + b"\n")


def check_drop(result: AccuracyResult, max_drop: float) -> None:
    """Refuse a result in which a format loses more than `max_drop` points.

    Raises
    ------
    GateError
        Naming the first such format and data set.
    """
    for measured in result.data_sets:
        for format, found in measured.formats.items():
            if found.difference < -max_drop:
                raise GateError(
                    f"{format}: loses {-found.difference:.2f} points on {measured.data}, more than {max_drop:g}"
                )
