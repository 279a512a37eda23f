"""The history's SQLite file: opened to be written and closed again, so that a card or a file may be swapped meanwhile.

https://www.sqlite.org/lockingv3.html: with a rollback journal a process that is killed, or a machine that loses its
power, leaves a valid file. The journal persists because making and deleting it would wear the card once more.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from typing import TypeVar

from digitcam.core.errors import SinkError
from digitcam.edge.log import log
from digitcam.edge.sinks.history import Row

T = TypeVar("T")

APPLICATION = 0x64676361
"""What SQLite files of ours carry as `application_id`: dgca."""
SCHEMA = 1
BUSY_S = 1.0
"""How long to wait for another program that is at the file."""
_PASSING = re.compile("full|I/O|locked|readonly|unable to open|memory")
"""Errors that are not the file's. Python 3.10 tells no error codes; these words are SQLite's own, sqlite3_errstr."""
_TABLE = """
CREATE TABLE IF NOT EXISTS numbers (
    id INTEGER PRIMARY KEY,
    ts REAL NOT NULL,       -- seconds since 1970, UTC: SELECT datetime(ts, 'unixepoch'), number FROM numbers
    region TEXT NOT NULL,   -- empty for the whole frame
    number TEXT NOT NULL,
    kind TEXT NOT NULL,     -- changed, stands, held, or an event's: trusted, takeover, back ...
    line TEXT NOT NULL
)"""


class HistoryFile:
    """A file of at most so many rows."""

    def __init__(self, path: Path, rows: int) -> None:
        self.path, self.rows = path, rows

    def check(self) -> None:
        """Move a damaged file aside, see `write`, and make the folder.

        Raises
        ------
        SinkError
            When the folder or the file cannot be used, or the file is another program's.
        """
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"{self.path}: cannot make its folder: {error.strerror}: change history.file") from None
        if self.path.is_dir():
            raise SinkError(f"{self.path}: is a folder: change history.file")
        if not os.access(self.path if self.path.exists() else folder, os.W_OK):
            raise SinkError(f"{self.path}: no leave to write here: change history.file")
        if self.path.exists():
            self._use(self._look)

    def write(self, rows: Sequence[Row]) -> None:
        """Add rows and let the oldest go; a file found to be damaged is moved aside and a new one begun.

        Raises
        ------
        SinkError
            When the disk is full, or the file cannot be written; it then holds what it held before.
        """
        values = [(row.ts.timestamp(), row.region, row.number, row.kind, row.line) for row in rows]

        def write(file: sqlite3.Connection) -> None:
            file.execute("PRAGMA journal_mode = PERSIST")
            file.execute("BEGIN IMMEDIATE")
            if not self._begun(file):
                file.execute(f"PRAGMA application_id = {APPLICATION}")
                file.execute(f"PRAGMA user_version = {SCHEMA}")
                file.execute(_TABLE)
            file.executemany("INSERT INTO numbers (ts, region, number, kind, line) VALUES (?, ?, ?, ?, ?)", values)
            file.execute("DELETE FROM numbers WHERE id <= (SELECT max(id) FROM numbers) - ?", (self.rows,))
            file.execute("COMMIT")

        self._use(write)

    def since(self, ts: datetime, region: str | None, limit: int) -> list[Row]:
        """Return the newest rows from a time on, at most `limit`, in the order they were written; none without a file.

        Raises
        ------
        SinkError
            When they cannot be read.
        """
        if not self.path.exists():
            return []
        query = "SELECT ts, region, number, kind, line FROM numbers WHERE ts >= ? AND (? IS NULL OR region = ?)"
        uri = f"{self.path.absolute().as_uri()}?mode=ro"
        try:
            with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_S)) as file:
                if not self._begun(file):
                    return []
                values = (ts.timestamp(), region, region, limit)
                found = file.execute(f"{query} ORDER BY id DESC LIMIT ?", values).fetchall()
        except sqlite3.Error as error:
            raise SinkError(f"{self.path}: cannot read the history: {error}") from None
        return [Row(datetime.fromtimestamp(at, timezone.utc), *words) for at, *words in reversed(found)]

    def _look(self, file: sqlite3.Connection) -> None:
        found = file.execute("PRAGMA quick_check(1)").fetchone()
        if found != ("ok",):
            raise sqlite3.DatabaseError(str(found[0]).replace("\n", " "))
        self._begun(file)

    def _begun(self, file: sqlite3.Connection) -> bool:
        """Return whether the history is begun; SinkError when the file is no history of ours."""
        (application,) = file.execute("PRAGMA application_id").fetchone()
        (schema,) = file.execute("PRAGMA user_version").fetchone()
        if (application, schema) == (APPLICATION, SCHEMA):
            return True
        if application == APPLICATION:
            raise SinkError(f"{self.path}: its version is {schema}, this digitcam's {SCHEMA}: change history.file")
        if file.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
            raise SinkError(f"{self.path}: is another program's database: change history.file")
        return False

    def _use(self, call: Callable[[sqlite3.Connection], T]) -> T:
        """Return what a call makes of the open file; once more with a new file if this one is damaged."""
        for _ in range(2):
            try:
                with closing(sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)) as file:
                    return call(file)
            except sqlite3.Error as error:
                if isinstance(error, sqlite3.ProgrammingError):
                    raise
                if isinstance(error, sqlite3.OperationalError) and _PASSING.search(str(error)):
                    raise SinkError(f"{self.path}: cannot write the history: {error}") from None
                self._set_aside(error)
        raise SinkError(f"{self.path}: cannot write the history: damaged again at once: look to the disk")

    def _set_aside(self, why: Exception) -> None:
        journal = self.path.with_name(f"{self.path.name}-journal")
        names = (self.path.with_name(f"{self.path.name}.damaged-{number}") for number in count(1))
        aside = next(name for name in names if not name.exists())
        try:
            self.path.rename(aside)
            if journal.exists():  # SQLite would take it for the new file's
                journal.rename(aside.with_name(f"{aside.name}-journal"))
        except OSError as error:
            raise SinkError(f"{self.path}: the history is damaged and cannot be moved: {error.strerror}") from None
        log.warning(f"{self.path}: the history is damaged ({why}): kept as {aside.name}, a new one is begun")
