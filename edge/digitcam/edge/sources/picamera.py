"""A Raspberry Pi's own camera, through picamera2.

`picamera2://0?stream=lores&width=640&height=480&fps=10&exposure_us=20000&gain=2&focus=8&rotation=180`: the camera's
number, and how it is set, see `Settings`; behind a `#` when it counts as lost: `#stall_s=30&tries=5`, see `live.Watch`.
picamera2 belongs to the system (apt), so the virtual environment is made with `--system-site-packages`. A USB camera
is read as `v4l2:///dev/video0`.
"""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
import numpy as np

from digitcam.core.arrays import UInt8Array
from digitcam.core.errors import ConfigError, DigitcamError, SourceError
from digitcam.edge.sources.live import LiveSource, Watch
from digitcam.edge.sources.uris import read_options, redact

INSTALL = "sudo apt install -y python3-picamera2, and make the virtual environment with --system-site-packages"
"""How the library gets onto a Pi."""
PATIENCE = 0.9
"""The part of `stall_s` that a read waits: so a camera that stalls is closed, before its thread is left behind."""
BUFFERS = 3
"""How many frames the camera has memory for: one being taken, one read, one spare. It is CMA memory, and scarce."""
_Pixels = Annotated[int, msgspec.Meta(ge=2, multiple_of=2)]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a Pi's camera is set; None leaves what it is.

    stream
        `lores` gives the grey of the frame alone, and is the cheapest; `main` gives colour.
    width, height
        Of a frame, in pixels, even.
    fps
        Frames a second; the camera takes the nearest it knows.
    exposure_us
        Microseconds of light for each frame, at most 1000000 / fps; None for automatic.
    gain
        How much the sensor amplifies, from 1; None for automatic.
    focus
        Where the lens stands, in dioptres: 1 / distance in metres, 0 for far away. It stays there.
    rotation
        0, or 180 for a camera that hangs head down.
    """

    stream: Literal["main", "lores"] = "lores"
    width: _Pixels = 640
    height: _Pixels = 480
    fps: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 10.0
    exposure_us: Annotated[int, msgspec.Meta(ge=1)] | None = None
    gain: Annotated[float, msgspec.Meta(ge=1)] | None = None
    focus: Annotated[float, msgspec.Meta(ge=0)] | None = None
    rotation: int = 0


class PiCamera:
    """An opened and started camera; see `open_camera`."""

    def __init__(self, shown: str, camera: Any, settings: Settings, stall_s: float) -> None:
        self._shown, self._camera, self._stall_s, self._stream = shown, camera, stall_s, settings.stream
        given = camera.stream_configuration(settings.stream)
        self._format, (self._width, self._height) = given["format"], given["size"]

    def read(self) -> UInt8Array:
        """Wait for the next frame, uint8 [height, width] or [height, width, 3] BGR.

        Raises
        ------
        SourceError
            When none comes for most of `stall_s` seconds, or the library fails.
        """
        from concurrent.futures import TimeoutError as FutureTimeoutError

        with _told(self._shown):
            try:
                memory = self._camera.capture_array(self._stream, wait=PATIENCE * self._stall_s)
            except (FutureTimeoutError, TimeoutError):
                mend = "check the ribbon cable"
                raise SourceError(f"{self._shown}: no frame for {PATIENCE * self._stall_s:g} s: {mend}") from None
        return pixels(memory, self._format, self._width, self._height)

    def close(self) -> None:
        """Stop the camera and give back its memory, of which a Pi has little."""
        camera, self._camera = self._camera, None
        with _told(self._shown):
            camera.close()
        # What picamera2 made refers to itself, and keeps its buffers and descriptors until that is found out.
        del camera
        gc.collect()


def pixels(memory: UInt8Array, format: str, width: int, height: int) -> UInt8Array:
    """Return the picture in what picamera2 gives.

    Parameters
    ----------
    memory
        uint8 [height, width, 3] for RGB888, which is BGR in memory, else uint8 [rows, stride]: a plane of luminance,
        rows padded to the stride, then the colours.
    format
        As libcamera names it, one of GREY and COLOUR.
    width, height
        Of the picture, in pixels.

    Returns
    -------
    uint8 [height, width, 3] BGR, or [height, width] grey.
    """
    return memory if format == COLOUR else np.ascontiguousarray(memory[:height, :width])


GREY = ("YUV420", "YVU420", "NV12", "NV21")
COLOUR = "RGB888"


def picamera_source(uri: str) -> LiveSource:
    """Return the source of a `picamera2://` URI.

    Raises
    ------
    ConfigError
        When the URI lacks a camera's number, or has an option that is not known or does not fit.
    """
    shown, _, fragment = uri.partition("#")
    shown, parts = redact(shown), urlsplit(shown)
    if not parts.netloc.isdecimal() or parts.path not in ("", "/"):
        raise ConfigError(f"{shown}: write a Pi's camera as picamera2://0, with its number")
    settings, watch = read_options(shown, parts.query, Settings), read_options(shown, fragment, Watch)
    if settings.rotation in (90, 270):
        raise ConfigError(f"{shown}: the camera cannot turn by {settings.rotation}: turn the region instead")
    if settings.rotation not in (0, 180):
        raise ConfigError(f"{shown}: rotation is 0 or 180")
    if settings.exposure_us is not None and settings.exposure_us * settings.fps > 1e6:
        mend = f"lower fps to {1e6 / settings.exposure_us:.3g}, or exposure_us"
        raise ConfigError(f"{shown}: exposure_us is longer than a frame at {settings.fps:g} fps: {mend}")
    return LiveSource(shown, partial(open_camera, shown, int(parts.netloc), settings, watch.stall_s), watch)


def open_camera(shown: str, number: int, settings: Settings, stall_s: float) -> PiCamera:
    """Open, set and start a camera.

    Raises
    ------
    SourceError
        When it is not there, in use, or out of memory.
    ConfigError
        When picamera2 is missing, or the camera does not take the settings.
    """
    camera_class, transform = _load()
    with _told(shown):
        found = len(camera_class.global_camera_info())
        if number >= found:
            mend = "check the ribbon cable, and rpicam-hello --list-cameras"
            raise SourceError(f"{shown}: no camera number {number}, {found} found: {mend}")
        camera = _open(camera_class, number)
        try:
            _configure(shown, camera, settings, transform)
            camera.start()
            return PiCamera(shown, camera, settings, stall_s)
        except BaseException:
            camera.close()
            raise


def controls(settings: Settings) -> dict[str, tuple[str, Any]]:
    """Return libcamera's controls for the settings: name to the option it is from, and its value."""
    frame_us = round(1e6 / settings.fps)
    wanted: dict[str, tuple[str, Any]] = {"FrameDurationLimits": ("fps", (frame_us, frame_us))}
    if settings.exposure_us is not None:
        wanted["ExposureTime"] = ("exposure_us", settings.exposure_us)
    if settings.gain is not None:
        wanted["AnalogueGain"] = ("gain", settings.gain)
    if settings.focus is not None:
        wanted["AfMode"] = ("focus", 0)  # libcamera's AfModeManual
        wanted["LensPosition"] = ("focus", settings.focus)
    return wanted


