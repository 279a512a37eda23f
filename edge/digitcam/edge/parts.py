"""Things that are open while a run goes, each reopened when its settings change."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

from digitcam.core.errors import DigitcamError, SinkError
from digitcam.edge.log import log

T = TypeVar("T")

CLOSE_S = 15.0
"""How long closing all may take: the service manager kills after 20 s, and a frame may have to be read before."""


class _Part(NamedTuple):
    settings: object
    manager: AbstractContextManager[Any]
    value: Any


class Parts:
    """Context managers by name, in the order of opening; none needs another when it is closed."""

    def __init__(self) -> None:
        self._parts: dict[str, _Part] = {}

    def __enter__(self) -> Parts:
        """Nothing to open yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all at once, so that none waits for a slower one; one that hangs is left to the end of the process.

        The first error in closing, that of what was opened last, is raised unless another is under way.
        """
        failed: dict[str, BaseException] = {}

        def close(name: str, manager: AbstractContextManager[Any]) -> None:
            try:
                manager.__exit__(kind, error, trace)
            except BaseException as problem:
                failed[name] = problem

        threads = {
            name: threading.Thread(target=close, args=(name, part.manager), name=f"close {name}", daemon=True)
            for name, part in self._parts.items()
        }
        self._parts.clear()
        for thread in threads.values():
            thread.start()
        end_s = time.monotonic() + CLOSE_S
        for name, thread in threads.items():
            thread.join(max(0.0, end_s - time.monotonic()))
            if thread.is_alive():
                failed[name] = SinkError(f"{name}: not closed within {CLOSE_S:g} s: what was left there may be lost")
        first = next((failed[name] for name in reversed(threads) if name in failed), None)
        if first is not None and error is None:
            raise first

    def keep(self, name: str, settings: object, make: Callable[[], AbstractContextManager[T]]) -> T:
        """Return what is open under a name with these settings; what is open with others is closed first."""
        part = self._parts.get(name)
        if part is None or part.settings != settings:
            self.drop(name)
            manager = make()
            part = self._parts[name] = _Part(settings, manager, manager.__enter__())
        value: T = part.value
        return value

    def drop(self, name: str) -> None:
        """Close what is open under a name, if anything is; an error in that is told, and what is left goes on."""
        if part := self._parts.pop(name, None):
            try:
                part.manager.__exit__(None, None, None)
            except DigitcamError as error:
                log.warning(str(error))

    def names(self) -> tuple[str, ...]:
        """Return the names of all that are open, the first opened first."""
        return tuple(self._parts)
