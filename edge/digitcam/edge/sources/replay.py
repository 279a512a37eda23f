"""Recordings: `replay:FILE`, a file of `digitcam run --record`, with its frames as they were taken."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from digitcam.core.errors import ConfigError, SourceError
from digitcam.edge.log import log
from digitcam.edge.recorded import BLOCK, unpack
from digitcam.edge.sources import Frame

ENDING = ".tar"
"""By which a recording is told from a video where its name is given without `replay:`."""
_BROKEN = (tarfile.TarError, OSError, ValueError, EOFError, OverflowError)
"""What tarfile raises on rubbish."""


class ReplaySource:
    """The frames of a recording, as fast as they are asked for.

    Each has the time, `seq` and source that it had, so that the same readings come of it. One that is damaged is named
    on standard error and counted, and so is an end that is broken off.
    """

    def __init__(self, uri: str) -> None:
        self.path, self.failed = Path(uri.removeprefix("replay:")), 0
        if uri == "replay:":
            raise ConfigError("replay: after 'replay:' comes a file of --record")

    def __enter__(self) -> ReplaySource:
        """Open the file; SourceError when it is missing, empty or no recording."""
        try:
            self._tar = tarfile.open(self.path, "r:", encoding="utf-8", errors="strict")
        except OSError as error:
            raise SourceError(f"{self.path}: cannot read it: {error.strerror}") from None
        except _BROKEN as error:
            raise SourceError(f"{self.path}: is no recording, or broken off in its first frame: {error}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._tar.close()

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames; SourceError when there is none at all."""
        whole = 0
        for member, png in self._members():
            try:
                frame = unpack(member, png)
            except ValueError as error:
                self._fail(f"{member.name}: {error}")
                continue
            whole += 1
            yield frame
        if not whole:
            raise SourceError(f"{self.path}: no frame in it can be read")

    def _members(self) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
        """Yield the whole members; an end that is broken off is told."""
        end = 0  # in bytes, of the last whole one
        with suppress(*_BROKEN):
            while member := self._tar.next():
                # Else they would all stay in memory.
                self._tar.members.clear()  # type: ignore[attr-defined]
                file = self._tar.extractfile(member) if member.isreg() and not member.issparse() else None
                if file:
                    yield member, file.read()
                end = member.offset_data + member.size
        # Whether tarfile raises depends on where the file breaks off, so this looks for itself: zeros end a tar.
        with self.path.open("rb") as rest:
            rest.seek(-(-end // BLOCK) * BLOCK)
            head = rest.read(BLOCK)
        if head.strip(b"\0"):
            self._fail("breaks off within a frame: those before it were read")
        elif len(head) < BLOCK:
            log.warning(f"{self.path}: was never ended: the recorder was killed")

    def _fail(self, text: str) -> None:
        self.failed += 1
        log.warning(f"{self.path}: {text}")
