"""`bench latency`: batch 1, one stream; formats interleaved in blocks, so that a drifting machine favours none."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from digitcam.benchmarks.environment import environment
from digitcam.benchmarks.results import FormatLatency, LatencyResult
from digitcam.benchmarks.subject import REFERENCE, subject
from digitcam.core.bundle import Bundle
from digitcam.core.errors import BenchmarkInvalidError
from digitcam.edge import engines
from digitcam.edge.engines import Engine

WARM_UP, BLOCK = 30, 25
MIN_RUNS, MIN_SECONDS = 300, 2.0


def latency(
    bundle: Bundle,
    threads: int = 1,
    min_runs: int = MIN_RUNS,
    min_seconds: float = MIN_SECONDS,
    say: Callable[[str], None] = print,
) -> LatencyResult:
    """Time the engine's run (uint8 tensor in, float tensors out) of every format of a bundle.

    Every format is run for at least `min_runs` times and `min_seconds` after its warm-up, on the golden inputs in
    turn.
    """
    described = subject(bundle, bundle.formats)
    images = bundle.golden().images
    loaded = {format: engines.load(bundle, format, threads) for format in bundle.formats}
    first = {format: _time(engine, images[:1])[0] for format, engine in loaded.items()}
    for engine in loaded.values():
        _time(engine, np.resize(images, (WARM_UP, *images.shape[1:])))
    times: dict[str, list[float]] = {format: [] for format in loaded}
    block = np.resize(images, (BLOCK, *images.shape[1:]))
    while any(len(t) < min_runs or sum(t) < min_seconds * 1e3 for t in times.values()):
        for format, engine in loaded.items():
            times[format] += _time(engine, block)
    reference = float(np.median(times[REFERENCE]))
    formats = {format: summary(first[format], ms, reference) for format, ms in times.items()}
    for format, found in formats.items():
        say(
            f"{format:12} p50 {found.p50_ms:.3f} ms  p90 {found.p90_ms:.3f}  p99 {found.p99_ms:.3f}  "
            f"{found.ratio:.2f} times {REFERENCE}  ({found.runs} runs)"
        )
    return LatencyResult(described, environment(), REFERENCE, threads, formats)


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
    )


def _time(engine: Engine, images: np.ndarray) -> list[float]:
    times = []
    for image in images:
        start = time.perf_counter()
        engine.run(image[None])
        times.append((time.perf_counter() - start) * 1e3)
    return times
