import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digitcam.benchmarks import timing
from digitcam.benchmarks.timing import (
    Timer,
    Times,
    fresh_process,
    histogram,
    interleaved,
    summaries,
    summary,
    sustained,
)
from digitcam.core.arrays import UInt8Array
from digitcam.core.bundle import open_bundle
from digitcam.core.errors import BenchmarkInvalidError, ConfigError

IMAGES = np.zeros((2, 4, 4, 1), np.uint8)


class Machine:
    """A clock that only its engines move, and a list of what they did."""

    def __init__(self, **ms: tuple[float, float]) -> None:
        """Begin; `ms` is what each format takes in the first and in the second half."""
        self.ms, self.halves, self.now_s = ms, 0, 0.0
        self.ran: list[str] = []

    def clock(self) -> float:
        return self.now_s

    @contextmanager
    def half(self) -> Iterator[Timer]:
        half = self.halves
        self.halves += 1

        def run(format: str, runs: int) -> list[float]:
            self.ran += [format] * runs
            return [self.ms[format][half]] * runs

        yield run


class Engine:
    def __init__(self, machine: Machine, ms: float) -> None:
        self.machine, self.ms = machine, ms

    def run(self, image: UInt8Array) -> dict[str, np.ndarray]:
        assert image.shape == (1, 4, 4, 1)
        self.machine.now_s += self.ms / 1e3
        return {}


def test_summary_by_hand() -> None:
    found = summary(9.0, [float(ms) for ms in range(1, 102)], reference_ms=102.0)
    assert (found.p50_ms, found.p90_ms, found.p99_ms, found.max_ms) == (51, 91, 100, 101)
    assert (found.runs, found.first_ms, found.ratio) == (101, 9, 2)
    assert found.seconds == pytest.approx(5.151)
    assert found.fps == pytest.approx(1000 / 51, abs=0.1)
    # Blocks of 25 with means 13, 38, 63, 88 and a last of one run of 101: the middle rate is that of 63 ms.
    assert found.burst_fps == pytest.approx(1000 / 63, abs=0.1)


def test_no_runs_are_no_result() -> None:
    with pytest.raises(BenchmarkInvalidError):
        summary(1.0, [], 1.0)


def test_formats_take_turns_and_each_half_is_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "WARM_UP", 2)
    monkeypatch.setattr(timing, "BLOCK", 3)
    machine, looks = Machine(slow=(8.0, 8.0), fast=(2.0, 4.0)), []
    found = interleaved(machine.half, ["slow", "fast"], 12, 0.0, look=lambda: looks.append(len(machine.ran)))
    # First run, warm-up, then blocks of three in turn; the same once more.
    half = ["slow"] * 3 + ["fast"] * 3 + (["slow"] * 3 + ["fast"] * 3) * 2
    assert machine.ran == half + half and machine.halves == 2
    assert looks == [9, 12, 15, 18, 27, 30, 33, 36]
    assert found["fast"].first_ms == 2
    assert found["fast"].halves_ms == ([2.0] * 6, [4.0] * 6)
    told = summaries(found, "slow")
    # 8 / 2 and 8 / 4; over both halves the median lies at 3.
    assert (told["fast"].ratios, told["fast"].ratio) == ((4.0, 2.0), pytest.approx(8 / 3, abs=1e-3))
    assert (told["fast"].halves_ms, told["slow"].halves_ms) == ((2.0, 4.0), (8.0, 8.0))
    assert (told["slow"].ratios, told["slow"].ratio, told["slow"].runs) == ((1.0, 1.0), 1.0, 12)


def test_a_quick_format_runs_as_long_as_asked() -> None:
    found = interleaved(Machine(only=(1.0, 1.0)).half, ["only"], min_runs=2, min_seconds=0.09)
    # 45 ms in each half, in blocks of 25 ms.
    assert [len(half) for half in found["only"].halves_ms] == [50, 50]


def test_a_process_of_its_own_loads_and_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_loaded", lambda *_: pytest.fail("timed in this process"))
    with fresh_process(open_bundle("canvas").path, 1) as run:
        times = run("int8.onnx", 3)
        assert len(times) == 3 and min(times) > 0
        # What is wrong with a network is told as it is here.
        with pytest.raises(ConfigError, match=r"has no format 'int9'"):
            run("int9", 1)


def test_a_long_run_counts_no_looking() -> None:
    machine = Machine()

    def look() -> None:
        machine.now_s += 0.5

    # A block takes 0.1 s and the look after it 0.5 s: two of them make a second.
    assert sustained(Engine(machine, 4.0), IMAGES, 1.0, look, machine.clock) == (50, pytest.approx(0.2))


def test_a_histogram_by_hand() -> None:
    # Bins begin at 2, 2.1, 2.205 ...: 2.2 lies in the second, 2.21 in the third.
    found = histogram([2.0, 2.05, 2.2, 2.21])
    assert (found.low_ms, found.step, found.counts) == (2.0, 1.05, [2, 1, 1])
    assert histogram([3.0, 3.0]).counts == [2]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(1e-3, 1e5), min_size=1, max_size=50))
def test_a_histogram_holds_every_time_in_its_bin(times: list[float]) -> None:
    found = histogram(times)
    assert sum(found.counts) == len(times)
    assert found.counts[0] and found.counts[-1]
    edges = [min(times) * found.step**k for k in range(len(found.counts) + 1)]
    for k, count in enumerate(found.counts):
        sure = sum(edges[k] * (1 + 1e-9) < t < edges[k + 1] * (1 - 1e-9) for t in times)
        perhaps = sum(edges[k] * (1 - 1e-9) <= t <= edges[k + 1] * (1 + 1e-9) for t in times)
        assert sure <= count <= perhaps


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(1, 100), min_size=2, max_size=30), st.floats(1, 10))
def test_the_ratio_is_by_how_much_all_times_are_shorter(times: list[float], factor: float) -> None:
    split = len(times) // 2
    halves = times[:split], times[split:]
    shorter = [t / factor for t in halves[0]], [t / factor for t in halves[1]]
    both = {"reference": Times(times[0], halves), "other": Times(times[0], shorter)}
    found = summaries(both, "reference")["other"]
    assert found.ratios is not None
    for ratio in (found.ratio, *found.ratios):
        assert math.isclose(ratio, factor, rel_tol=2e-3)  # as results are rounded
