"""What the runner tells people and machines: one line a message on standard error.

Plain lines carry no time and no level: journald, or whoever else collects them, notes when they came.
Libraries in C++ write past this: LiteRT greets with a line of its own.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from datetime import datetime, timezone
from typing import Literal

import msgspec

Format = Literal["plain", "json"]


class _StandardError(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError, ValueError):  # nobody listens: no reason to stop
            print(self.format(record), file=sys.stderr, flush=True)


class _Json(logging.Formatter):
    """`{"ts", "level", "message"}`: the time in UTC; the level is info, warning or error."""

    def format(self, record: logging.LogRecord) -> str:
        ts = datetime.fromtimestamp(record.created, timezone.utc)
        told = {"ts": ts, "level": record.levelname.lower(), "message": super().format(record)}
        return msgspec.json.encode(told).decode()


_FORMATTERS = {"plain": logging.Formatter("digitcam: %(message)s"), "json": _Json()}
_handler = _StandardError()
_handler.setFormatter(_FORMATTERS["plain"])
log = logging.getLogger("digitcam")
log.setLevel(logging.INFO)
log.addHandler(_handler)
log.propagate = False


def write_as(format: Format) -> None:
    """Write messages from now on in this format, and the warnings of the libraries too."""
    _handler.setFormatter(_FORMATTERS[format])
    logging.lastResort = _handler
