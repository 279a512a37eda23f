"""Cameras that OpenCV reads: V4L2 devices, RTSP, and MJPEG over HTTP.

`v4l2:///dev/video0?width=1280&height=720&fps=10&format=MJPG`, `rtsp://user:secret@host/path`, `http://host/path`;
behind a `#`, for each of them, when the camera counts as lost: `#stall_s=30&tries=5`, see `live.Watch`.
TLS encrypts, but OpenCV checks no certificates.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

import cv2
import msgspec
import numpy as np

from digitcam.core.arrays import UInt8Array
from digitcam.core.errors import ConfigError, SourceError
from digitcam.edge.sources.live import LiveSource, Watch
from digitcam.edge.sources.uris import read_options, redact

PORTS = {"rtsp": 554, "http": 80, "https": 443}
"""The streams' schemes, each with its usual port."""
_YUYV = int.from_bytes(b"YUYV", "little")
_VALUES = np.arange(256.0)
_LIMITED_Y, _LIMITED_UV = 16 + _VALUES * 219 / 255, 128 + (_VALUES - 128) * 224 / 255
# From full to limited range: uint8 [1, 256, 2].
_LIMITED = np.stack([_LIMITED_Y, _LIMITED_UV], axis=1).round().astype(np.uint8)[None]
_Pixels = Annotated[int, msgspec.Meta(ge=1)]


