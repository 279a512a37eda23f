from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digitcam.core.errors import ConfigError, SourceError
from digitcam.edge import runner
from digitcam.edge.config import ConfigFile, RunConfig
from digitcam.edge.runner import run
from digitcam.edge.sources import Frame
from digitcam.edge.sources.live import FIRST_PAUSE_S, LONGEST_PAUSE_S, Health, LiveSource, Watch, pause_s

WAIT_S = 20.0
SOON = (0.01, 0.02)
STEADY = Watch(stall_s=WAIT_S)
"""A watch under which nothing stalls in a test."""


def picture(value: int, height: int = 48, width: int = 64) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


class FakeCamera:
    """Plays a script: an image is a frame, None the end, an exception is raised, `freeze` hangs until it is thawed.

    What can be called is called, and the next step follows at once, as it does after a thaw.
    """

    def __init__(self, *script: object) -> None:
        self.script = iter(script)
        self.frozen, self.closed = threading.Event(), threading.Event()
        self._thawed = threading.Semaphore(0)

    def thaw(self, times: int = 1) -> None:
        self._thawed.release(times)

    def read(self) -> np.ndarray | None:
        step = next(self.script, None)
        while isinstance(step, str) or callable(step):
            if callable(step):
                step()
            else:
                self.frozen.set()
                assert self._thawed.acquire(timeout=WAIT_S)
            step = next(self.script, None)
        if isinstance(step, Exception):
            raise step
        assert step is None or isinstance(step, np.ndarray)
        return step

    def close(self) -> None:
        self.closed.set()


class Cameras:
    """Opens one camera after the other; an exception in place of one is raised. All are thawed at the end."""

    def __init__(self) -> None:
        self.plan: list[FakeCamera | Exception] = []
        self.opened = 0

    def __call__(self) -> FakeCamera:
        camera = self.plan[self.opened]
        self.opened += 1
        if isinstance(camera, Exception):
            raise camera
        return camera

    def source(self, *plan: FakeCamera | Exception, **options: object) -> LiveSource:
        self.plan = list(plan)
        return LiveSource("cam:", self, **{"watch": STEADY, "pauses_s": SOON, **options})  # type: ignore[arg-type]


@pytest.fixture
def cameras() -> Iterator[Cameras]:
    cameras = Cameras()
    yield cameras
    for camera in cameras.plan:
        if isinstance(camera, FakeCamera):
            camera.thaw(9)


@pytest.fixture(autouse=True)
def _no_wait_for_frozen_cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("digitcam.edge.sources.live.CLOSE_S", 0.05)


def take(source: LiveSource, count: int) -> list[Frame]:
    """Return so many frames of a source; fail where they do not come."""
    stop = threading.Event()
    timer = threading.Timer(WAIT_S, stop.set)
    timer.start()
    frames = list(islice(source.until(stop), count))
    timer.cancel()
    assert len(frames) == count
    return frames


