from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from digitcam.core.errors import SinkError
from digitcam.edge.parts import Parts


class Thing:
    """Writes down when it is opened and closed."""

    def __init__(self, log: list[str], name: str, fails: str = "") -> None:
        self.log, self.name, self.fails = log, name, fails
        log.append(f"make {name}")

    def __enter__(self) -> Thing:
        self.log.append(f"open {self.name}")
        if self.fails == "opening":
            raise SinkError(f"{self.name} cannot be opened")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.log.append(f"close {self.name}{' after ' + kind.__name__ if kind else ''}")
        if self.fails == "closing":
            raise SinkError(f"{self.name} cannot be closed")


@pytest.fixture
def log() -> list[str]:
    return []


def make(log: list[str], name: str, fails: str = "") -> Callable[[], Thing]:
    return lambda: Thing(log, name, fails)


def test_all_are_closed(log: list[str]) -> None:
    with Parts() as parts:
        for name in "abc":
            assert parts.keep(name, None, make(log, name)).name == name
        assert parts.names() == ("a", "b", "c")
        log.clear()
    assert sorted(log) == ["close a", "close b", "close c"]
    assert parts.names() == ()


@contextmanager
def closing(wait: Callable[[], object]) -> Iterator[None]:
    yield
    wait()


def test_none_waits_for_a_slower_one() -> None:
    # Either is closed only once the other is being closed.
    meet = threading.Barrier(2)
    with Parts() as parts:
        for name in "ab":
            parts.keep(name, None, lambda: closing(lambda: meet.wait(10)))
    assert not meet.broken


def test_one_that_hangs_is_left(log: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    thaw = threading.Event()
    monkeypatch.setattr("digitcam.edge.parts.CLOSE_S", 0.05)
    with pytest.raises(SinkError, match=r"^webhook: not closed within 0\.05 s: what was left "), Parts() as parts:
        parts.keep("webhook", None, lambda: closing(thaw.wait))
        parts.keep("history", None, make(log, "history"))
    assert log[-1] == "close history"
    thaw.set()


def test_only_what_has_other_settings_is_opened_anew(log: list[str]) -> None:
    with Parts() as parts:
        first = [parts.keep(name, {"port": 1}, make(log, name)) for name in "ab"]
        log.clear()
        again = [parts.keep(name, {"port": port}, make(log, name + "2")) for name, port in (("a", 1), ("b", 2))]
        assert again[0] is first[0]
        assert again[1] is not first[1]
        assert log == ["close b", "make b2", "open b2"]
        parts.drop("a")
        parts.drop("never opened")
        assert parts.names() == ("b",)
        log.clear()
    assert log == ["close b2"]


def test_what_cannot_be_opened_is_not_closed_and_can_be_tried_again(log: list[str]) -> None:
    with Parts() as parts:
        parts.keep("a", 1, make(log, "a"))
        with pytest.raises(SinkError, match="a2 cannot be opened"):
            parts.keep("a", 2, make(log, "a2", "opening"))
        # As before the other settings were tried.
        parts.keep("a", 1, make(log, "a3"))
        log.append("end")
    assert log == ["make a", "open a", "close a", "make a2", "open a2", "make a3", "open a3", "end", "close a3"]


def test_what_cannot_be_closed_makes_room_all_the_same(log: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with Parts() as parts:
        parts.keep("a", 1, make(log, "a", "closing"))
        assert parts.keep("a", 2, make(log, "a2")).name == "a2"
        assert capsys.readouterr().err == "digitcam: a cannot be closed\n"


def test_all_are_closed_and_the_first_error_in_closing_is_told(log: list[str]) -> None:
    with pytest.raises(SinkError, match="c cannot be closed"), Parts() as parts:
        for name, fails in (("a", ""), ("b", "closing"), ("c", "closing")):
            parts.keep(name, None, make(log, name, fails))
        log.clear()
    assert sorted(log) == ["close a", "close b", "close c"]


def test_an_error_under_way_outweighs_one_in_closing(log: list[str]) -> None:
    with pytest.raises(KeyError, match="news"), Parts() as parts:
        parts.keep("a", None, make(log, "a", "closing"))
        log.clear()
        raise KeyError("news")
    assert log == ["close a after KeyError"]