class Device(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a V4L2 camera is set; None leaves what it is.

    width, height
        Of a frame, in pixels.
    fps
        Frames a second; the camera takes the nearest it knows.
    format
        Four characters such as MJPG or YUYV, as `v4l2-ctl --list-formats-ext` names them.
    range
        How a camera that gives YUYV counts brightness: `limited`, 16 to 235, as the standard has it, or `full`, 0 to
        255. OpenCV takes the former for granted, so that a full range is clipped at both ends.
    """

    width: _Pixels | None = None
    height: _Pixels | None = None
    fps: Annotated[float, msgspec.Meta(gt=0)] | None = None
    format: Annotated[str, msgspec.Meta(pattern=r"^[ -~]{4}$")] | None = None
    range: Literal["limited", "full"] = "limited"


class CvCamera:
    """A camera through cv2.VideoCapture, whose reads wait in C and let other threads run meanwhile."""

    def __init__(self, capture: cv2.VideoCapture, convert: Callable[[UInt8Array], UInt8Array] | None = None) -> None:
        """Take a capture that is open, and what makes BGR of its frames where it does not do so itself."""
        self._capture, self._convert = capture, convert

    def read(self) -> UInt8Array | None:
        """Wait for the next frame, uint8 [height, width, 3] BGR; None when no more come."""
        try:
            there, image = self._capture.read()
        except cv2.error:
            return None
        if not there:
            return None
        return self._convert(image) if self._convert else image  # type: ignore[arg-type,return-value]

    def close(self) -> None:
        """Let go of the device or connection."""
        self._capture.release()


def camera_source(uri: str) -> LiveSource:
    """Return the source of a camera's URI.

    Raises
    ------
    ConfigError
        When the URI lacks a host or device, or has an option that is not known.
    """
    shown = redact(uri)
    try:
        parts = urlsplit(uri)
        # Reading the port checks it. What a parser says of a password it took for a port is nobody's business.
        whole = bool(parts.hostname) and parts.port != 0 and "@" not in parts.query + parts.fragment
    except ValueError:
        whole = False
    device = uri.startswith("v4l2:")
    if device and not (uri.startswith("v4l2:///") and len(parts.path) > 1):
        raise ConfigError(f"{shown}: write a V4L2 camera as v4l2:///dev/video0")
    if not device and not whole:
        mend = "write it as SCHEME://HOST:PORT/PATH, and / ? # @ : in a password as %2F %3F %23 %40 %3A"
        raise ConfigError(f"{shown}: no address of a camera: {mend}")
    shown = shown.partition("#")[0]
    watch = read_options(shown, parts.fragment, Watch)
    if device:
        settings = read_options(shown, parts.query, Device)
        return LiveSource(shown, partial(open_device, shown, Path(unquote(parts.path)), settings), watch)
    return LiveSource(shown, partial(open_stream, shown, parts._replace(fragment=""), watch.stall_s), watch)


def open_device(shown: str, path: Path, settings: Device) -> CvCamera:
    """Open a V4L2 camera.

    Raises
    ------
    SourceError
        When it is not there, not allowed, or in use.
    ConfigError
        When it does not take the settings.
    """
    _quieten()
    _see_that_it_is_there(shown, path)
    if not os.access(path, os.R_OK | os.W_OK):
        raise SourceError(f"{shown}: {path} is not allowed: add this user to the group that owns it, mostly video")
    capture = cv2.VideoCapture(str(path), cv2.CAP_V4L2)
    if not capture.isOpened():
        raise SourceError(f"{shown}: cannot open {path}: end what else uses it, if it is a camera at all")
    fourcc = cv2.VideoWriter_fourcc(*settings.format) if settings.format else None  # type: ignore[attr-defined]
    wanted = {
        # The format first: which sizes and rates there are depends on it.
        "format": (cv2.CAP_PROP_FOURCC, fourcc),
        "width": (cv2.CAP_PROP_FRAME_WIDTH, settings.width),
        "height": (cv2.CAP_PROP_FRAME_HEIGHT, settings.height),
        "fps": (cv2.CAP_PROP_FPS, settings.fps),
    }
    for key, value in wanted.values():
        if value is not None:
            capture.set(key, value)
    # Only now: a width may be taken together with its height alone.
    for name, (key, value) in wanted.items():
        if name != "fps" and value is not None and int(capture.get(key)) != value:
            capture.release()
            _see_that_it_is_there(shown, path)
            raise ConfigError(f"{shown}: the camera does not take this {name}: see v4l2-ctl --list-formats-ext")
    if settings.range == "limited":
        return CvCamera(capture)
    if int(capture.get(cv2.CAP_PROP_FOURCC)) != _YUYV or not capture.set(cv2.CAP_PROP_CONVERT_RGB, 0):
        capture.release()
        _see_that_it_is_there(shown, path)
        raise ConfigError(f"{shown}: range=full is for cameras that give YUYV: leave it out, or try format=YUYV")
    width, height = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    return CvCamera(capture, partial(from_full_range, shown, width, height))


def from_full_range(shown: str, width: int, height: int, image: UInt8Array) -> UInt8Array:
    """Return YUYV of full range as BGR, uint8 [height, width, 3].

    Parameters
    ----------
    shown
        What the camera is called in errors.
    width, height
        Of the frame, in pixels.
    image
        Its bytes, uint8 in any shape: OpenCV 4 gives [height, width, 2], OpenCV 5 [1, bytes].

    Raises
    ------
    SourceError
        When they are too few.
    """
    size = 2 * width * height
    if image.size < size:
        raise SourceError(f"{shown}: a frame of {image.size} bytes, not {size}: try another size or cable")
    yuyv = image.reshape(-1)[:size].reshape(height, width, 2)
    return cv2.cvtColor(cv2.LUT(yuyv, _LIMITED), cv2.COLOR_YUV2BGR_YUYV)  # type: ignore[return-value]


def open_stream(shown: str, address: SplitResult, stall_s: float) -> CvCamera:
    """Connect to a stream; it is given up after `stall_s` seconds, as is each read.

    Raises
    ------
    SourceError
        When it cannot be reached or is no video.
    """
    _quieten()
    timeout_ms = max(1, round(1e3 * stall_s))
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms]
    capture = cv2.VideoCapture(urlunsplit(address), cv2.CAP_FFMPEG, limits)
    if capture.isOpened():
        return CvCamera(capture)
    try:
        socket.create_connection((address.hostname, address.port or PORTS[address.scheme]), stall_s).close()
    except (OSError, UnicodeError) as error:  # the latter where the host cannot be a name
        reason = getattr(error, "strerror", None) or error
        raise SourceError(f"{shown}: cannot connect: {reason}: check its power and address") from None
    raise SourceError(f"{shown}: answers, but gives no video: check path, user and password")


def _see_that_it_is_there(shown: str, path: Path) -> None:
    """Raise SourceError where a device is not, or not any more: one that was pulled out takes no settings either."""
    if not path.exists():
        raise SourceError(f"{shown}: no {path}: plug the camera in, or choose from v4l2-ctl --list-devices")


def _quieten() -> None:
    """Keep OpenCV and FFmpeg from writing to standard error at every try; theirs may name the login, ours does not."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
