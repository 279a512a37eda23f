from __future__ import annotations

import os
import signal
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from digitcam.core.errors import SinkError
from digitcam.edge.control import Control
from digitcam.edge.service import heeding_signals, notify


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A service manager's end, its address in $NOTIFY_SOCKET."""
    name = str(tmp_path / "notify") if request.param == "file" else f"@digitcam-{uuid.uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind("\0" + name[1:] if name.startswith("@") else name)
        end.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield end


def test_each_message_is_a_datagram(manager: socket.socket) -> None:
    notify("READY=1")
    notify("STATUS=reads 0123\nWATCHDOG=1")
    assert manager.recv(100) == b"READY=1"
    assert manager.recv(100) == b"STATUS=reads 0123\nWATCHDOG=1"


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if value is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", value)
    notify("READY=1")


def test_a_manager_that_is_gone_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    with pytest.raises(SinkError, match=r"^\$NOTIFY_SOCKET .*/gone: cannot reach the service manager"):
        notify("READY=1")


SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_to_stop_and_what_was_before_comes_back(number: signal.Signals) -> None:
    before = [signal.getsignal(other) for other in SIGNALS]
    control = Control()
    with heeding_signals(control):
        assert (control.stop, control.wake.is_set()) == (False, False)
        os.kill(os.getpid(), number)
        assert (control.stop, control.reload, control.wake.is_set()) == (True, False, True)
    assert [signal.getsignal(other) for other in SIGNALS] == before


def test_sighup_asks_for_a_reload_each_time() -> None:
    control = Control()
    with heeding_signals(control):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGHUP)
            assert (control.stop, control.wake.is_set()) == (False, True)
            assert control.taken() == (True, [])
            assert control.taken() == (False, [])


def test_a_second_interrupt_interrupts(request: pytest.FixtureRequest) -> None:
    # A shell that starts tests in the background has them ignore SIGINT, and Python then leaves it so.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    with pytest.raises(KeyboardInterrupt), heeding_signals(Control()):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
