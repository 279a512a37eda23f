"""Ctrl-C and SIGTERM, asked for politely: the step at hand is finished and kept."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from digitcam.core.errors import DigitcamError

ECHO_S = 0.5
"""Seconds."""


class StoppedError(DigitcamError):
    """A run that was asked to stop, and can go on; the exit code is a shell's for Ctrl-C."""

    exit_code = 130


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """Give an event that SIGINT and SIGTERM set, in place of what they do otherwise.

    A second one acts as it did before: it aborts at once. One that follows within `ECHO_S` is the same once more,
    passed on by a program that has it from the terminal as well. torchrun does that too, but later, and itself kills
    what has not ended in half a minute, so under it all of them only set the event.
    """
    stop = threading.Event()
    under_torchrun = "TORCHELASTIC_RUN_ID" in os.environ
    first = math.inf

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if under_torchrun or not stop.is_set() or time.monotonic() - first < ECHO_S:
            first = min(first, time.monotonic())
            stop.set()
            return
        for each, handler in before.items():
            signal.signal(each, handler)
        signal.raise_signal(number)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def uninterruptible_children() -> Iterator[None]:
    """Start processes that Ctrl-C, which a terminal sends to all of a group, does not reach."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def outlive_sigterm(_: int) -> None:
    """Go on after a SIGTERM, which a service manager sends to all processes: the parent ends this one in time."""
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(60))
