"""What the tests with real parts share: a picture of a number, and GStreamer as the system has it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from digitcam.core.canvas import draw_glyphs, rng_for

NUMBER = "4096"
SYSTEM_PYTHON = "/usr/bin/python3"
_ASK = "import sys, gi; print(gi.__path__[0]); print(*sys.version_info[:2])"


def lacks(what: str) -> None:
    """Skip the test where a part is not installed; in CI all are."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(what)


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG of NUMBER, 640x320."""
    path = tmp_path_factory.mktemp("picture") / "meter.png"
    cv2.imwrite(
        str(path), cv2.resize(draw_glyphs(NUMBER, rng_for(11, 5, 0)).image, (640, 320), interpolation=cv2.INTER_CUBIC)
    )
    return path


@pytest.fixture(scope="session")
def gi_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the system's `gi` and nothing else of the system's, to be put on this Python's path.

    That is what `--system-site-packages` does for a virtual environment of the system's own Python.
    """
    asked = subprocess.run([SYSTEM_PYTHON, "-c", _ASK], capture_output=True, text=True)
    if asked.returncode:
        lacks("gi is not installed: apt-get install python3-gst-1.0 gstreamer1.0-plugins-good")
    found, version = asked.stdout.splitlines()
    if version != f"{sys.version_info[0]} {sys.version_info[1]}":
        lacks(f"gi is for Python {version.replace(' ', '.')}: run the tests with that")
    folder = tmp_path_factory.mktemp("gi")
    (folder / "gi").symlink_to(found)
    return folder


@pytest.fixture
def gstreamer(gi_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`gi` on the path of this process."""
    monkeypatch.syspath_prepend(gi_folder)


@pytest.fixture(scope="session")
def rtsp_server() -> Path:
    """The RTSP server's script, once what it needs is there."""
    ask = "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0'); "
    ask += "from gi.repository import Gst; Gst.init(None); "
    ask += "assert all(map(Gst.ElementFactory.find, ('x264enc', 'pngdec', 'rtph264pay')))"
    if subprocess.run([SYSTEM_PYTHON, "-c", ask], capture_output=True).returncode:
        names = "python3-gst-1.0 gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly"
        lacks(f"no RTSP server: apt-get install {names}")
    return Path(__file__).with_name("rtsp_server.py")


@pytest.fixture(scope="session")
def ffmpeg() -> str:
    """The ffmpeg command."""
    found = shutil.which("ffmpeg")
    if not found:
        lacks("ffmpeg is not installed: apt-get install it")
    return str(found)


@pytest.fixture
def port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
