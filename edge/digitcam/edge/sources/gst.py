"""Whatever GStreamer plays, through `gi`: `gst:PIPELINE`, written as for `gst-launch-1.0`.

A Jetson's CSI camera, whose own converter makes the grey that the networks want::

    gst:nvarguscamerasrc sensor-id=0 ! video/x-raw(memory:NVMM),width=1280,height=720,framerate=10/1
    ! nvvidconv ! video/x-raw,format=GRAY8

A pipeline without an `appsink` gets `videoconvert` and one; in any case it gives the newest frame only, as GRAY8 or
BGR. What follows the last `#` says when it counts as lost, `#stall_s=30&tries=5` as for `live.Watch`, unless a blank,
a quote or a `!` comes after it: so a `#` inside of a pipeline is left alone, where need be in quotes.
`gi` belongs to the system (apt), so the virtual environment is made with `--system-site-packages`.
"""

from __future__ import annotations

import re
import time
from functools import partial
from typing import Any

import numpy as np

from digitcam.core.arrays import UInt8Array
from digitcam.core.errors import ConfigError, SourceError
from digitcam.edge.sources.live import LiveSource, Watch
from digitcam.edge.sources.uris import read_options, redact

INSTALL = (
    "sudo apt install -y python3-gi python3-gst-1.0 gstreamer1.0-plugins-good, "
    "and make the virtual environment with --system-site-packages"
)
"""How the library gets onto a device."""
PATIENCE = 0.9
"""The part of `stall_s` that a read waits: so a pipeline that stalls is closed, before its thread is left behind."""
SLICE_S = 0.1
"""How long a read waits for a frame before it looks for errors."""
CHANNELS = {"GRAY8": 1, "BGR": 3}
"""The formats taken, each with its bytes a pixel."""
_SINK = "video/x-raw,format=(string){" + ",".join(CHANNELS) + "}"
_OPTIONS = re.compile(r"""#([^#\s"'!]*)\Z""")
_APPSINK = re.compile(r"(?:\A|!)\s*appsink\b")


class GstCamera:
    """A pipeline that plays; see `open_pipeline`."""

    def __init__(self, shown: str, pipeline: Any, sink: Any, stall_s: float) -> None:
        self._shown, self._pipeline, self._sink, self._patience_s = shown, pipeline, sink, PATIENCE * stall_s

    def read(self) -> UInt8Array:
        """Wait for the next frame, uint8 [height, width] or [height, width, 3] BGR.

        Raises
        ------
        SourceError
            When the pipeline fails or ends, or gives no frame for most of `stall_s` seconds.
        """
        end_s = time.monotonic() + self._patience_s
        while (sample := self._sink.emit("try-pull-sample", round(SLICE_S * 1e9))) is None:
            self._check()
            if time.monotonic() > end_s:
                raise SourceError(f"{self._shown}: no frame for {self._patience_s:g} s: check the camera")
        return _image(sample)

    def close(self) -> None:
        """Stop it and let go of its devices and connections."""
        from gi.repository import Gst

        self._pipeline.set_state(Gst.State.NULL)

    def _check(self) -> None:
        """SourceError when the pipeline has failed or ended."""
        from gi.repository import Gst

        kinds = Gst.MessageType.ERROR | Gst.MessageType.EOS
        message = self._pipeline.get_bus().pop_filtered(kinds)
        if message is None:
            return
        if message.type == Gst.MessageType.EOS:
            raise SourceError(f"{self._shown}: the pipeline ended: no more frames come")
        error, more = message.parse_error()
        # The first is of a kind ("Resource not found."), the last line of the other names it.
        said = ": ".join(map(_line, [error.message, *(more or "").splitlines()[1:][-1:]]))
        raise SourceError(f"{self._shown}: {message.src.get_name()}: {said}: try it with gst-launch-1.0")


def gst_source(uri: str) -> LiveSource:
    """Return the source of a `gst:` URI.

    Raises
    ------
    ConfigError
        When there is no pipeline in it, or an option is not known.
    """
    whole = uri.removeprefix("gst:")
    found = _OPTIONS.search(whole)
    text = (whole[: found.start()] if found else whole).strip()
    shown = redact(f"gst:{text}")
    if not text:
        raise ConfigError(f"{shown}: after 'gst:' comes a pipeline, as for gst-launch-1.0")
    watch = read_options(shown, found[1] if found else "", Watch)
    return LiveSource(shown, partial(open_pipeline, shown, text, watch.stall_s), watch)


