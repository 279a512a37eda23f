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

from digitcam.benchmarks.environment import environment
from digitcam.benchmarks.results import AccuracyResult, DataSetAccuracy, Flip, FormatAccuracy
from digitcam.benchmarks.subject import REFERENCE, subject
from digitcam.core.bundle import Bundle, open_bundle
from digitcam.core.errors import GateError
from digitcam.edge.pipeline import image_reader
from digitcam.train.data import data_set, samples
from digitcam.train.evaluate import Read, Results, collect, joined
from digitcam.train.mnist import Split

PART = 250
"""Images a job: few enough to hold."""
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
            (lost if before == truth else won).append(Flip(i, truth, before, now))
    return lost, won


def accuracy(
    bundle: Bundle,
    data_sets: list[str],
    split: Split = "test",
    count: int | None = None,
    say: Callable[[str], None] = print,
) -> AccuracyResult:
    """Measure all formats of a bundle on all data sets, on all cores at once: nothing is timed."""
    described = subject(bundle, bundle.formats)
    measured = []
    formats = sorted(bundle.formats, key=lambda format: format != REFERENCE)
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        jobs = {
            data: [
                pool.submit(_measure, bundle.path, formats, data, split, part)
                for part in _parts(data_set(data).size(split) if count is None else count)
            ]
            for data in data_sets
        }
        for data in data_sets:
            parts = [job.result() for job in jobs[data]]
            results = {format: joined([part[format] for part in parts]) for format in formats}
            reference = results[REFERENCE]
            by_format: dict[str, FormatAccuracy] = {}
            for format, found in results.items():
                metrics, base = found.metrics(), reference.metrics()
                difference = round(100 * (metrics.sequence_accuracy - base.sequence_accuracy), 4)
                lost, won = flips(reference, found)
                accepted = found.confidences >= bundle.card.thresholds.accept
                wrong = accepted & (np.array(found.numbers) != np.array(found.truths))
                by_format[format] = FormatAccuracy(
                    metrics, difference, lost, won, float(accepted.mean()), float(wrong.mean())
                )
                say(
                    f"{data}/{split} {format:12} sequence {metrics.sequence_accuracy:.4f} ({difference:+.2f} points, "
                    f"{len(lost)} lost, {len(won)} won)  localisation {metrics.localisation_error_px2:.3f} px², "
                    f"{accepted.mean():.4f} accepted, {wrong.mean():.4f} wrongly"
                )
            measured.append(DataSetAccuracy(data, split, len(reference.truths), by_format))
    return AccuracyResult(described, environment(), REFERENCE, measured)


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
