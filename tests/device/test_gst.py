"""GStreamer through the system's `gi`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digitcam.core.errors import ConfigError, SourceError
from digitcam.core.reading import decode_reading
from digitcam.edge.sources import gst, open_source
from digitcam.edge.sources.live import LiveSource

NUMBER = "4096"  # as conftest draws it
WAIT_S = 120.0
LIVE = "videotestsrc is-live=true pattern=white"


def refused(uri: str, kind: type[Exception]) -> str:
    """Return the error that a source ends in."""
    with pytest.raises(kind) as caught, open_source(uri) as source:
        for _ in source:
            pass
    return str(caught.value)


def run(folder: Path, uri: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "digitcam.cli", "run", "--model", "canvas", "--source", uri, *words]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=WAIT_S)


# The command


def test_run_reads_a_pipeline(gi_folder: Path, picture: Path) -> None:
    pipeline = (
        f"filesrc location={picture} ! pngdec ! imagefreeze is-live=true ! video/x-raw,framerate=20/1 ! videoconvert ! "
        "video/x-raw,format=GRAY8"
    )
    done = run(gi_folder, f"gst:{pipeline} #stall_s=20", "--frames", "3")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    readings = [decode_reading(line) for line in done.stdout.splitlines()]
    assert [(reading.number, reading.source) for reading in readings] == [(NUMBER, f"gst:{pipeline}")] * 3


def test_run_says_what_is_wrong_on_one_line(gi_folder: Path) -> None:
    done = run(gi_folder, "gst:nosuchsrc user-pw=geheim ! fakesink")
    line = done.stderr.splitlines()[-1]
    assert done.returncode == 2
    assert 'gst:nosuchsrc user-pw=***: no element "nosuchsrc"' in line
    assert "geheim" not in done.stderr and "Traceback" not in done.stderr


# Frames


@pytest.mark.usefixtures("gstreamer")
@pytest.mark.parametrize(
    ("caps", "shape"),
    [
        # Rows of neither 323 nor 969 bytes: GStreamer pads them to four.
        ("format=GRAY8,width=323,height=241", (241, 323)),
        ("format=BGR,width=323,height=241", (241, 323, 3)),
        ("format=I420,width=322,height=240", (240, 322, 3)),
    ],
)
def test_padded_rows_come_without_their_padding(caps: str, shape: tuple[int, ...]) -> None:
    # A vertical edge that would lean, were the rows taken for longer or shorter than they are.
    bars = f"{LIVE} pattern=smpte75 ! video/x-raw,{caps}"
    with open_source(f"gst:{bars}") as source:
        image = next(iter(source)).image
    assert (image.shape, image.dtype, image.flags.writeable) == (shape, np.uint8, True)
    top = image[: shape[0] // 2]
    assert np.ptp(top.astype(int), axis=0).max() <= 2
    assert np.ptp(top.astype(int), axis=1).max() > 100


@pytest.mark.usefixtures("gstreamer")
@pytest.mark.parametrize("sink", ["! appsink", "! videoconvert ! video/x-raw,format=BGR ! appsink drop=false"])
def test_an_appsink_of_ones_own(sink: str) -> None:
    with open_source(f"gst:{LIVE} ! video/x-raw,format=GRAY8,width=64,height=48 {sink}") as source:
        image = next(iter(source)).image
    assert image.shape == ((48, 64, 3) if "BGR" in sink else (48, 64))
    assert image.min() > 230


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 3]), st.integers(0, 9), st.integers(0, 9), st.binary())
def test_rows(height: int, width: int, channels: int, padding: int, offset: int, rest: bytes) -> None:
    image = np.arange(height * width * channels, dtype=np.uint8).reshape(height, width, channels)
    padded = b"\xff" * offset + b"".join(row.tobytes() + b"\xff" * padding for row in image) + rest
    found = gst.rows(padded, offset, width * channels + padding, (height, width, channels))
    assert found.shape == ((height, width, 3) if channels == 3 else (height, width))
    assert found.tobytes() == image.tobytes()


def test_too_little_memory() -> None:
    with pytest.raises(SourceError, match=r"^a frame of 4x3 has 11 bytes only: end the pipeline in plain"):
        gst.rows(bytes(11), 0, 4, (3, 4, 1))


# What goes wrong


@pytest.mark.usefixtures("gstreamer")
@pytest.mark.parametrize(
    ("pipeline", "kind", "words"),
    [
        ("videotestsrc num-buffers=2", SourceError, "the pipeline ended: no more frames come: gave up after 1 tries"),
        (
            "filesrc name=file location=/nosuch ! pngdec",
            SourceError,
            "file: Resource not found: No such file",
        ),
        (
            "filesrc name=file location=/nosuch ! pngdec ! appsink",
            SourceError,
            "file: Resource not found: No such file",
        ),
        (
            "rtspsrc location=rtsp://me:geheim@127.0.0.1:1/x ! decodebin",
            SourceError,
            "gst:rtspsrc location=rtsp://me:***@",
        ),
        ("nosuch ! pngdec", ConfigError, 'gst:nosuch ! pngdec: no element "nosuch"'),
        ("videotestsrc ! ! pngdec", ConfigError, "syntax error: try it with gst-launch-1.0"),
        ("videotestsrc pattern=nosuch", ConfigError, 'could not set property "pattern"'),
        ("videotestsrc ! tee name=t ! appsink t. ! appsink", ConfigError, "2 appsinks: one is needed"),
        ("appsrc is-live=true #stall_s=0.3", SourceError, ": no frame for "),
    ],
)
def test_what_cannot_be_played(pipeline: str, kind: type[Exception], words: str) -> None:
    said = refused(f"gst:{pipeline}{'&' if '#' in pipeline else '#'}tries=1", kind)
    assert said.startswith("gst:") and words in said
    assert "\n" not in said and "geheim" not in said


@pytest.mark.usefixtures("gstreamer")
def test_a_pipeline_that_ends_is_played_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("digitcam.edge.sources.live.FIRST_PAUSE_S", 0.01)
    source = open_source("gst:videotestsrc num-buffers=2")
    assert isinstance(source, LiveSource)
    with source:
        frames = iter(source)
        while source.health().reopened == 0:
            next(frames)


def test_without_gi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gi", None)
    said = refused("gst:videotestsrc", ConfigError)
    assert said.startswith("GStreamer cannot be loaded (")
    assert "sudo apt install -y python3-gi python3-gst-1.0 gstreamer1.0-plugins-good, and make the virtual" in said


# URIs


@pytest.mark.parametrize(
    ("uri", "shown", "stall_s"),
    [
        ("gst:a ! b", "gst:a ! b", 10),
        ("gst:a ! b#stall_s=3", "gst:a ! b", 3),
        ("gst: a ! b  #stall_s=3&tries=2", "gst:a ! b", 3),
        ('gst:filesrc location="x#y.png" ! b', 'gst:filesrc location="x#y.png" ! b', 10),
        ("gst:filesrc location=x#y.png ! b #stall_s=4", "gst:filesrc location=x#y.png ! b", 4),
        ("gst:a user-pw=geheim", "gst:a user-pw=***", 10),
        ('gst:a user-id=me user-pw = "ge heim" ! b', "gst:a user-id=me user-pw =***", 10),
        ("gst:a location=rtsp://me:geheim@h/x ! b", "gst:a location=rtsp://me:***@h/x ! b", 10),
    ],
)
def test_pipelines_and_their_options(uri: str, shown: str, stall_s: float) -> None:
    source = open_source(uri)
    assert isinstance(source, LiveSource)
    assert (source.uri, source._watch.stall_s) == (shown, stall_s)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("gst:", "gst:: after 'gst:' comes a pipeline"),
        ("gst: #tries=1", "after 'gst:' comes a pipeline"),
        ("gst:a#stall=5", "gst:a: option 'stall' is not known: use stall_s, tries"),
        ("gst:filesrc location=x#y.png", "write options as stall_s=VALUE"),
    ],
)
def test_what_is_no_pipeline(uri: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_source(uri)
    assert words in str(caught.value)
