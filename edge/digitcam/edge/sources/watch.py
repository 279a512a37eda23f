"""A folder watched for new images: `watch:FOLDER`, where a camera or a script drops its pictures."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import NamedTuple

from digitcam.core.errors import ConfigError, SourceError
from digitcam.edge.log import log
from digitcam.edge.sources import Frame
from digitcam.edge.sources.files import is_image, read_image

POLL_S = 0.25
"""How often the folder is looked at."""
SETTLE_S = 5.0
"""How long an image that cannot be read may stay unchanged before it counts as damaged: its writer may be slow."""


class _Stamp(NamedTuple):
    """What changes when a file is written or replaced."""

    mtime_ns: int
    inode: int
    size: int


class WatchSource:
    """The images that come into a folder while it is open, oldest first.

    An image that is written anew under its old name comes again. What was there before is left alone. All are read, so
    keep the folder small: it is listed four times a second. One that cannot be read is named on standard error.
    """

    fresh_s: float | None = None

    def __init__(self, uri: str, poll_s: float = POLL_S, settle_s: float = SETTLE_S) -> None:
        folder = uri.removeprefix("watch:")
        if not folder:
            raise ConfigError(f"{uri}: after 'watch:' comes a folder")
        self.folder, self.failed, self._seq = Path(folder), 0, 0
        self._poll_s, self._settle_s = poll_s, settle_s
        self._done: dict[Path, _Stamp] = {}
        self._open: dict[Path, tuple[_Stamp, float]] = {}  # seen but not read, and since when (time.monotonic, s)

    def __enter__(self) -> WatchSource:
        """Note what is there already; SourceError when there is no such folder."""
        self._done = self._list()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""

    def __iter__(self) -> Iterator[Frame]:
        """Yield new images as they come, for ever; see `until`."""
        return self.until(Event())

    def until(self, stop: Event) -> Iterator[Frame]:
        """Yield new images as they come, until `stop` is set; SourceError when the folder goes away."""
        while not stop.is_set():
            for path in self._new():
                start = time.perf_counter()
                try:
                    image = read_image(path)
                except SourceError as error:
                    self._unread(path, error)
                    continue
                self._done[path] = self._open.pop(path)[0]
                elapsed_ms = (time.perf_counter() - start) * 1e3
                seq, self._seq = self._seq, self._seq + 1
                ts, steady_s = datetime.now(timezone.utc), time.monotonic()
                yield Frame(image, ts, seq, str(path), elapsed_ms, steady_s=steady_s)
            # Not stop.wait(): a signal that sets it just then would wait for the lock that its own thread holds.
            time.sleep(self._poll_s)

    def _list(self) -> dict[Path, _Stamp]:
        found = {}
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    path = self.folder / entry.name
                    if is_image(path):
                        try:
                            stat = entry.stat()
                        except FileNotFoundError:  # deleted since it was listed
                            continue
                        found[path] = _Stamp(stat.st_mtime_ns, stat.st_ino, stat.st_size)
        except OSError as error:
            raise SourceError(f"{self.folder}: cannot watch this folder: {error.strerror}") from None
        return found

    def _new(self) -> list[Path]:
        """Return what has come and has not changed since the last look, oldest first."""
        found = self._list()
        self._done = {path: stamp for path, stamp in self._done.items() if path in found}
        before, now_s = self._open, time.monotonic()
        self._open = {}
        settled = []
        for path, stamp in found.items():
            if self._done.get(path) == stamp:
                continue
            known = before.get(path)
            if known and known[0] == stamp:
                settled.append(path)
                self._open[path] = known
            else:
                self._open[path] = (stamp, now_s)
        return sorted(settled, key=lambda path: (found[path].mtime_ns, path))

    def _unread(self, path: Path, error: SourceError) -> None:
        """Wait for an image that is still being written; name one that stays as it is."""
        stamp, since_s = self._open[path]
        if time.monotonic() - since_s >= self._settle_s:
            self._done[path] = stamp
            self.failed += 1
            log.warning(str(error))
