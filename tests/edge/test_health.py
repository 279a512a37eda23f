from __future__ import annotations

import os
from datetime import timedelta

import msgspec
import pytest
import readings
from readings import NOON, outcome, reading

from digitcam.edge import health
from digitcam.edge.config import Rules
from digitcam.edge.health import REJECTIONS, Health, resident_bytes
from digitcam.edge.outcome import Outcome
from digitcam.edge.sources.live import LiveSource, Watch
from digitcam.edge.trust import Trust


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that time.monotonic gives, in a list to change them."""
    now_s = [100.0]
    monkeypatch.setattr(health.time, "monotonic", lambda: now_s[0])
    return now_s


def test_a_run_that_has_not_begun(clock: list[float]) -> None:
    report = Health().report()
    assert (report.frames, report.accepted, report.rejected) == (0, 0, {})
    assert (report.frames_per_second, report.since_frame_s, report.confidence, report.last_accepted) == (None,) * 4
    assert report.source is None


def test_four_frames_by_hand(clock: list[float]) -> None:
    health = Health()
    for minute, found in enumerate((reading("7"), reading("8", [0.1]), reading("9", [0.95]), reading(""))):
        taken = NOON + timedelta(minutes=minute)
        health.count([outcome([readings.msgspec.structs.replace(found, ts=taken), reading("1", [0.1])])])
        clock[0] += 2
    report = health.report()
    # Four frames in six seconds are three steps of two; the last came two seconds ago.
    assert (report.frames, report.accepted, report.rejected) == (4, 2, {"low_confidence": 1, "no_number": 1})
    assert (report.frames_per_second, report.since_frame_s) == (0.5, 2.0)
    assert (report.confidence, report.last_accepted) == (0.0, NOON + timedelta(minutes=2))
    assert msgspec.to_builtins(report)["last_accepted"] == "2026-03-01T12:02:00Z"


def test_a_frame_gives_a_reading_of_each_region(clock: list[float]) -> None:
    health = Health()
    health.count([outcome(reading("7"), region="gas"), outcome(reading(""), region="water")])
    report = health.report()
    assert (report.frames, report.accepted, report.rejected, report.frames_per_second) == (1, 1, {"no_number": 1}, None)
    assert health.rejections() == [(NOON, "water", "", "no_number", "no_number")]


def test_the_last_rejections_say_why(clock: list[float]) -> None:
    health, trust = Health(), Trust(Rules(window=1, needed=1, digits=2))
    for number in range(REJECTIONS + 5):
        after, judged = trust.after([reading(str(number + 100))])
        health.count([Outcome("gas", judged, None, after)])
    told = health.rejections()
    assert [rejection.number for rejection in told] == [str(number + 105) for number in range(REJECTIONS)]
    assert told[0] == (NOON, "gas", "105", "pattern", "105 has 3 digits, rules.digits is 2")


def test_the_rate_is_that_of_the_last_frames(clock: list[float]) -> None:
    health_ = Health()
    for step_s in [60.0] * 50 + [0.25] * health.RATE_FRAMES:
        clock[0] += step_s
        health_.count([outcome(reading("7"))])
    assert health_.report().frames_per_second == 4.0


def test_the_rate_is_nought_while_no_frame_comes_that_should(clock: list[float]) -> None:
    health_ = Health()
    health_.source = camera = LiveSource("test:", lambda: pytest.fail("not to be opened"), Watch(stall_s=10))
    for _ in range(5):
        health_.count([outcome(reading("7"))])
        clock[0] += 0.25
    clock[0] += 9.5  # 9.75 s after the last
    assert health_.report().frames_per_second == 4.0
    clock[0] += 0.5
    assert health_.report().frames_per_second == 0.0
    # Where none need come, as in a folder, the last ones tell.
    camera.fresh_s = None
    assert health_.report().frames_per_second == 4.0


def test_a_cameras_health_is_told_and_that_of_files_is_none() -> None:
    health = Health()
    health.source = LiveSource("test:", lambda: pytest.fail("not to be opened"))
    camera = health.report().source
    assert camera is not None
    assert (camera.state, camera.frames) == ("closed", 0)


def test_the_memory_is_the_kernels_figure() -> None:
    fields = dict(line.split(":", 1) for line in open("/proc/self/status", encoding="ascii"))  # noqa: PTH123, SIM115
    kernel = int(fields["VmRSS"].split()[0]) * 1024
    assert abs(resident_bytes() - kernel) < 8e6
    assert resident_bytes() % os.sysconf("SC_PAGE_SIZE") == 0