def eventually(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def values(frames: list[Frame]) -> list[int]:
    return [int(frame.image[0, 0, 0]) for frame in frames]


def test_a_slow_reader_gets_the_newest_frame_and_the_others_are_counted(cameras: Cameras) -> None:
    camera = FakeCamera(*(picture(value) for value in range(5)), "freeze", picture(9), "freeze")
    with cameras.source(camera) as source:
        assert camera.frozen.wait(WAIT_S)  # five frames have come, nobody took one
        first = take(source, 1)
        camera.thaw()
        second = take(source, 1)
        health = source.health()
    assert values(first + second) == [4, 9]
    assert (health.frames, health.dropped, health.reopened) == (6, 4, 0)
    assert 0 < first[0].steady_s < second[0].steady_s <= time.monotonic()  # type: ignore[operator]
    assert all(frame.source == "cam:" and frame.capture_ms >= 0 and frame.ts.tzinfo for frame in first + second)


def test_frames_are_counted_and_may_change_their_size(cameras: Cameras) -> None:
    going_on = threading.Semaphore(0)

    class Patient(FakeCamera):
        """Gives its next frame once the last was taken."""

        def read(self) -> np.ndarray | None:
            assert going_on.acquire(timeout=WAIT_S)
            return super().read()

    going_on.release()
    seen = []
    with cameras.source(Patient(picture(1), picture(2, 96, 128), picture(3, 24, 32))) as source:
        for frame in source:
            seen.append((frame.seq, frame.image.shape))
            going_on.release()
            if len(seen) == 3:
                break
        going_on.release()
    assert seen == [(0, (48, 64, 3)), (1, (96, 128, 3)), (2, (24, 32, 3))]


@pytest.mark.parametrize(
    ("end", "problem"),
    [(None, "cam:: no more frames come"), (SourceError("cam:: unplugged"), "cam:: unplugged")],
)
def test_a_camera_that_dies_is_closed_and_opened_again(
    cameras: Cameras, end: Exception | None, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    away = SourceError("cam:: no such device")
    first, second = FakeCamera(picture(1), "freeze", end), FakeCamera(picture(2), "freeze")
    with cameras.source(first, away, away, away, second) as source:
        frames = take(source, 1)
        first.thaw()
        frames += take(source, 1)
        health = source.health()
    assert values(frames) == [1, 2]
    assert first.closed.is_set()
    assert (health.state, health.frames, health.reopened, health.problem) == ("live", 2, 1, "")
    assert health.since_frame_s is not None
    # What is the same as at the last try is not said again.
    assert capsys.readouterr().err.splitlines() == [
        f"digitcam: {problem}; trying again",
        "digitcam: cam:: no such device; trying again",
        "digitcam: cam:: frames come again",
    ]


def test_a_frozen_camera_is_left_behind_and_its_late_frame_thrown_away(
    cameras: Cameras, capsys: pytest.CaptureFixture[str]
) -> None:
    frozen = FakeCamera(picture(1), "freeze", picture(66))
    fresh = FakeCamera(picture(2), "freeze", picture(3), "freeze")
    with cameras.source(frozen, fresh, watch=Watch(stall_s=0.5)) as source:
        frames = take(source, 2)
        frozen.thaw()
        assert frozen.closed.wait(WAIT_S)  # by its own thread
        fresh.thaw()
        frames += take(source, 1)
        health = source.health()
    assert values(frames) == [1, 2, 3]
    assert (health.frames, health.dropped, health.reopened) == (3, 0, 1)
    assert "digitcam: cam:: no frame for 0.5 s; trying again\n" in capsys.readouterr().err


def test_a_camera_that_hangs_while_it_is_opened_counts_as_frozen(cameras: Cameras) -> None:
    thaw = threading.Event()
    late, good = FakeCamera(picture(66)), FakeCamera(picture(2), "freeze")
    openings: list[Callable[[], FakeCamera]] = [lambda: (thaw.wait(WAIT_S), late)[1], lambda: good]
    with LiveSource("cam:", lambda: openings.pop(0)(), Watch(stall_s=0.2), SOON) as source:
        assert values(take(source, 1)) == [2]
        thaw.set()
        assert late.closed.wait(WAIT_S)
        assert source.health().frames == 1
        good.thaw()


def test_when_too_many_reads_hang_the_source_ends(cameras: Cameras) -> None:
    plan = [FakeCamera("freeze", picture(1)) for _ in range(3)]
    with cameras.source(*plan, watch=Watch(stall_s=0.05)) as source:
        with pytest.raises(SourceError, match=r"^cam:: no frame for 0.05 s: 3 reads of it hang: plug it in anew"):
            next(iter(source))
        assert cameras.opened == 3
        for camera in plan:
            camera.thaw()
            assert camera.closed.wait(WAIT_S)


def test_tries_may_have_an_end(cameras: Cameras, capsys: pytest.CaptureFixture[str]) -> None:
    away = SourceError("cam:: no such device")
    source = cameras.source(away, away, away, watch=Watch(tries=3))
    with source, pytest.raises(SourceError, match=r"^cam:: no such device: gave up after 3 tries$"):
        next(iter(source))
    assert cameras.opened == 3
    assert capsys.readouterr().err == "digitcam: cam:: no such device; trying again\n"


def test_a_camera_that_dies_at_once_each_time_is_given_ever_longer_pauses(cameras: Cameras) -> None:
    # Three deaths in a row, though a frame came each time: it never held out for longer than the pause before it.
    plan = [FakeCamera(picture(value), None) for value in range(3)]
    watch = Watch(tries=3, stall_s=WAIT_S)
    with cameras.source(*plan, watch=watch, pauses_s=(0.4, 0.4)) as source, pytest.raises(SourceError, match="gave up"):
        for _ in source:
            pass
    assert cameras.opened == 3


@pytest.mark.parametrize("error", [ConfigError("cam:: the camera does not take this width"), ZeroDivisionError("bug")])
def test_what_no_trying_mends_ends_the_source(cameras: Cameras, error: Exception) -> None:
    with cameras.source(error) as source, pytest.raises(type(error), match=str(error)):
        next(iter(source))
    assert cameras.opened == 1


def test_a_camera_that_refuses_what_it_took_before_is_lost_like_any_other(
    cameras: Cameras, capsys: pytest.CaptureFixture[str]
) -> None:
    other = ConfigError("cam:: the camera does not take this width")
    first, again = FakeCamera(picture(1), "freeze", None), FakeCamera(picture(2), "freeze")
    with cameras.source(first, other, other, again) as source:
        frames = take(source, 1)
        first.thaw()
        frames += take(source, 1)
    assert values(frames) == [1, 2]
    assert capsys.readouterr().err.splitlines() == [
        "digitcam: cam:: no more frames come; trying again",
        f"digitcam: {other}; trying again",
        "digitcam: cam:: frames come again",
    ]


def test_stop_ends_a_wait_for_a_frozen_camera(cameras: Cameras) -> None:
    camera, stop = FakeCamera("freeze"), threading.Event()

    def stop_once_frozen() -> None:
        assert camera.frozen.wait(WAIT_S)
        stop.set()

    with cameras.source(camera) as source:
        thread = threading.Thread(target=stop_once_frozen)
        thread.start()
        assert list(source.until(stop)) == []
        thread.join()
    assert source.health().state == "closed"


def test_closing_while_it_waits_to_open_again_leaves_no_thread(cameras: Cameras) -> None:
    before = set(threading.enumerate())
    with cameras.source(SourceError("cam:: away"), pauses_s=(3600, 3600)) as source:
        eventually(lambda: source.health().state == "waiting")
    assert source.health().problem == "cam:: away"
    eventually(lambda: set(threading.enumerate()) <= before)


def test_a_signal_ends_a_run_whose_camera_is_frozen_and_the_watchdog_starved(
    cameras: Cameras, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[bytes] = []

    def kill_once_ready() -> None:
        while not said or not said[-1].startswith(b"READY"):
            said.append(manager.recv(99))
        os.kill(os.getpid(), signal.SIGTERM)

    camera = FakeCamera(picture(0), kill_once_ready, "freeze")
    monkeypatch.setattr(runner, "open_source", lambda uri: cameras.source(camera))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(WAIT_S)
        assert run(RunConfig()) == 1
        said.append(manager.recv(99))
    assert said == [b"STATUS=reads nothing yet", b"READY=1", b"STOPPING=1"]
    assert "read 1 frames, 0 accepted" in capfd.readouterr().err


def test_a_reload_whose_camera_refuses_goes_back_to_the_one_before(
    cameras: Cameras, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "run.toml"
    config.write_text("source = 'demo:1'")

    been_read, read = threading.Event(), runner.Runner.read
    monkeypatch.setattr(runner.Runner, "read", lambda *given: (read(*given), been_read.set())[0])

    def reload_with_another_camera() -> None:
        assert been_read.wait(WAIT_S)
        config.write_text("source = 'demo:2'")
        os.kill(os.getpid(), signal.SIGHUP)

    first = FakeCamera(picture(0), reload_with_another_camera, "freeze")
    again = FakeCamera(picture(0), picture(0), lambda: os.kill(os.getpid(), signal.SIGTERM), "freeze")
    cameras.plan = [first, ConfigError("cam:: the camera does not take this width"), again]
    opened: list[str] = []

    def open_source(uri: str) -> LiveSource:
        opened.append(uri)
        return LiveSource("cam:", cameras, STEADY, SOON)

    monkeypatch.setattr(runner, "open_source", open_source)
    file = ConfigFile(config)
    assert run(file.load(), file=file) == 1
    assert opened == ["demo:1", "demo:2", "demo:1"]
    read_anew, back, summary = capsys.readouterr().err.splitlines()
    assert read_anew == "digitcam: the configuration was read anew"
    assert back == "digitcam: cam:: the camera does not take this width: back to the configuration before"
    assert summary.startswith("digitcam: read ")


def test_the_services_watchdog_lets_a_lost_camera_be_tried_after_the_longest_pause() -> None:
    unit = (Path(__file__).parents[2] / "edge" / "deploy" / "digitcam.service").read_text(encoding="utf-8")
    (watchdog_s,) = map(float, re.findall(r"^WatchdogSec=(\d+)$", unit, re.MULTILINE))
    pauses_s = [pause_s(losses, FIRST_PAUSE_S, LONGEST_PAUSE_S) for losses in range(1, 8)]
    assert pauses_s == [1, 2, 4, 8, 16, 32, 60]
    # And the camera has time to be opened and give a frame.
    assert watchdog_s >= sum(pauses_s) + 2 * Watch().stall_s


def test_health_is_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(Health("live", 7, 2, 1, 0.5, ""))) == {
        "state": "live",
        "frames": 7,
        "dropped": 2,
        "reopened": 1,
        "since_frame_s": 0.5,
        "problem": "",
    }


def test_pauses_by_hand() -> None:
    assert [pause_s(losses, 1, 60) for losses in range(9)] == [0, 1, 2, 4, 8, 16, 32, 60, 60]


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 10**9), st.floats(0.01, 10), st.floats(10, 1000))
def test_pauses_grow_within_their_bounds(losses: int, first_s: float, longest_s: float) -> None:
    pause = pause_s(losses, first_s, longest_s)
    assert first_s <= pause <= longest_s
    assert pause <= pause_s(losses + 1, first_s, longest_s) <= max(longest_s, 2 * pause)
