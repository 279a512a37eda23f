"""Readings as JSON lines on standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from types import TracebackType

from digitcam.core.errors import SinkError
from digitcam.core.reading import encode_readings
from digitcam.edge.outcome import Outcome, readings_of
from digitcam.edge.sources import Frame


class StdoutSink:
    """One line a reading, in UTF-8 whatever the locale, flushed after each frame so that a pipe sees it at once."""

    def __enter__(self) -> StdoutSink:
        """Nothing to open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""

    def send(self, frame: Frame, outcomes: Sequence[Outcome]) -> None:
        """Write the readings; SinkError when nobody reads them any more, or the disk is full."""
        out = sys.stdout.buffer
        try:
            out.write(encode_readings(readings_of(outcomes)))
            out.flush()
        except OSError as error:
            # What could not be written is still buffered; without this, Python would try again when it exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
            raise SinkError(f"standard output: cannot write to it: {error.strerror}: keep its reader open") from None
