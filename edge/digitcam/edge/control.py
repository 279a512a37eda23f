"""What signals and other threads ask of a runner; it looks between two frames."""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from typing import NamedTuple


class SetNumber(NamedTuple):
    """A number to trust from now on in place of what a region's frames said; digits and at most one point."""

    region: str
    number: str


class Control:
    """Takes requests from any thread and from signal handlers.

    stop, reload
        Whether the runner is to end, or to read its configuration anew.
    wake
        Set with each request, for who waits for a frame meanwhile.
    """

    def __init__(self) -> None:
        self.stop = self.reload = False
        self.wake = threading.Event()
        self._numbers: SimpleQueue[SetNumber] = SimpleQueue()

    def ask_stop(self) -> None:
        """Have the runner end."""
        self.stop = True
        self.wake.set()

    def ask_reload(self) -> None:
        """Have the runner read its configuration anew."""
        self.reload = True
        self.wake.set()

    def set_number(self, region: str, number: str) -> None:
        """Have the runner trust a number."""
        self._numbers.put(SetNumber(region, number))
        self.wake.set()

    def taken(self) -> tuple[bool, list[SetNumber]]:
        """Return whether a reload was asked for, and the numbers to set, since the last call."""
        # A new event rather than clear(): a signal's handler, which runs in this thread too, would wait for the lock
        # that clear() holds.
        self.wake = threading.Event()
        # Not in one line: what is asked for between reading and clearing it would be forgotten.
        if reload := self.reload:
            self.reload = False
        numbers = []
        while True:
            try:
                numbers.append(self._numbers.get_nowait())
            except Empty:
                return reload, numbers