def _configure(shown: str, camera: Any, settings: Settings, transform: Any) -> None:
    """Set an opened camera, and see that it took the settings."""
    wanted = controls(settings)
    for name, (option, _) in wanted.items():
        if name not in camera.camera_controls and option != "fps":
            raise ConfigError(f"{shown}: the camera has no {option} to set: leave {option} out")
    size = (settings.width, settings.height)
    turn = int(settings.rotation == 180)
    configuration = camera.create_video_configuration(
        main={"size": size, "format": COLOUR},
        # The main stream is always there, and never smaller than this one.
        lores={"size": size, "format": GREY[0]} if settings.stream == "lores" else None,
        raw=None,
        transform=transform(hflip=turn, vflip=turn),
        buffer_count=BUFFERS,
        queue=False,  # a frame that waited would be an old one
        controls={name: value for name, (_, value) in wanted.items() if name in camera.camera_controls},
    )
    camera.configure(configuration)
    given = camera.stream_configuration(settings.stream)
    taken = camera.camera_configuration()["transform"]
    if given["format"] not in (*GREY, COLOUR):
        mend = "read a USB camera as v4l2:///dev/video0"
        raise ConfigError(f"{shown}: the camera gives {given['format']}, which is not read here: {mend}")
    if tuple(given["size"]) != size:
        width, height = given["size"]
        raise ConfigError(f"{shown}: the camera does not take this size: use width={width}&height={height}")
    if (taken.hflip, taken.vflip) != (turn, turn):
        raise ConfigError(f"{shown}: the camera does not turn: leave rotation out and turn the region instead")


def _open(camera_class: Any, number: int) -> Any:
    """Return an opened camera; what fails half way leaves nothing open."""
    camera = camera_class.__new__(camera_class)
    try:
        camera.__init__(number)
    except BaseException:
        # picamera2 leaves this end of its pipe open where a camera is in use: tried again for days, they run out.
        with suppress(AttributeError, OSError):
            os.close(camera.notifyme_w)
        raise
    return camera


@contextmanager
def _told(shown: str) -> Iterator[None]:
    """Turn whatever the library raises, of which there is no list, into a SourceError."""
    try:
        yield
    except DigitcamError:
        raise
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        said = " ".join(str(cause).split()) or type(cause).__name__
        mend = "end what else uses the camera, and see rpicam-hello --list-cameras"
        raise SourceError(f"{shown}: {said}: {mend}") from None


def _load() -> tuple[Any, Any]:
    """Return the classes Picamera2 and Transform, which say no more than their exceptions do.

    Raises
    ------
    ConfigError
        When they are missing or do not fit this Python or numpy.
    """
    os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:ERROR")
    try:
        from libcamera import Transform  # type: ignore[import-not-found]
        from picamera2 import Picamera2
    except ImportError as error:
        raise ConfigError(f"picamera2 cannot be loaded ({error}): {INSTALL}") from None
    except ValueError as error:  # numpy.dtype size changed
        mend = "use apt's numpy: pip uninstall numpy in the virtual environment"
        raise ConfigError(f"picamera2 cannot be loaded ({error}): {mend}") from None
    logging.getLogger("picamera2").setLevel(logging.CRITICAL)
    return Picamera2, Transform
