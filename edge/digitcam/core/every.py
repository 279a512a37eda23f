"""Doing something again and again beside what goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def every(seconds: float, do: Callable[[], None], name: str) -> Iterator[None]:
    """Call `do` every so many seconds while the context lasts, on a thread `name`; no call outlasts it.

    What `do` raises ends the calls, not the context.
    """
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(seconds):
            do()

    thread = threading.Thread(target=go_on, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
