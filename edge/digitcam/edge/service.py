"""What a service owes its manager: word that it is ready and alive (sd_notify(3)), and a clean end when asked."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from digitcam.core.errors import SinkError


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
def stopping() -> Iterator[threading.Event]:
    """Give an event that SIGTERM and SIGINT set, in place of what they do otherwise.

    Each does so once: a second one acts as it did before, so that a source that hangs can still be interrupted.
    """
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
