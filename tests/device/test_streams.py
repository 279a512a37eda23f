"""RTSP with H.264 from GStreamer's server, and MJPEG over HTTP from ffmpeg, read by the shipped network."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from digitcam.core.bundle import open_bundle
from digitcam.edge.pipeline import Reader
from digitcam.edge.sources import Frame, open_source
from digitcam.edge.sources.live import LiveSource

NUMBER = "4096"  # as conftest draws it
WAIT_S = 60.0


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("digitcam.edge.sources.live.FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr("digitcam.edge.sources.live.LONGEST_PAUSE_S", 0.5)


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(open_bundle("canvas"))


def live(uri: str) -> LiveSource:
    source = open_source(uri)
    assert isinstance(source, LiveSource)
    return source


def take(source: LiveSource, frames: Iterator[Frame]) -> Frame:
    """Return the next frame; say why where none comes."""
    end = time.monotonic() + WAIT_S
    for frame in frames:
        return frame
    raise AssertionError(f"no frame until {end}: {source.health().problem}")


@contextmanager
def killed_at_the_end(command: list[str], ready: str | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run a server, from when it says `ready`, until the end of the block or its own."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            if ready:
                assert process.stdout and process.stdout.readline().strip() == ready
            yield process
        finally:
            process.kill()


def wait_until_lost(source: LiveSource) -> None:
    end = time.monotonic() + WAIT_S
    while not source.health().problem:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_rtsp_from_a_server_that_dies_and_comes_back(
    rtsp_server: Path, picture: Path, port: int, reader: Reader
) -> None:
    command = ["/usr/bin/python3", str(rtsp_server), str(port), str(picture)]
    with live(f"rtsp://127.0.0.1:{port}/meter#stall_s=15") as source:
        frames = iter(source)
        with killed_at_the_end(command, "ready"):
            frame = take(source, frames)
            assert frame.image.shape == (320, 640, 3)
            assert reader.read(frame)[0].number == NUMBER
        wait_until_lost(source)
        with killed_at_the_end(command, "ready"):
            while source.health().reopened == 0:
                frame = take(source, frames)
            assert reader.read(frame)[0].number == NUMBER


def test_mjpeg_from_a_server_that_dies_and_comes_back(ffmpeg: str, picture: Path, port: int, reader: Reader) -> None:
    # ffmpeg serves one viewer at a time, and none before it asks.
    uri = f"http://127.0.0.1:{port}/meter.mjpg"
    command = f"{ffmpeg} -nostdin -v quiet -re -loop 1 -framerate 15 -i {picture} -c:v mjpeg -q:v 3 -f mpjpeg -listen 1"
    with live(f"{uri}#stall_s=15") as source:
        frames = iter(source)
        with killed_at_the_end([*command.split(), uri]):
            frame = take(source, frames)
            assert frame.image.shape == (320, 640, 3)
            assert reader.read(frame)[0].number == NUMBER
        wait_until_lost(source)
        with killed_at_the_end([*command.split(), uri]):
            while source.health().reopened == 0:
                frame = take(source, frames)
            assert reader.read(frame)[0].number == NUMBER
