"""Frames recorded into one file, without loss and with their times: `digitcam run --record FILE`.

The file as a source, `replay:FILE`, gives the same frames again and so the same readings. It is valid up to the last
whole frame whenever the process or the machine dies.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from digitcam.core.errors import ConfigError, SinkError
from digitcam.edge.outcome import Outcome
from digitcam.edge.recorded import END, pack
from digitcam.edge.sources import Frame


class RecordingSink:
    """A file that frames are added to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._size = 0  # bytes of whole frames

    def __enter__(self) -> RecordingSink:
        """Make the file.

        Raises
        ------
        ConfigError
            When it is there already.
        SinkError
            When it cannot be made.
        """
        try:
            self._file = io.FileIO(self.path, "xb")
        except FileExistsError:
            raise ConfigError(f"{self.path}: exists already: give --record another name, or delete it") from None
        except OSError as error:
            raise SinkError(f"{self.path}: cannot record here: {error.strerror}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the file and see it onto the disk; SinkError when that fails and no other error is under way."""
        try:
            with self._file:
                self._write(END)
                os.fsync(self._file.fileno())
        except OSError as failed:
            if error is None:
                raise self._error(failed) from None

    def send(self, frame: Frame, outcomes: Sequence[Outcome]) -> None:
        """Add a frame; SinkError when the disk is full. What is recorded by then can be replayed."""
        try:
            self._write(pack(frame))
        except OSError as error:
            with suppress(OSError):
                # At the same time this makes room for the end.
                self._file.truncate(self._size)
                self._file.seek(self._size)
            raise self._error(error) from None

    def _write(self, data: bytes) -> None:
        # Past any buffer of Python's: what a killed process wrote is there.
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]
        self._size += len(data)

    def _error(self, error: OSError) -> SinkError:
        return SinkError(f"{self.path}: cannot record any more: {error.strerror}: make room, or leave out --record")
