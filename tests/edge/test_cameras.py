"""Real streams over loopback; V4L2 devices need a kernel with one, so here cv2.VideoCapture is played for them."""

from __future__ import annotations

import base64
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digitcam.core.canvas import draw_glyphs, rng_for
from digitcam.core.errors import ConfigError, SourceError
from digitcam.core.reading import decode_reading
from digitcam.edge.sources import Frame, cameras, open_source
from digitcam.edge.sources.live import LiveSource
from digitcam.edge.sources.uris import redact

WAIT_S = 30.0


def jpeg(number: str, scale: int = 1) -> bytes:
    image = draw_glyphs(number, rng_for(11, 5, 0)).image
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)  # type: ignore[assignment]
    return cv2.imencode(".jpg", image)[1].tobytes()


def grey(value: int) -> bytes:
    return cv2.imencode(".jpg", np.full((48, 64, 3), value, np.uint8))[1].tobytes()


class Streamer:
    """A camera's MJPEG server. `picture` is what it shows, `login` what it asks for; `flow` cleared, it freezes."""

    def __init__(self, picture: bytes, port: int = 0, login: str | None = None, every_s: float = 0.02) -> None:
        self.picture, self.login, self.every_s = picture, login, every_s
        self.flow, self.gone = threading.Event(), threading.Event()
        self.flow.set()
        streamer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                streamer.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Streamer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Drop everybody and be gone."""
        self.gone.set()
        self.flow.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = self.login and "Basic " + base64.b64encode(self.login.encode()).decode()
        if wanted and request.headers.get("Authorization") != wanted:
            request.send_response(401)
            request.send_header("WWW-Authenticate", 'Basic realm="camera"')
            request.end_headers()
            return
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        request.end_headers()
        try:
            while not self.gone.wait(self.every_s) and self.flow.wait(WAIT_S):
                picture = self.picture
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                request.wfile.write(head.encode() + picture + b"\r\n")
        except OSError:
            pass


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("digitcam.edge.sources.live.FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr("digitcam.edge.sources.live.LONGEST_PAUSE_S", 0.2)


def take(frames: Iterator[Frame], value: int) -> Frame:
    """Return the first frame of about this grey."""
    end = time.monotonic() + WAIT_S
    for frame in frames:
        if abs(int(frame.image[0, 0, 0]) - value) <= 2:
            return frame
        assert time.monotonic() < end
    raise AssertionError("the source ended")


def live(uri: str) -> LiveSource:
    source = open_source(uri)
    assert isinstance(source, LiveSource)
    return source


def test_a_server_that_dies_and_comes_back(capfd: pytest.CaptureFixture[str]) -> None:
    with ExitStack() as stack:
        with Streamer(grey(40)) as first:
            uri = f"http://127.0.0.1:{first.port}/"
            source = stack.enter_context(live(uri))
            frames = iter(source)
            assert take(frames, 40).source == uri
        # The camera is away until that has been noticed.
        while not source.health().problem:
            time.sleep(0.01)
        stack.enter_context(Streamer(grey(90), first.port))
        assert take(frames, 90).image.shape == (48, 64, 3)
        health = source.health()
    assert (health.state, health.reopened) == ("live", 1)
    said = capfd.readouterr().err
    assert said.startswith(f"digitcam: {uri}: no more frames come; trying again\n")
    # OpenCV and FFmpeg keep quiet.
    assert all(line.startswith(f"digitcam: {uri}: ") for line in said.splitlines())


def test_a_server_that_freezes_is_noticed_and_asked_anew(capfd: pytest.CaptureFixture[str]) -> None:
    with Streamer(grey(40)) as server, live(f"http://127.0.0.1:{server.port}/#stall_s=1") as source:
        frames = iter(source)
        assert take(frames, 40).source == f"http://127.0.0.1:{server.port}/"
        server.flow.clear()

        def thaw_once_noticed() -> None:
            while not source.health().problem:
                time.sleep(0.01)
            server.picture = grey(90)
            server.flow.set()

        thread = threading.Thread(target=thaw_once_noticed)
        thread.start()
        take(frames, 90)
        thread.join()
        assert source.health().reopened == 1


def test_a_slow_reader_gets_what_is_newest() -> None:
    with Streamer(grey(0)) as server, live(f"http://127.0.0.1:{server.port}/") as source:
        frames = iter(source)
        next(frames)
        # While the reader was busy the scene changed, and more frames than any buffer holds came since.
        server.picture = grey(200)
        before = source.health().frames
        while source.health().frames < before + 30:
            time.sleep(0.01)
        assert abs(int(next(frames).image[0, 0, 0]) - 200) <= 2
        health = source.health()
    # All but the two taken and perhaps one on hand.
    assert health.frames - health.dropped in (2, 3)


def test_a_login_works_and_never_shows(capfd: pytest.CaptureFixture[str]) -> None:
    with Streamer(grey(40), login="me:geheim") as server:
        with live(f"http://me:geheim@127.0.0.1:{server.port}/x?token=psst&fps=2") as source:
            shown = take(iter(source), 40).source
        assert shown == f"http://me:***@127.0.0.1:{server.port}/x?token=***&fps=2"
        wrong = live(f"http://me:falsch@127.0.0.1:{server.port}/#tries=2")
        with wrong, pytest.raises(SourceError) as caught:
            next(iter(wrong))
    assert str(caught.value) == (
        f"http://me:***@127.0.0.1:{server.port}/: answers, but gives no video: check path, user and password: "
        "gave up after 2 tries"
    )
    captured = capfd.readouterr()
    assert "falsch" not in captured.out + captured.err and "geheim" not in captured.out + captured.err


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_nobody_there(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    source = live(f"{scheme}://me:geheim@127.0.0.1:{port}/x#tries=1")
    words = rf"^{scheme}://me:\*\*\*@127.0.0.1:{port}/x: cannot connect: Connection refused: check its power and"
    with source, pytest.raises(SourceError, match=words):
        next(iter(source))


def digitcam_run(uri: str, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "digitcam.cli", "run", "--model", "canvas", "--source", uri, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_run_reads_a_camera_and_ends_at_once_when_it_is_frozen() -> None:
    with Streamer(jpeg("4096", 2), login="me:geheim") as server:
        with digitcam_run(f"http://me:geheim@127.0.0.1:{server.port}/") as child:
            assert child.stdout and child.stderr
            readings = [decode_reading(line) for line in islice(child.stdout, 5)]
            server.flow.clear()
            child.send_signal(signal.SIGTERM)
            out, err = child.communicate(timeout=WAIT_S)
        assert child.returncode == 0
    assert [reading.number for reading in readings] == ["4096"] * 5
    assert {reading.source for reading in readings} == {f"http://me:***@127.0.0.1:{server.port}/"}
    assert [reading.seq for reading in readings] == [0, 1, 2, 3, 4]
    assert "geheim" not in out + err and "Traceback" not in err


# URIs


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("rtsp://host/stream", "rtsp://host/stream"),
        ("rtsp://[::1]:554/stream", "rtsp://[::1]:554/stream"),
        ("rtsp://user@host:554/", "rtsp://user@host:554/"),
        ("rtsp://user:pa@ss/w#or?d@host/x", "rtsp://user:***@host/x"),
        ("http://h/v.cgi?loginuse=a&loginpas=b&x=1", "http://h/v.cgi?loginuse=a&loginpas=***&x=1"),
        ("http://h/?u=a&p=b&x=1", "http://h/?u=a&p=***&x=1"),
        ("http://h/?p=b", "http://h/?p=***"),
        ("http://h/?_sid=b&mp=2", "http://h/?_sid=***&mp=2"),
        ("http://h/?sid=b&step=2", "http://h/?sid=***&step=2"),
        ("http://h/?user=a&pwd=b&x=1#tries=2", "http://h/?user=a&pwd=***&x=1#tries=2"),
        ("rtsp://h/user=a&Password=b", "rtsp://h/user=a&Password=***"),
        ("v4l2:///dev/video0?width=640", "v4l2:///dev/video0?width=640"),
    ],
)
def test_what_is_shown_of_an_uri(uri: str, shown: str) -> None:
    assert redact(uri) == shown


@settings(deadline=None, max_examples=50)
@given(st.text("ab1é:/@?#%&=[]\n "), st.sampled_from(["", "user"]))
def test_no_password_is_shown(password: str, user: str) -> None:
    assert redact(f"rtsp://{user}:{password}@host/x") == f"rtsp://{user}:***@host/x"


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("v4l2:///dev/video0?widht=5", "option 'widht' is not known: use width, height, fps, format, range"),
        ("v4l2:///dev/video0?width=wide", "Expected `int`, got `str` - at `$.width`"),
        ("v4l2:///dev/video0?width=0", "$.width"),
        ("v4l2:///dev/video0?fps=0", "$.fps"),
        ("v4l2:///dev/video0?format=JPEG2", "$.format"),
        ("v4l2:///dev/video0?range=wide", "$.range"),
        ("v4l2:///dev/video0?width", "write options as width=VALUE, with & between them"),
        ("v4l2:///dev/video0?width=1&width=2", "an option is given twice"),
        ("v4l2:///dev/video0#stall=5", "option 'stall' is not known: use stall_s, tries"),
        ("v4l2:///dev/video0#stall_s=0", "$.stall_s"),
        ("v4l2://dev/video0", "write a V4L2 camera as v4l2:///dev/video0"),
        ("v4l2:", "write a V4L2 camera as v4l2:///dev/video0"),
        ("http:///x", "no address of a camera"),
        ("rtsp://me:geheim@host:x/", "no address of a camera"),
        ("rtsp://me:geh#eim@host/", "and / ? # @ : in a password as %2F"),
        ("rtsp://me:geh?eim@host/", "and / ? # @ : in a password as %2F"),
        ("rtsp://me:geheim@[host/", "no address of a camera"),
        ("ftp://me:geheim@host/", "'ftp' are not known"),
    ],
)
def test_what_is_no_camera(uri: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_source(uri)
    message = str(caught.value)
    assert words in message
    assert message.startswith(redact(uri).partition("#")[0])
    assert "geh" not in message and "eim" not in message and "\n" not in message


# V4L2


class Played:
    """Plays cv2.VideoCapture for a camera that gives 640x480 MJPG and nothing else."""

    opened: tuple[Any, ...] = ()
    there = True

    def __init__(self, *given: Any) -> None:
        type(self).opened = given
        self.set_to: dict[int, float] = {}
        self.released = False

    def isOpened(self) -> bool:  # noqa: N802
        return self.there

    def set(self, key: int, value: float) -> bool:
        self.set_to[key] = value
        return True

    def get(self, key: int) -> float:
        mjpg = cv2.VideoWriter_fourcc(*"MJPG")  # type: ignore[attr-defined]
        return {cv2.CAP_PROP_FRAME_WIDTH: 640, cv2.CAP_PROP_FRAME_HEIGHT: 480, cv2.CAP_PROP_FOURCC: mjpg}[key]

    def read(self) -> tuple[bool, np.ndarray]:
        return True, np.full((480, 640, 3), 7, np.uint8)

    def release(self) -> None:
        self.released = True


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cameras.cv2, "VideoCapture", Played)
    monkeypatch.setattr(Played, "there", True)
    (tmp_path / "video 0").touch()
    return tmp_path / "video 0"


def test_a_device_is_set_and_read(device: Path) -> None:
    uri = f"v4l2://{device}?width=640&height=480&fps=10&format=MJPG".replace(" ", "%20")
    with live(uri) as source:
        frame = next(iter(source))
    assert (frame.source, frame.image.shape) == (uri, (480, 640, 3))
    assert Played.opened == (str(device), cv2.CAP_V4L2)
    settings = cameras.Device(640, 480, 10, "MJPG")
    opened = cameras.open_device("cam:", device, settings)
    played: Any = opened._capture
    assert list(played.set_to) == [
        cv2.CAP_PROP_FOURCC,
        cv2.CAP_PROP_FRAME_WIDTH,
        cv2.CAP_PROP_FRAME_HEIGHT,
        cv2.CAP_PROP_FPS,
    ]
    opened.close()
    assert played.released


@pytest.mark.parametrize("query", ["width=1280", "height=720", "format=YUYV"])
def test_what_a_device_does_not_take_ends_the_source(device: Path, query: str) -> None:
    source = live(f"v4l2://{device}?{query}".replace(" ", "%20"))
    with source, pytest.raises(ConfigError, match=f"the camera does not take this {query.partition('=')[0]}: see v4l2"):
        next(iter(source))


class PlayedYuyv(Played):
    """Gives 2x1 YUYV as it is once it is told not to convert."""

    raw = True
    shape: tuple[int, ...] = (1, 2, 2)

    def set(self, key: int, value: float) -> bool:
        super().set(key, value)
        return self.raw or key != cv2.CAP_PROP_CONVERT_RGB

    def get(self, key: int) -> float:
        yuyv = cv2.VideoWriter_fourcc(*"YUYV")  # type: ignore[attr-defined]
        return {cv2.CAP_PROP_FRAME_WIDTH: 2, cv2.CAP_PROP_FRAME_HEIGHT: 1, cv2.CAP_PROP_FOURCC: yuyv}[key]

    def read(self) -> tuple[bool, np.ndarray]:
        assert self.set_to[cv2.CAP_PROP_CONVERT_RGB] == 0
        return True, np.array([255, 128, 0, 128], np.uint8).reshape(self.shape)


# As OpenCV 4 and OpenCV 5 hand it over.
@pytest.mark.parametrize("shape", [(1, 2, 2), (1, 4)])
def test_full_range_is_not_clipped(device: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]) -> None:
    monkeypatch.setattr(cameras.cv2, "VideoCapture", PlayedYuyv)
    monkeypatch.setattr(PlayedYuyv, "shape", shape)
    camera = cameras.open_device("cam:", device, cameras.Device(format="YUYV", range="full"))
    image = camera.read()
    assert image is not None
    assert image.tolist() == [[[255, 255, 255], [0, 0, 0]]]


def test_full_range_is_for_yuyv(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = "^cam:: range=full is for cameras that give YUYV: leave it out, or try format=YUYV$"
    with pytest.raises(ConfigError, match=words):
        cameras.open_device("cam:", device, cameras.Device(range="full"))
    monkeypatch.setattr(cameras.cv2, "VideoCapture", PlayedYuyv)
    monkeypatch.setattr(PlayedYuyv, "raw", False)
    with pytest.raises(ConfigError, match=words):
        cameras.open_device("cam:", device, cameras.Device(range="full"))


def test_part_of_a_frame_is_none() -> None:
    with pytest.raises(SourceError, match=r"^cam:: a frame of 3 bytes, not 4: try another size or cable$"):
        cameras.from_full_range("cam:", 2, 1, np.zeros((1, 3), np.uint8))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_full_range_keeps_grey_and_order(y0: int, y1: int, u: int, v: int) -> None:
    def bgr(*values: int) -> list[list[int]]:
        # What follows the frame in its buffer is no part of it.
        image = np.array([[*values, 77]], np.uint8)
        return cameras.from_full_range("cam:", 2, 1, image)[0].astype(int).tolist()  # type: ignore[no-any-return]

    assert np.abs(np.subtract(bgr(y0, 128, y1, 128), [[y0] * 3, [y1] * 3])).max() <= 2
    # JPEG's own equations, which are those of full range: blue from U, red from V.
    blue, _, red = bgr(y0, u, y1, v)[0]
    assert abs(blue - min(255, max(0, y0 + 1.772 * (u - 128)))) <= 4
    assert abs(red - min(255, max(0, y0 + 1.402 * (v - 128)))) <= 4


def test_a_device_pulled_out_while_it_is_opened_is_waited_for(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def get(played: Played, key: int) -> float:
        device.unlink(missing_ok=True)
        return -1

    monkeypatch.setattr(Played, "get", get)
    with pytest.raises(SourceError, match=r"^cam:: no .*/video 0: plug the camera in"):
        cameras.open_device("cam:", device, cameras.Device(width=640, height=480))


def test_a_device_that_is_not_there_or_in_use(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match=r"^cam:: no .*/gone: plug the camera in"):
        cameras.open_device("cam:", device.with_name("gone"), cameras.Device())
    monkeypatch.setattr(Played, "there", False)
    with pytest.raises(SourceError, match=r"^cam:: cannot open .*/video 0: end what else uses it"):
        cameras.open_device("cam:", device, cameras.Device())
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(SourceError, match=r"^cam:: .*/video 0 is not allowed: add this user to the group"):
        cameras.open_device("cam:", device, cameras.Device())
