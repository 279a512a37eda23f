from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import readings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from machine import small_disk

from digitcam.core.errors import SinkError
from digitcam.edge.config.outputs import History
from digitcam.edge.config.rules import Rules
from digitcam.edge.outcome import Outcome
from digitcam.edge.sinks import history
from digitcam.edge.sinks.history import HistorySink, Row, Seen, rows_after
from digitcam.edge.sources import Frame
from digitcam.edge.trust import Event, Trust

START = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
WAIT_S = 30


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def outcome(number: str | None, seconds: float, region: str = "", trust: Trust | None = None) -> Outcome:
    return Outcome(region, [readings.reading(number or "", ts=at(seconds), region=region)], number, trust)


def feed(sink: HistorySink, numbers: Sequence[tuple[str, float]], region: str = "") -> None:
    image = np.zeros((4, 4), np.uint8)
    for seq, (number, seconds) in enumerate(numbers):
        sink.send(Frame(image, at(seconds), seq, "test:", 0.0), [outcome(number, seconds, region)])


def numbers(rows: Sequence[Row]) -> list[str]:
    return [row.number for row in rows]


def config(path: Path, **changes: Any) -> History:
    return History(**{"file": str(path), "commit_s": 0.0, **changes})


# Which rows


def test_a_row_when_the_number_changes_and_now_and_then() -> None:
    frames = [(None, 0), ("12", 1), ("12", 2), ("12", 60), ("12", 61), ("13", 62), ("13", 121), ("13", 122)]
    seen: Seen | None = None
    rows = []
    for number, seconds in frames:
        seen, new = rows_after(seen, outcome(number, seconds, "water"), 60.0)
        rows += new
    assert rows == [
        Row(at(1), "water", "12", "changed"),
        Row(at(61), "water", "12", "stands"),
        Row(at(62), "water", "13", "changed"),
        Row(at(122), "water", "13", "stands"),
    ]


def test_a_clock_that_is_set_back_does_not_silence_it() -> None:
    seen, _ = rows_after(None, outcome("12", 0), 60.0)
    seen, rows = rows_after(seen, outcome("12", -86400), 60.0)
    assert [row.kind for row in rows] == ["stands"]
    assert rows_after(seen, outcome("12", -86399), 60.0)[1] == []


def test_the_history_tells_what_became_of_the_trusted_number() -> None:
    trust = Trust(Rules(window=1, needed=1, rising=True, takeover_s=100, held_after_s=50))
    seen: Seen | None = None
    rows = []
    for number, seconds in (("12", 0), ("13", 10), ("3", 20), ("3", 70), ("13", 80), ("3", 90), ("3", 200)):
        trust, _ = trust.after([readings.reading(number, ts=at(seconds))])
        seen, new = rows_after(seen, outcome(trust.number, seconds, trust=trust), 900.0)
        rows += new
    assert [(row.ts, row.number, row.kind) for row in rows] == [
        (at(0), "12", "trusted"),
        (at(10), "13", "changed"),
        (at(70), "13", "held"),
        (at(80), "13", "back"),
        (at(200), "3", "takeover"),
    ]
    assert rows[2].line == "13 is held: not read for 60 s: 3 is less than 13, and rules.rising lets it only rise"
    assert rows[4].line.startswith("3 is trusted after 13: ")


def test_a_held_number_is_noted_as_held() -> None:
    held = Trust(Rules(), held=True)
    seen, _ = rows_after(None, outcome("12", 0, trust=held), 60.0)
    assert rows_after(seen, outcome("12", 60, trust=held), 60.0)[1] == [Row(at(60), "", "12", "held")]


def test_events_before_the_history_was_begun_are_not_its_own() -> None:
    old = Event(at(-5), "trusted", "12 is the first number trusted", "12")
    trust = Trust(Rules(), history=(old,))
    seen, rows = rows_after(None, outcome("12", 0, trust=trust), 60.0)
    assert rows == [Row(at(0), "", "12", "changed")]
    two = (old, Event(at(1), "set", "set", "99"), Event(at(2), "back", "back", "12"))
    _, rows = rows_after(seen, outcome("12", 2, trust=trust._replace(history=two)), 60.0)
    assert rows == [Row(at(1), "", "99", "set", "set"), Row(at(2), "", "12", "back", "back")]


# Memory


