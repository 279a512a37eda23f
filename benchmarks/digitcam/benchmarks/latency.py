"""`bench latency`: batch 1, one stream; formats by threads, whole runs taken apart, the board watched meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from msgspec.structs import replace

from digitcam.benchmarks.environment import environment
from digitcam.benchmarks.gather import threads
from digitcam.benchmarks.memory import memory_mb
from digitcam.benchmarks.peak import MAC, peak
from digitcam.benchmarks.results import FormatLatency, LatencyResult, Peak
from digitcam.benchmarks.stages import stages
from digitcam.benchmarks.subject import REFERENCE, subject
from digitcam.benchmarks.timing import fresh_process, interleaved, summaries, sustained
from digitcam.benchmarks.validity import MIN_RUNS, MIN_SECONDS, SUSTAINED_S, objections
from digitcam.benchmarks.watch import EnergyMeter, Watch
from digitcam.core.bundle import Bundle
from digitcam.core.errors import ConfigError
from digitcam.edge import engines
from digitcam.edge.board import Board

Say = Callable[[str], None]


class Plan(NamedTuple):
    """How much is measured.

    runs, seconds
        Of every format and number of threads, at least; less than the defaults makes the result invalid.
    sustained_s
        How long each then runs in one go; 0 leaves it out, less than the default is noted.
    stage_frames
        Frames of whole runs for each format.
    peak_s
        How long each matrix product is tried.
    """

    runs: int = MIN_RUNS
    seconds: float = MIN_SECONDS
    sustained_s: float = SUSTAINED_S
    stage_frames: int = 256
    peak_s: float = 1.0


def latency(
    bundle: Bundle,
    formats: Sequence[str] = (),
    threads: Sequence[int] = (1,),
    cpus: Collection[int] = (),
    source: str = "demo:",
    plan: Plan | None = None,
    board: Board | None = None,
    say: Say = print,
) -> LatencyResult:
    """Time the formats of a bundle with each number of threads: the engine's run (uint8 tensor in, float tensors out).

    Parameters
    ----------
    formats
        All the bundle has, when empty. The others are held against fp32.onnx, or the first where it is not among them.
    threads
        Numbers of threads; whole runs are made with the first.
    cpus
        The CPUs to keep to; all that are allowed, when empty.
    source
        Where the frames of whole runs come from.
    plan
        How much is measured.
    board
        What is watched meanwhile; this machine, when None.

    Returns
    -------
    result
        Also when it is invalid: `result.valid` says so. See `write_judged`.

    Raises
    ------
    ConfigError
        When the bundle lacks a format, or there are no such CPUs.
    ModelError
        When a format's engine is not installed.
    SourceError
        When the source gives too few frames.
    """
    plan, board = plan or Plan(), board or Board()
    formats, threads = list(dict.fromkeys(formats or bundle.formats)), list(dict.fromkeys(threads))
    described = subject(bundle, formats)
    for format in formats:
        engines.load(bundle, format)  # a missing engine is told before anything is measured
    reference = REFERENCE if REFERENCE in formats else formats[0]
    with kept_to(cpus) as allowed:
        memory = {n: {format: memory_mb(bundle, format, n) for format in formats} for n in threads}
        watch = Watch(board, allowed)
        by_threads: dict[int, dict[str, FormatLatency]] = {}
        peaks: dict[int, Peak] = {}
        for n in threads:
            peaks[n] = peak(n, plan.peak_s)
            timed = _timed(bundle, formats, n, reference, plan, board, watch.look)
            by_threads[n] = {
                format: _completed(found, format, described.macs, memory[n][format], peaks[n])
                for format, found in timed.items()
            }
            _tell(by_threads[n], n, reference, say)
        first, *others = by_threads
        taken_apart = stages(bundle, formats, first, source, plan.stage_frames, watch.look)
        conditions = watch.found()
    reasons = objections(conditions, board.model(), by_threads)
    short = [] if plan.sustained_s >= SUSTAINED_S else [f"sustained for {plan.sustained_s:g} s, not {SUSTAINED_S:g}"]
    for one in short:
        say(one)
    return LatencyResult(
        subject=described,
        environment=environment(),
        reference=reference,
        threads=first,
        formats=by_threads[first],
        further={n: by_threads[n] for n in others} or None,
        cpus=sorted(allowed) if cpus else None,
        stages=taken_apart,
        peaks=peaks,
        conditions=conditions,
        valid=not reasons,
        reasons=reasons,
        shortfalls=short,
    )


def cpu_numbers(text: str) -> set[int]:
    """Return the numbers in `N,N...`; none in an empty text.

    Raises
    ------
    ConfigError
        When it is something else.
    """
    parts = [part.strip() for part in text.split(",")] if text else []
    if not all(part.isdecimal() for part in parts):
        raise ConfigError(f"--cpus {text!r}: write their numbers, with commas between: 0,1")
    return {int(part) for part in parts}


@contextmanager
def kept_to(cpus: Collection[int]) -> Iterator[set[int]]:
    """Keep this process and what it starts to some CPUs; give those it may run on.

    Raises
    ------
    ConfigError
        When there are no such CPUs for it.
    """
    before = os.sched_getaffinity(0)
    if missing := sorted(set(cpus) - before):
        raise ConfigError(f"--cpus: no CPU {missing[0]} here: choose from {', '.join(map(str, sorted(before)))}")
    try:
        if cpus:
            os.sched_setaffinity(0, cpus)
        yield set(cpus) or before
    finally:
        os.sched_setaffinity(0, before)


def _timed(
    bundle: Bundle,
    formats: Sequence[str],
    threads: int,
    reference: str,
    plan: Plan,
    board: Board,
    look: Callable[[], None],
) -> dict[str, FormatLatency]:
    """Return the formats' times with one number of threads, first in turn, then each in one go."""
    half = partial(fresh_process, bundle.path, threads)
    found = summaries(interleaved(half, formats, plan.runs, plan.seconds, look), reference)
    if not plan.sustained_s:
        return found
    images = bundle.golden().images
    for format in formats:
        engine, meter = engines.load(bundle, format, threads), EnergyMeter(board)

        def look_on(meter: EnergyMeter = meter) -> None:
            look()
            meter.look()

        runs, seconds = sustained(engine, images, plan.sustained_s, look_on)
        joules = meter.spent_j()
        found[format] = replace(
            found[format],
            sustained_fps=round(runs / seconds, 1),
            sustained_s=round(seconds, 1),
            energy_mj=None if joules is None else round(1e3 * joules / runs, 3),
        )
    return found


def _completed(found: FormatLatency, format: str, macs: int, memory_mb: float, peak: Peak) -> FormatLatency:
    """Add what follows from the median, and the memory."""
    gmacs = macs / (found.p50_ms / 1e3) / MAC
    most = peak.int8_gmacs if format.startswith("int8") else peak.fp32_gmacs
    return replace(
        found, memory_mb=memory_mb, gmacs=round(gmacs, 2), peak_share=round(gmacs / most, 3) if most else None
    )


def _tell(formats: dict[str, FormatLatency], count: int, reference: str, say: Say) -> None:
    for format, found in formats.items():
        share = "" if found.peak_share is None else f" ({found.peak_share:.0%} of the peak)"
        kept = "" if found.sustained_fps is None else f", {found.sustained_fps:.0f}/s sustained"
        say(
            f"{format:12} {threads(count)}  p50 {found.p50_ms:.3f} ms  p90 {found.p90_ms:.3f}  "
            f"p99 {found.p99_ms:.3f}  {found.ratio:.2f} times {reference}{kept}  {found.gmacs:.1f} GMAC/s{share}  "
            f"{found.memory_mb:.0f} MB  ({found.runs} runs)"
        )
