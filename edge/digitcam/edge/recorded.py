"""What a recording is: an uncompressed tar of PNGs, `tar tf` lists it, each with a line of JSON in its PAX comment.

A frame is one piece of bytes that can be read as soon as it is written, whatever comes behind it.
"""

from __future__ import annotations

import tarfile
from datetime import datetime
from typing import Annotated
from zlib import crc32

import cv2
import msgspec
import numpy as np

from digitcam.core.arrays import UInt8Array
from digitcam.edge.sources import Frame

SCHEMA = 1
BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK)
"""What a tar ends with."""


class Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of a frame but its picture; see `sources.Frame`. `crc32` is that of the PNG's bytes."""

    schema: int
    ts: datetime
    seq: int
    source: str
    capture_ms: float
    truth: str | None
    crc32: int
    steady_s: Annotated[float, msgspec.Meta(ge=0, le=1e9)] | None = None  # 1e9 s are thirty years


def png_of(image: UInt8Array) -> bytes:
    """Return an image, uint8 [height, width] or [height, width, 3] BGR, as PNG."""
    # The fastest compression: a camera waits.
    return bytes(cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1])


def pack(frame: Frame) -> bytes:
    """Return a frame as a member of a recording, without loss: its headers, its PNG and what fills the last block."""
    png = png_of(frame.image)
    note = Note(SCHEMA, frame.ts, frame.seq, frame.source, frame.capture_ms, frame.truth, crc32(png), frame.steady_s)
    member = tarfile.TarInfo(f"frame-{frame.seq:09}.png")
    member.size, member.mtime = len(png), int(frame.ts.timestamp())
    member.pax_headers = {"comment": msgspec.json.encode(note).decode()}
    return member.tobuf(tarfile.PAX_FORMAT) + png + bytes(-len(png) % BLOCK)


def unpack(member: tarfile.TarInfo, png: bytes) -> Frame:
    """Return a frame from a member's header and data.

    Raises
    ------
    ValueError
        Saying why it is none, or damaged.
    """
    if (text := member.pax_headers.get("comment")) is None:
        raise ValueError("has no note of its time: only `digitcam run --record` writes recordings")
    try:
        note = msgspec.json.decode(text, type=Note)
    except msgspec.DecodeError as error:
        raise ValueError(f"its note is damaged or of another digitcam: {error}") from None
    if note.schema != SCHEMA:
        raise ValueError(f"its version is {note.schema}, this digitcam's {SCHEMA}")
    if crc32(png) != note.crc32:
        raise ValueError("its picture is damaged")
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError("its picture is none that OpenCV reads")
    taken = (note.ts, note.seq, note.source, note.capture_ms, note.truth, note.steady_s)
    return Frame(image, *taken)  # type: ignore[arg-type]