def test_without_a_file_the_last_rows_are_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MEMORY_ROWS", 3)
    with HistorySink() as sink:
        feed(sink, [("1", 0), ("2", 1)])
        feed(sink, [("7", 2)], "gas")
        feed(sink, [("3", 3)])
        assert [(row.region, row.number) for row in sink.since(at(0))] == [("", "2"), ("gas", "7"), ("", "3")]
        assert numbers(sink.since(at(0), "gas")) == ["7"]
        assert numbers(sink.since(at(2), "")) == ["3"]
        assert numbers(sink.since(at(0), limit=1)) == ["3"]


# The file


def test_rows_are_gathered_and_written_together(tmp_path: Path) -> None:
    path = tmp_path / "new" / "history.db"
    with HistorySink(config(path, commit_s=3600.0)) as sink:
        feed(sink, [("1", 0), ("2", 1.000001)])
        assert not path.exists()
        assert numbers(sink.since(at(0))) == ["1", "2"]  # those that wait are told too
    with HistorySink(config(path, commit_s=3600.0)) as sink:
        feed(sink, [("3", 2)])
        assert sink.since(at(0)) == [
            Row(at(0), "", "1", "changed"),
            Row(at(1.000001), "", "2", "changed"),
            Row(at(2), "", "3", "changed"),
        ]
        assert numbers(sink.since(at(1.000001), "", limit=2)) == ["2", "3"]
        assert numbers(sink.since(at(0), "", limit=2)) == ["2", "3"]
        assert sink.since(at(0), "gas") == []
    assert len(sink.since(at(0))) == 3  # and after it is closed
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT datetime(ts, 'unixepoch'), number FROM numbers LIMIT 1").fetchall() == [
            ("2026-03-01 12:00:00", "1")
        ]


