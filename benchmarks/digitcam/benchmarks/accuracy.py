"""`bench accuracy`: bundles and formats on the very same images, and which they read otherwise than float."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timezone
from functools import cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from digitcam.benchmarks.calibration import calibration
from digitcam.benchmarks.environment import environment
from digitcam.benchmarks.images import digest, fingerprint
from digitcam.benchmarks.results import AccuracyResult, DataSetAccuracy, Flip, FormatAccuracy
from digitcam.benchmarks.statistics import mcnemar, paired_interval
from digitcam.benchmarks.subject import REFERENCE, subject
from digitcam.core.boxes import iou
from digitcam.core.bundle import Bundle, open_bundle
from digitcam.core.errors import BenchmarkInvalidError, ConfigError, GateError
from digitcam.core.formats import FORMATS
from digitcam.core.measure import TARGETS, coverage
from digitcam.edge import engines
from digitcam.edge.pipeline import image_reader
from digitcam.train.data import RARE, data_set, samples, size_of
from digitcam.train.evaluate import Read, Results, collect, joined
from digitcam.train.mnist import Split

PART = 250
"""Images a job: few enough to hold."""
IOU_LIMITS = (0.5, 0.75, 0.9)


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
    bundles: Sequence[Bundle],
    data_sets: Sequence[str],
    split: Split = "test",
    count: int | None = None,
    formats: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> list[AccuracyResult]:
    """Measure bundles on the very same images of all data sets, on all cores at once: nothing is timed.

    Parameters
    ----------
    count
        Images a data set; all by default.
    formats
        Which ones of every bundle, with the reference in any case; by default all that each has.

    Returns
    -------
    list[AccuracyResult]
        One a bundle, in their order.

    Raises
    ------
    ConfigError
        When a bundle lacks a format, or a data set is not known or has fewer images than `count`.
    ModelError
        When a format's engine is not installed.
    SourceError
        When a data set's files are missing.
    BenchmarkInvalidError
        When a data set has no images of the split.
    """
    chosen = [_chosen(bundle, formats) for bundle in bundles]
    subjects = [subject(bundle, names) for bundle, names in zip(bundles, chosen, strict=True)]
    counts = {data: _count(data, split, count) for data in data_sets}
    measured: list[list[DataSetAccuracy]] = [[] for _ in bundles]
    networks = [(bundle.path, names) for bundle, names in zip(bundles, chosen, strict=True)]
    for bundle, names in zip(bundles, chosen, strict=True):
        for format in names:
            engines.load(bundle, format)  # a missing engine is told before anything is read
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        jobs = {
            data: [pool.submit(_measure, networks, data, split, part) for part in _parts(counts[data])]
            for data in counts
        }
        for data in counts:
            parts = [job.result() for job in jobs[data]]
            read = fingerprint(chain.from_iterable(part.digests for part in parts))
            for i, bundle in enumerate(bundles):
                results = {format: joined([part.results[i][format] for part in parts]) for format in chosen[i]}
                reference = results[REFERENCE]
                by_format: dict[str, FormatAccuracy] = {}
                for format, found in results.items():
                    one = by_format[format] = compared(reference, found, bundle.card.thresholds.accept)
                    say(f"{data}/{split} {bundle.card.name} {format:12} {_told(one)}")
                measured[i].append(DataSetAccuracy(data, split, len(reference.truths), by_format, read))
    machine = environment()
    return [
        AccuracyResult(described, machine, REFERENCE, found)
        for described, found in zip(subjects, measured, strict=True)
    ]


def result_files(bundles: Sequence[Bundle], out: Path, ending: str) -> list[Path]:
    """Return what each bundle's file is called: `out` for one, NAME-ENDING in the folder `out` for several.

    Raises
    ------
    ConfigError
        When two would be the same file, or `out` is a file and not a folder.
    """
    if len(bundles) == 1:
        return [out]
    if out.is_file() or (out.suffix and not out.is_dir()):
        raise ConfigError(f"{out}: several bundles give a file each: name a folder")
    names = [bundle.path.name.removesuffix(".digitcam") for bundle in bundles]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"{out}: two bundles would both be {twice[0]}-{ending}: rename the folder of one")
    return [out / f"{name}-{ending}" for name in names]


def _chosen(bundle: Bundle, formats: Sequence[str]) -> list[str]:
    wanted = {REFERENCE, *formats} if formats else {*bundle.formats}
    return sorted(wanted, key=lambda format: (format != REFERENCE, FORMATS.index(format)))


def _count(data: str, split: Split, count: int | None) -> int:
    if not data_set(data).size(split):
        raise BenchmarkInvalidError(f"{data}: has no {split} images: choose another --split")
    return size_of(data, split, count)


def _told(found: FormatAccuracy) -> str:
    low, high = found.interval or (0.0, 0.0)
    covered = ", ".join(f"{one.share:.3f} at {100 * one.accuracy:g}% right" for one in found.coverage or [])
    lengths = ", ".join(f"{length} {share:.4f}" for length, share in found.metrics.sequence_by_length.items())
    place = f"localisation {found.metrics.localisation_error_px2:.3f} px²" if found.boxed else "no boxes"
    return (
        f"sequence {found.metrics.sequence_accuracy:.4f} ({found.difference:+.2f} points, {low:+.2f} to {high:+.2f}; "
        f"{len(found.lost)} lost, {len(found.won)} won)  {place}, "
        f"{found.accepted:.4f} accepted, {found.wrong_per_10000:.0f} wrongly in 10,000; covers {covered}; "
        f"by digits {lengths}"
    )


def _parts(count: int) -> list[range]:
    return [range(start, min(start + PART, count)) for start in range(0, count, PART)]


class _Part(NamedTuple):
    """Results by format of each network on some images, and the images' digests."""

    results: list[dict[str, Results]]
    digests: list[bytes]


def _measure(networks: list[tuple[Path, list[str]]], data: str, split: Split, part: range) -> _Part:
    """Read some images of a data set, each drawn once, with all formats of all bundles."""
    source = data_set(data)
    drawn = [source.sample(split, index) for index in part]
    results = [{format: collect(drawn, _loaded(path, format)) for format in formats} for path, formats in networks]
    return _Part(results, [digest(sample) for sample in drawn])


@cache
def _loaded(path: Path, format: str) -> Read:
    """Return a format's reader, loaded once a process and not once a job."""
    return image_reader(open_bundle(path), format)


def log_rare(result: AccuracyResult, path: Path) -> None:
    """Append a line for each data set in `RARE`."""
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
    ConfigError
        When there is no format to compare with the reference.
    GateError
        Naming the first such format and data set.
    """
    if all(set(measured.formats) == {REFERENCE} for measured in result.data_sets):
        raise ConfigError(f"--max-drop: {result.subject.name} has only {REFERENCE} here: name a --format to compare")
    for measured in result.data_sets:
        for format, found in measured.formats.items():
            if found.difference < -max_drop:
                raise GateError(
                    f"{format}: loses {-found.difference:.2f} points on {measured.data}, more than {max_drop:g}"
                )
