"""Times of networks: formats interleaved in blocks, a long run in one go, and what is told of them."""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from digitcam.benchmarks.results import FormatLatency, Histogram
from digitcam.core.arrays import UInt8Array
from digitcam.core.bundle import open_bundle
from digitcam.core.errors import BenchmarkInvalidError
from digitcam.edge import engines
from digitcam.edge.engines import Engine

WARM_UP, BLOCK = 30, 25
HALVES = 2
STEP = 1.05
"""How much longer a histogram's bin is than the one before it."""

Clock = Callable[[], float]
Look = Callable[[], None]
Timer = Callable[[str, int], list[float]]
"""Runs a format so many times and returns what each took, in milliseconds."""


class Times(NamedTuple):
    """Of one format in milliseconds: the very first run, and the runs of each half, a multiple of `BLOCK` in each."""

    first_ms: float
    halves_ms: tuple[list[float], list[float]]

    @property
    def all_ms(self) -> list[float]:
        """Both halves."""
        return [*self.halves_ms[0], *self.halves_ms[1]]


@contextmanager
def fresh_process(bundle: Path, threads: int) -> Iterator[Timer]:
    """Give a timer of a bundle's formats in a process of its own, which loads them when they are first asked for."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        yield lambda format, runs: process.submit(_runs, bundle, threads, format, runs).result()


def interleaved(
    half: Callable[[], AbstractContextManager[Timer]],
    formats: Sequence[str],
    min_runs: int,
    min_seconds: float,
    look: Look = lambda: None,
) -> dict[str, Times]:
    """Time every format at least so often and so long, in blocks that take turns.

    Parameters
    ----------
    half
        Gives the timer of one half of the measurement, each half anew: with `fresh_process` a ratio that was luck of
        one process, as the layout of its memory, shows as a difference.
    look
        Called between the blocks.
    """
    firsts: dict[str, float] = {}
    halves: list[dict[str, list[float]]] = []
    for _ in range(HALVES):
        with half() as run:
            for format in formats:
                firsts.setdefault(format, run(format, 1)[0])
                run(format, WARM_UP)
            times: dict[str, list[float]] = {format: [] for format in formats}
            while any(len(t) < min_runs / HALVES or sum(t) < min_seconds * 1e3 / HALVES for t in times.values()):
                for format in formats:
                    times[format] += run(format, BLOCK)
                    look()
        halves.append(times)
    return {format: Times(firsts[format], (halves[0][format], halves[1][format])) for format in formats}


def sustained(
    engine: Engine, images: UInt8Array, seconds: float, look: Look = lambda: None, clock: Clock = time.perf_counter
) -> tuple[int, float]:
    """Run in one go; return how many runs there were, and their seconds without those of looking."""
    block = np.resize(images, (BLOCK, *images.shape[1:]))
    _time(engine, block, clock)
    runs, spent_ms, began = 0, 0.0, clock()
    while clock() - began < seconds:
        spent_ms += sum(_time(engine, block, clock))
        runs += len(block)
        look()
    return runs, spent_ms / 1e3


def summaries(times: Mapping[str, Times], reference: str) -> dict[str, FormatLatency]:
    """Summarise the times of all formats against one of them."""
    whole = _median(times[reference].all_ms)
    before, after = map(_median, times[reference].halves_ms)
    found = {}
    for format, one in times.items():
        early, late = map(_median, one.halves_ms)
        found[format] = replace(
            summary(one.first_ms, one.all_ms, whole),
            ratios=(round(before / early, 3), round(after / late, 3)),
            halves_ms=(round(early, 4), round(late, 4)),
        )
    return found


def summary(first_ms: float, times_ms: list[float], reference_ms: float) -> FormatLatency:
    """Summarise times [n] in milliseconds; `reference_ms` is the reference's median.

    Raises
    ------
    BenchmarkInvalidError
        When there are none.
    """
    if not times_ms:
        raise BenchmarkInvalidError("no runs were timed")
    p50, p90, p99, worst = (round(float(v), 4) for v in np.percentile(times_ms, [50, 90, 99, 100]))
    total_ms = float(np.sum(times_ms))
    blocks = [times_ms[i : i + BLOCK] for i in range(0, len(times_ms), BLOCK)]
    return FormatLatency(
        runs=len(times_ms),
        seconds=round(total_ms / 1e3, 3),
        first_ms=round(first_ms, 4),
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        max_ms=worst,
        fps=round(1e3 * len(times_ms) / total_ms, 1),
        ratio=round(reference_ms / p50, 3),
        histogram=histogram(times_ms),
        burst_fps=round(_median([1e3 * len(block) / sum(block) for block in blocks]), 1),
    )


def histogram(times_ms: Sequence[float]) -> Histogram:
    """Count positive times into bins of which each is `STEP` times as long as the one before.

    The first begins at the shortest time, the last holds the longest.
    """
    low, high = min(times_ms), max(times_ms)
    bins = math.floor(math.log(high / low) / math.log(STEP)) + 1
    found = np.floor(np.log(np.asarray(times_ms) / low) / math.log(STEP)).astype(int)
    # Rounding may put a time on a bin's edge on its other side, but into no bin that is not there.
    counts = np.bincount(np.clip(found, 0, bins - 1), minlength=bins)
    return Histogram(round(low, 6), STEP, counts.tolist())


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))


def _runs(bundle: Path, threads: int, format: str, runs: int) -> list[float]:
    """Time runs on the golden images in turn; called in the process that does nothing else."""
    engine, images = _loaded(bundle, threads, format)
    return _time(engine, islice(cycle(images), runs), time.perf_counter)


@cache
def _loaded(bundle: Path, threads: int, format: str) -> tuple[Engine, UInt8Array]:
    opened = open_bundle(bundle)
    return engines.load(opened, format, threads), opened.golden().images


def _time(engine: Engine, images: Iterable[UInt8Array], clock: Clock) -> list[float]:
    times = []
    for image in images:
        start = clock()
        engine.run(image[None])
        times.append((clock() - start) * 1e3)
    return times