def test_the_oldest_rows_go(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with HistorySink(config(path, rows=3)) as sink:
        feed(sink, [(str(n), n) for n in range(8)])
        assert numbers(sink.since(at(0))) == ["5", "6", "7"]
    with HistorySink(config(path, rows=2)) as sink:
        feed(sink, [("8", 8)])
        assert numbers(sink.since(at(0))) == ["7", "8"]


def test_other_threads_may_read_meanwhile(tmp_path: Path) -> None:
    with HistorySink(config(tmp_path / "history.db")) as sink:
        done, wrong = threading.Event(), []

        def look() -> None:
            while not done.is_set():
                found = [int(number) for number in numbers(sink.since(at(0), limit=1000))]
                if found != list(range(len(found))):  # one missing, twice, or out of order
                    wrong.append(found)

        readers = [threading.Thread(target=look) for _ in range(2)]
        for reader in readers:
            reader.start()
        feed(sink, [(str(n), n) for n in range(40)])
        done.set()
        for reader in readers:
            reader.join(WAIT_S)
        assert not wrong
        assert len(sink.since(at(0))) == 40


# Trouble


def test_a_damaged_file_is_moved_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "history.db"
    for count in (1, 2):
        path.write_bytes(b"no database" * 100)
        with HistorySink(config(path)) as sink:
            feed(sink, [("1", 0)])
        assert numbers(sink.since(at(0))) == ["1"]
        assert (tmp_path / f"history.db.damaged-{count}").read_bytes() == b"no database" * 100
        assert capsys.readouterr().err == (
            f"digitcam: {path}: the history is damaged (file is not a database): "
            f"kept as history.db.damaged-{count}, a new one is begun\n"
        )


def test_a_file_damaged_or_deleted_while_it_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "history.db"
    with HistorySink(config(path)) as sink:
        feed(sink, [("1", 0)])
        path.write_bytes(b"rubbish " * 1000)
        assert sink.since(at(0)) == []
        feed(sink, [("2", 1)])
        assert numbers(sink.since(at(0))) == ["2"]
        path.unlink()
        feed(sink, [("3", 2)])
        assert numbers(sink.since(at(0))) == ["3"]
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"digitcam: {path}: cannot read the history: file is not a database"
    assert "kept as history.db.damaged-1" in said[1]
    assert said[2:] == [f"digitcam: {path}: the history is written again"]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "history.db"
    with HistorySink(config(path, commit_s=3600.0)) as sink:
        feed(sink, [(str(n), n) for n in range(300)])
    return path.read_bytes()


@given(st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_damage_new_rows_are_kept(good: bytes, tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "history.db"
    for other in tmp_path.iterdir():
        other.unlink()
    broken = bytearray(good)
    place = data.draw(st.integers(0, len(good) - 1))
    if data.draw(st.booleans()):
        del broken[place:]
    else:
        broken[place : place + 64] = data.draw(st.binary(min_size=1, max_size=64))[: len(good) - place]
    path.write_bytes(broken)
    try:
        with HistorySink(config(path)) as sink:
            feed(sink, [("4711", 1000)])
    except SinkError as error:  # what it was can no longer be told: then it is left alone
        assert str(error).endswith(": change history.file")
        assert path.read_bytes() == broken
        return
    assert numbers(sink.since(at(1000))) == ["4711"]
    kept = [other.read_bytes() for other in tmp_path.glob("*.damaged-1")]
    assert kept in ([], [bytes(broken)])


def test_a_full_disk_is_told_once_and_what_waits_is_written_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "RETRY_S", 0.0)
    path = tmp_path / "history.db"
    with HistorySink(config(path)) as sink:
        feed(sink, [("1", 0)])
        with small_disk(path.stat().st_size):
            feed(sink, [(f"{n:0900}", n) for n in range(1, 30)])
        (said,) = capsys.readouterr().err.splitlines()
        assert said.startswith(f"digitcam: {path}: cannot write the history: ")
        assert said.endswith(": reading goes on, up to 10000 rows wait")
        assert [int(number) for number in numbers(sink.since(at(0)))] == [1, *range(1, 30)]
        feed(sink, [("30", 30)])
        assert capsys.readouterr().err == f"digitcam: {path}: the history is written again\n"
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT count(*) FROM numbers").fetchone() == (31,)


def test_rows_that_wait_too_long_are_dropped_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "RETRY_S", 0.0)
    monkeypatch.setattr(history, "WAITING", 4)
    path = tmp_path / "history.db"
    with HistorySink(config(path)) as sink:
        with small_disk(0):
            feed(sink, [(str(n), n) for n in range(6)])
        feed(sink, [("6", 6)])
        assert numbers(sink.since(at(0))) == ["3", "4", "5", "6"]
    assert capsys.readouterr().err.splitlines()[-1].endswith("the history is written again, 3 rows were lost")


def test_rows_that_cannot_be_written_at_the_end_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    sink = HistorySink(config(path, commit_s=3600.0))
    sink.__enter__()
    feed(sink, [("1", 0), ("2", 1)])
    with (
        small_disk(0),
        pytest.raises(SinkError, match=r"cannot write the history: .*: 2 rows of the history are lost$"),
    ):
        sink.__exit__(None, None, None)


def test_a_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "photos.db"
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE photos (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(SinkError, match=r"photos\.db: is another program's database: change history\.file$"):
        HistorySink(config(path)).__enter__()
    assert path.read_bytes() == before


@pytest.mark.parametrize(("name", "says"), [("", "is a folder"), ("file/history.db", "cannot make its folder")])
def test_a_place_that_cannot_be(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match=f"{says}.*change history.file$"):
        HistorySink(config(tmp_path / name)).__enter__()


def test_a_killed_process_leaves_a_valid_file(tmp_path: Path) -> None:
    program = f"""if True:
        from datetime import datetime, timezone
        from pathlib import Path
        from itertools import count
        from digitcam.edge.sinks.history import Row
        from digitcam.edge.sinks.history_file import HistoryFile
        file = HistoryFile(Path({str(tmp_path / "history.db")!r}), 50)
        file.check()
        for n in count():
            file.write([Row(datetime.fromtimestamp(n, timezone.utc), "", str(n), "changed")])
            print(n, flush=True)
    """
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        for line in child.stdout:
            if int(line) >= 60:
                child.send_signal(signal.SIGKILL)
                break
        confirmed = max([60, *(int(line) for line in child.stdout)])
    sink = HistorySink(config(tmp_path / "history.db", rows=50))
    with sink:
        found = [int(number) for number in numbers(sink.since(datetime.fromtimestamp(0, timezone.utc)))]
    assert found[-1] >= confirmed
    assert found == list(range(found[-1] - 49, found[-1] + 1))
    assert not list(tmp_path.glob("*.damaged*"))
