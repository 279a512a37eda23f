"""A reading: what one number in one frame is, as it is printed, published and stored (one JSON line)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from digitcam.core.boxes import BoxXYWH
from digitcam.core.decode import Line

SCHEMA = 1


class ReadDigit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One digit, its confidence 0..1 and where it stands."""

    value: str
    confidence: float
    box: BoxXYWH


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which network read it; `sha256` is that of its file."""

    name: str
    format: str
    sha256: str


class Latency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the time of a frame went, of two looks together, in milliseconds; `total` is their sum."""

    capture: float
    preprocess: float
    inference: float
    decode: float
    total: float


class Reading(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One number in one frame. A frame without a number gives a reading with an empty `number`.

    ts
        When the frame was taken, RFC 3339 with offset.
    seq
        Counts the frames of a source from 0.
    source
        The image path or source URI as given.
    region
        The name of the part of the frame that was read; empty for the whole frame.
    number
        The digits as a string: leading zeros count.
    confidence
        0..1, the probability that all digits are right.
    accepted, reason
        Whether it counts, and if not, why: `no_number`, `low_confidence`, `frame_size` (the frame has
        another size than those before, so that its region lies elsewhere), or a reason of `digitcam.edge.trust`.
    previous
        The last accepted number of this source and region, null at first.
    """

    schema: int = SCHEMA
    ts: datetime
    seq: int
    source: str
    region: str = ""
    number: str
    digits: tuple[ReadDigit, ...]
    box: BoxXYWH
    confidence: float
    accepted: bool
    reason: str
    previous: str | None
    model: Model
    latency_ms: Latency


def encode_reading(reading: Reading) -> bytes:
    """Return the reading as one line of JSON, without the line's end."""
    try:
        return _ENCODER.encode(reading)
    except UnicodeEncodeError:
        # JSON is UTF-8; the name of a file need not be.
        source = reading.source.encode(errors="surrogateescape").decode(errors="replace")
        return _ENCODER.encode(msgspec.structs.replace(reading, source=source))


def encode_readings(readings: Sequence[Reading]) -> bytes:
    """Return readings as lines of JSON, each with its end."""
    return _ENCODER.encode_lines(readings)


_ENCODER = msgspec.json.Encoder()


def decode_reading(line: bytes | str) -> Reading:
    """Read one line that `encode_reading` wrote; msgspec.ValidationError if it does not fit."""
    return msgspec.json.decode(line, type=Reading)


def describe(line: Line, to_frame: Callable[[BoxXYWH], BoxXYWH]) -> tuple[tuple[ReadDigit, ...], BoxXYWH]:
    """Return a decoded line's digits and box in pixels of the frame, rounded to 0.01 px and 0.0001.

    The box of a line without digits is zeros.

    to_frame
        Maps a box in pixels of the network's input to pixels of the frame.
    """
    digits = tuple(
        ReadDigit(digit.value, round(digit.confidence, 4), _rounded(to_frame(digit.box_xywh))) for digit in line.digits
    )
    return digits, _rounded(to_frame(line.box_xywh)) if digits else (0.0, 0.0, 0.0, 0.0)


def _rounded(box: BoxXYWH) -> BoxXYWH:
    x, y, width, height = box
    return round(x, 2), round(y, 2), round(width, 2), round(height, 2)
