"""What a service owes its manager: word that it is ready and alive (sd_notify(3)), and a clean end when asked."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from digitcam.core.errors import SinkError
from digitcam.edge.control import Control


def notify(message: str) -> None:
    """Tell the service manager something, such as `READY=1` or `WATCHDOG=1`; nothing where there is no manager.

    Raises
    ------
    SinkError
        When $NOTIFY_SOCKET names a socket that does not answer.
    """
    where = os.environ.get("NOTIFY_SOCKET")
    if not where:
        return
    # Linux' abstract sockets have no file; the manager writes the zero byte before their names as @.
    address = "\0" + where[1:] if where.startswith("@") else where
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.connect(address)
            manager.sendall(message.encode())
    except OSError as error:
        raise SinkError(f"$NOTIFY_SOCKET {where}: cannot reach the service manager: {error}: unset it") from None


@contextmanager
def heeding_signals(control: Control) -> Iterator[None]:
    """Have SIGTERM and SIGINT stop a run, and SIGHUP reload its configuration.

    To stop, each does so once: a second one acts as it did before, so that a source that hangs can be interrupted.
    """

    def on_stop(number: int, frame: FrameType | None) -> None:
        control.ask_stop()
        signal.signal(number, before[signal.Signals(number)])

    def on_reload(number: int, frame: FrameType | None) -> None:
        control.ask_reload()

    handlers = {signal.SIGTERM: on_stop, signal.SIGINT: on_stop, signal.SIGHUP: on_reload}
    before = {number: signal.getsignal(number) for number in handlers}
    for number, handler in handlers.items():
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
