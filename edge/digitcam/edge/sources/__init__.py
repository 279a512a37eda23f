"""Sources of frames, each an URI and a context manager that yields frames."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import NamedTuple, Protocol, runtime_checkable

from digitcam.core.arrays import UInt8Array
from digitcam.core.errors import ConfigError


class Frame(NamedTuple):
    """One frame.

    image
        uint8 [height, width] grey or [height, width, 3] BGR.
    ts
        When it was taken, with a time zone.
    seq
        Counts from 0.
    source
        The image path or URI as given.
    capture_ms
        How long getting it took.
    truth
        The number it is known to show (drawn frames), else None.
    steady_s
        When it was taken by time.monotonic, a clock that nobody sets; None where that is not known, as of files.
    """

    image: UInt8Array
    ts: datetime
    seq: int
    source: str
    capture_ms: float
    truth: str | None = None
    steady_s: float | None = None


class Source(Protocol):
    """Yields frames while it is open. `failed` counts those that could not be read and were reported instead."""

    failed: int

    def __enter__(self) -> Source:
        """Open the source; SourceError when that fails."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        ...

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames; SourceError when no more can come though there ought to be some."""
        ...


@runtime_checkable
class Waiting(Protocol):
    """A source whose next frame may be long in coming.

    fresh_s
        After how many seconds without one something is wrong; None where none need ever come.
    """

    fresh_s: float | None

    def until(self, stop: Event) -> Iterator[Frame]:
        """Yield the frames until `stop` is set, and see that within half a second even while none comes."""
        ...


def frames_until(source: Source, stop: Event) -> Iterator[Frame]:
    """Return a source's frames; a source that waits for its frames ends soon after `stop` is set."""
    return source.until(stop) if isinstance(source, Waiting) else iter(source)


def is_recording(uri: str) -> bool:
    """Return whether an URI names a recording: its frames are of another time."""
    return uri.startswith("replay:") or (uri.endswith(".tar") and "://" not in uri)


def open_source(uri: str) -> Source:
    """Return the source an URI names.

    `demo:`, an image, a video file or a folder of images; `watch:FOLDER` for what comes into one; the cameras of
    `cameras`: `v4l2:///dev/video0`, `rtsp://`, `http://` and `https://`; a Pi's own camera, `picamera2://0`; and
    what GStreamer plays, `gst:PIPELINE`; `replay:FILE`, a recording.

    Raises
    ------
    ConfigError
        When the URI is of no known kind, or its options are not known.
    """
    from digitcam.edge.sources.demo import DemoSource
    from digitcam.edge.sources.files import ImageSource, VideoSource, is_image

    if uri.startswith("demo:"):
        return DemoSource(uri)
    if uri.startswith("watch:"):
        from digitcam.edge.sources.watch import WatchSource

        return WatchSource(uri)
    if uri.startswith(("v4l2:", "rtsp://", "http://", "https://")):
        from digitcam.edge.sources.cameras import camera_source

        return camera_source(uri)
    if uri.startswith("picamera2:"):
        from digitcam.edge.sources.picamera import picamera_source

        return picamera_source(uri)
    if uri.startswith("gst:"):
        from digitcam.edge.sources.gst import gst_source

        return gst_source(uri)
    if is_recording(uri):
        from digitcam.edge.sources.replay import ReplaySource

        return ReplaySource(uri)
    # A name of two letters and more before a colon is a kind that was mistyped, unless there is a file of that name.
    if "://" in uri or (re.match("[a-z][a-z0-9]+:", uri) and not Path(uri).exists()):
        from digitcam.edge.sources.uris import redact

        scheme = uri.partition(":")[0]
        known = "demo:, picamera2:, v4l2:, gst:, rtsp:, http:, https:, watch:, replay:, an image, a video or a folder"
        raise ConfigError(f"{redact(uri)}: sources of kind {scheme!r} are not known: use {known}")
    path = Path(uri)
    if uri.startswith(("/dev/video", "/dev/v4l/")):
        raise ConfigError(f"{uri}: is a device: write v4l2://{uri}")
    return ImageSource([path]) if path.is_dir() or is_image(path) else VideoSource(path)
