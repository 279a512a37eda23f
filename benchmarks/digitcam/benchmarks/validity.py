"""When a measurement is no result.

Times: what happened to the board meanwhile, too few of them, halves that do not agree, drift. A long run: what it lost,
and what grew.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from digitcam.benchmarks.gather import threads
from digitcam.benchmarks.results import Conditions, FormatLatency, Sample
from digitcam.edge.board import is_pi

MIN_RUNS, MIN_SECONDS, SUSTAINED_S = 1024, 10.0, 60.0
"""How often and how long each format has to run, and how long in one go."""
CLOCK, OTHERS, STOLEN = 0.9, 0.1, 0.05
"""How low the clock may be, and what others and a virtual machine's host may take of the processors' time."""
AGREE = 1.1
"""The factor by which a ratio may differ between the two halves, each a process of its own."""
DRIFT = 1.25
"""The factor by which a time may: where no clock is told, this alone shows a machine that slowed down. It is wider, as
what slows all formats alike leaves their ratios; the blocks of good measurements and their minute in one go, as far
apart, differed by up to 1.16 on a machine shared with others."""
GROWTH_MB, THREADS, DESCRIPTORS = 2.0, 0, 2
"""How much memory, threads and descriptors of a long run may grow; a look at the page holds a descriptor or two."""


def objections(
    conditions: Conditions, model: str | None, by_threads: Mapping[int, Mapping[str, FormatLatency]] | None = None
) -> list[str]:
    """Return why a measurement is no result, the worst case of each reason; nothing when it is one.

    Parameters
    ----------
    model
        The board's, as `Board.model` tells it: a Raspberry Pi has to say whether it was throttled.
    by_threads
        Formats by number of threads, of `bench latency`; other benchmarks have none.
    """
    times = by_name(by_threads or {})
    return [*_of_board(conditions, model), *_of_counts(times), *_of_halves(times), *_of_drift(times)]


def by_name(by_threads: Mapping[int, Mapping[str, FormatLatency]]) -> dict[str, FormatLatency]:
    """Return formats by number of threads under one name each, as `int8.onnx, 2 threads`."""
    return {
        f"{format}, {threads(count)}": found
        for count, formats in by_threads.items()
        for format, found in formats.items()
    }


def soak_objections(lost: int, samples: Sequence[Sample]) -> list[str]:
    """Return what of a long run would not do for months; nothing when all would.

    Parameters
    ----------
    lost
        Frames whose readings did not arrive.
    samples
        The run over time, after its warm-up.
    """
    reasons = [f"{lost} readings were lost"] if lost else []
    if not samples:
        return [*reasons, "its memory was not looked at"]
    if (grew := growth([sample.memory_mb for sample in samples])) > GROWTH_MB:
        reasons.append(f"memory grew by {grew:.1f} MB, more than {GROWTH_MB:g}")
    for what, most in (("threads", THREADS), ("descriptors", DESCRIPTORS)):
        if (grew := growth([getattr(sample, what) for sample in samples])) > most:
            reasons.append(f"{what} grew by {grew:g}, more than {most}")
    return reasons


def growth(values: Sequence[float]) -> float:
    """Return the median of the last tenth less that of the first."""
    tenth = max(1, len(values) // 10)
    return round(statistics.median(values[-tenth:]) - statistics.median(values[:tenth]), 3)


def _of_board(found: Conditions, model: str | None) -> list[str]:
    objections = []
    if found.throttled is None and is_pi(model):
        objections.append(
            "whether it was throttled is unknown, vcgencmd gave no answer: install raspi-utils, add this user to the "
            "group video, and measure outside of a container"
        )
    if found.throttled:
        objections.append(f"throttled: {', '.join(found.throttled)}: mind cooling and supply")
    if found.throttled_before:
        # These marks stay until the board restarts: what comes and goes between two looks leaves no new one.
        told = ", ".join(found.throttled_before)
        objections.append(f"throttled before, and whether again cannot be told: {told}: mind its cause, then restart")
    if len(found.governors) > 1:
        objections.append(f"the governor was changed: {', '.join(found.governors)}")
    if found.clock_mhz and found.clock_mhz[0] < CLOCK * (most := max(found.clock_mhz[1], found.clock_listed_mhz or 0)):
        objections.append(f"the clock was low: {found.clock_mhz[0]:.0f} of {most:.0f} MHz: mind cooling and governor")
    if (others := max(found.others or 0, found.others_most or 0)) > OTHERS:
        objections.append(f"other load: {others:.0%} of the processors' time: stop what else is running")
    if (stolen := max(found.stolen or 0, found.stolen_most or 0)) > STOLEN:
        objections.append(f"other load: {stolen:.0%} of the processors' time was taken by the host: try again")
    return objections


def _of_counts(times: Mapping[str, FormatLatency]) -> list[str]:
    few = {name: one for name, one in times.items() if one.runs < MIN_RUNS or one.seconds < MIN_SECONDS}
    if not few:
        return []
    name, one = min(few.items(), key=lambda item: min(item[1].runs / MIN_RUNS, item[1].seconds / MIN_SECONDS))
    return [
        f"too few runs: {name}: {one.runs} in {one.seconds:.1f} s, not {MIN_RUNS} and {MIN_SECONDS:.0f} s"
        f"{_more(len(few) - 1)}"
    ]


def _of_halves(times: Mapping[str, FormatLatency]) -> list[str]:
    ratios = {name: one.ratios for name, one in times.items() if one.ratios}
    apart = _worst(ratios, AGREE, "{:.2f} times the reference, then {:.2f}")
    return [f"the two halves of the measurement disagree: {told}: try again" for told in apart]


def _of_drift(times: Mapping[str, FormatLatency]) -> list[str]:
    halves = {name: one.halves_ms for name, one in times.items() if one.halves_ms}
    # Quicker in one go than in turn with others is no fault.
    slower = {
        name: (one.fps, one.sustained_fps)
        for name, one in times.items()
        if one.sustained_fps is not None and one.sustained_fps < one.fps
    }
    apart = _worst(halves, DRIFT, "{:.2f} ms, then {:.2f}")
    apart += _worst(slower, DRIFT, "{:.0f} runs a second in turn, then {:.0f} in one go")
    return [f"the machine changed its speed: {told}: mind cooling, try again" for told in apart]


def _worst(pairs: Mapping[str, tuple[float, float]], most: float, pattern: str) -> list[str]:
    """Return in words the pair that differs by the largest factor; nothing where none does by more than `most`."""
    factors = {name: max(pair) / min(pair) if min(pair) > 0 else math.inf for name, pair in pairs.items()}
    apart = [name for name, factor in factors.items() if factor > most]
    if not apart:
        return []
    name = max(apart, key=lambda name: factors[name])
    return [f"{name}: {pattern.format(*pairs[name])}{_more(len(apart) - 1)}"]


def _more(count: int) -> str:
    return f", and {count} more like it" if count else ""
