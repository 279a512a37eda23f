"""Things that are open while a run goes, each reopened when its settings change."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

from digitcam.core.errors import DigitcamError
from digitcam.edge.log import log

T = TypeVar("T")


class _Part(NamedTuple):
    settings: object
    manager: AbstractContextManager[Any]
    value: Any


class Parts:
    """Context managers by name, closed in the opposite order of opening."""

    def __init__(self) -> None:
        self._parts: dict[str, _Part] = {}

    def __enter__(self) -> Parts:
        """Nothing to open yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all; the first error in closing is raised once all are closed, unless another is under way."""
        first: BaseException | None = None
        for name in reversed(self._parts):
            try:
                self._parts[name].manager.__exit__(kind, error, trace)
            except BaseException as failed:
                first = first or failed
        self._parts.clear()
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
