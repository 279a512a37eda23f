"""The numbers that stood and what became of them, kept in a file, or the last ones in memory where there is none.

A row is written when a region's number changes, with each event of `edge.trust`, and now and then while it just stands.
Rows are gathered and written together; those of the last `commit_s` are lost when the power goes.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from digitcam.core.errors import SinkError
from digitcam.edge.config.outputs import History
from digitcam.edge.outcome import Outcome
from digitcam.edge.sinks.notices import Notices
from digitcam.edge.sources import Frame
from digitcam.edge.trust import Event

if TYPE_CHECKING:
    from digitcam.edge.sinks.history_file import HistoryFile

MEMORY_ROWS = 2000
"""How many rows are kept where there is no file."""
WAITING = 10_000
"""How many rows may wait for a disk that is full: memory is not endless."""
RETRY_S = 10.0
"""The least pause before a file that could not be written is tried again."""
EVERY_S = 60.0
"""How often a number that just stands is noted where there is no file."""


class Row(NamedTuple):
    """A number that stood.

    `kind` is `changed` (another number than before), `stands` (still the same), `held` (still, but not read), or that
    of an event of `edge.trust`, whose `line` tells it to people; else the line is empty.
    """

    ts: datetime
    region: str
    number: str
    kind: str
    line: str = ""


class Seen(NamedTuple):
    """What was seen of a region: its number, when a row was last made of it, and the last event."""

    number: str | None = None
    noted: datetime | None = None
    event: Event | None = None


def rows_after(seen: Seen | None, outcome: Outcome, every_s: float) -> tuple[Seen, list[Row]]:
    """Return what is seen of a region after one more frame, and the rows to keep of it.

    seen
        What was before; None at first.
    """
    ts, number, trust = outcome.best.ts, outcome.number, outcome.trust
    events = trust.history if trust else ()
    if seen is None:
        # The runner may know its number for long when a history is begun.
        seen, new = Seen(), [event for event in events if event.ts >= ts]
    else:
        new = _new(events, seen.event)
    rows = [Row(event.ts, outcome.region, event.number, event.kind, event.line) for event in new]
    if not rows and number is not None:
        # A clock that is set back must not make it silent for long.
        late = seen.noted is None or abs((ts - seen.noted).total_seconds()) >= every_s
        kind = "changed" if number != seen.number else ("held" if trust and trust.held else "stands") if late else ""
        rows = [Row(ts, outcome.region, number, kind)] if kind else []
    event = events[-1] if events else None
    return Seen(number, ts if rows else seen.noted, event), rows


class HistorySink:
    """Keeps rows; `since` may be called from any thread, also before it is open and after it is closed."""

    def __init__(self, config: History | None = None) -> None:
        """Prepare a history, in memory without a configuration."""
        self.config = config
        self._every_s = config.every_s if config else EVERY_S
        self._file: HistoryFile | None = None
        self._seen: dict[str, Seen] = {}
        self._rows: list[Row] = []  # those in no file; only the runner's thread changes it
        self._dropped = 0
        self._commit_at_s = math.inf
        self._moving = threading.Lock()  # held while rows go from memory to the file
        self._notices = Notices(config.file if config else "")

    def __enter__(self) -> HistorySink:
        """Look at the file; SinkError when there can be none, or it is another program's.

        A damaged one is moved aside and a new one begun, which is told on standard error.
        """
        if self.config:
            # SQLite only where it is needed.
            from digitcam.edge.sinks.history_file import HistoryFile

            self._file = HistoryFile(Path(self.config.file), self.config.rows)
            self._file.check()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is left; SinkError when that fails and no other error is under way."""
        if self._rows and (problem := self._commit()) and error is None:
            raise SinkError(f"{problem}: {len(self._rows)} rows of the history are lost")

    def send(self, frame: Frame, outcomes: Sequence[Outcome]) -> None:
        """Note what is new. A disk that is full is told once on standard error, and tried again later."""
        for outcome in outcomes:
            seen, rows = rows_after(self._seen.get(outcome.region), outcome, self._every_s)
            self._seen[outcome.region] = seen
            self._rows += rows
        excess = len(self._rows) - (WAITING if self._file else MEMORY_ROWS)
        if excess > 0:
            del self._rows[:excess]
            self._dropped += excess
        if not self.config or not self._rows:
            return
        now_s = time.monotonic()
        self._commit_at_s = min(self._commit_at_s, now_s + self.config.commit_s)
        if now_s >= self._commit_at_s:
            self._commit_at_s = math.inf
            if problem := self._commit():
                self._commit_at_s = now_s + max(self.config.commit_s, RETRY_S)
                self._notices.tell(f"{problem}: reading goes on, up to {WAITING} rows wait")
            else:
                lost = f", {self._dropped} rows were lost" if self._dropped else ""
                self._notices.clear(f"the history is written again{lost}")
                self._dropped = 0

    def since(self, ts: datetime, region: str | None = None, limit: int = 500) -> list[Row]:
        """Return the newest rows from a time on, at most `limit`, in the order they were made.

        region
            Whose; None for all.
        """
        kept: list[Row] = []
        with self._moving:
            if self._file:
                try:
                    kept = self._file.since(ts, region, limit)
                except SinkError as error:
                    self._notices.tell(str(error).removeprefix(f"{self._notices.where}: "))
            fresh = self._rows[:]
        kept += [row for row in fresh if row.ts >= ts and region in (None, row.region)]
        return kept[-limit:]

    def last(self, region: str) -> Row | None:
        """Return a region's newest row, None where there is none."""
        return next(iter(self.since(datetime.fromtimestamp(0, timezone.utc), region, 1)), None)

    def _commit(self) -> str:
        """Write the rows to the file; return why that cannot be done, empty when it is."""
        if not self._file:
            return ""
        with self._moving:
            try:
                self._file.write(self._rows)
            except SinkError as error:
                return str(error).removeprefix(f"{self._notices.where}: ")
            self._rows = []
        return ""


def _new(events: Sequence[Event], last: Event | None) -> list[Event]:
    """Return the events after a known one; all when it is not among them."""
    new: list[Event] = []
    for event in reversed(events):
        if event == last:
            break
        new.insert(0, event)
    return new