def open_pipeline(shown: str, text: str, stall_s: float) -> GstCamera:
    """Build a pipeline and start it.

    Raises
    ------
    ConfigError
        When GStreamer or one of the pipeline's elements is missing, or the pipeline is not written right.
    SourceError
        When it does not start.
    """
    gst, failure = _load()
    whole = text if _APPSINK.search(text) else f"{text} ! videoconvert ! appsink"
    try:
        pipeline = gst.parse_launch(whole)
    except failure as error:
        raise ConfigError(f"{shown}: {_line(error.message)}: try it with gst-launch-1.0") from None
    sinks = _appsinks(pipeline, gst)
    if len(sinks) != 1:
        raise ConfigError(f"{shown}: {len(sinks)} appsinks: one is needed, or none to get one at the end")
    for key, value in {"drop": True, "max-buffers": 1, "sync": False, "caps": gst.Caps.from_string(_SINK)}.items():
        sinks[0].set_property(key, value)
    camera = GstCamera(shown, pipeline, sinks[0], stall_s)
    if pipeline.set_state(gst.State.PLAYING) == gst.StateChangeReturn.FAILURE:
        try:
            camera._check()
            raise SourceError(f"{shown}: does not start: try it with gst-launch-1.0")
        finally:
            camera.close()
    return camera


def _appsinks(pipeline: Any, gst: Any) -> list[Any]:
    """Return the appsinks of a pipeline; a single element comes without a pipeline around it."""
    if not isinstance(pipeline, gst.Bin):
        return []
    found: list[Any] = []
    pipeline.iterate_sinks().foreach(found.append)
    return [sink for sink in found if sink.get_factory().get_name() == "appsink"]


def _image(sample: Any) -> UInt8Array:
    """Return a sample's picture, uint8 [height, width] for GRAY8 or [height, width, 3] for BGR."""
    from gi.repository import GstVideo

    said = sample.get_caps().get_structure(0)
    height, width, channels = said["height"], said["width"], CHANNELS[said["format"]]
    buffer = sample.get_buffer()
    # Hardware pads rows as it likes and says so with each buffer; where it does not, they are padded to four bytes.
    meta = GstVideo.buffer_get_video_meta(buffer)
    offset, stride = (meta.offset[0], meta.stride[0]) if meta else (0, (width * channels + 3) // 4 * 4)
    return rows(buffer.extract_dup(0, buffer.get_size()), offset, stride, (height, width, channels))


def rows(memory: bytes, offset: int, stride: int, shape: tuple[int, int, int]) -> UInt8Array:
    """Return a copy of a picture whose rows are padded.

    Parameters
    ----------
    memory
        Its bytes.
    offset, stride
        Where its first row begins, and from row to row, in bytes.
    shape
        Height, width and bytes a pixel.

    Returns
    -------
    uint8 [height, width] where a pixel has one byte, else [height, width, bytes].

    Raises
    ------
    SourceError
        When the memory is too small for it.
    """
    height, width, channels = shape
    try:
        seen = np.ndarray((height, width, channels), np.uint8, memory, offset, (stride, channels, 1))
    except (TypeError, ValueError):
        mend = "end the pipeline in plain video/x-raw"
        raise SourceError(f"a frame of {width}x{height} has {len(memory)} bytes only: {mend}") from None
    return np.array(seen if channels > 1 else seen[..., 0])


def _line(said: str) -> str:
    """Return an element's words on one line, without a full stop or secrets."""
    return redact(" ".join(said.split()).rstrip("."))


def _load() -> tuple[Any, Any]:
    """Return the module Gst, ready for use, and what it raises; ConfigError when it or what it needs is missing."""
    try:
        import gi

        gi.require_version("Gst", "1.0")
        gi.require_version("GstVideo", "1.0")
        from gi.repository import GLib, Gst
    except (ImportError, ValueError) as error:
        raise ConfigError(f"GStreamer cannot be loaded ({_line(str(error))}): {INSTALL}") from None
    Gst.init(None)
    return Gst, GLib.Error
