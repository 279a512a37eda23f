"""Troubles that reading outlives, told to people."""

from __future__ import annotations

import sys
from contextlib import suppress


class Notices:
    """Says on standard error what is the matter with something, once until something else is to be said."""

    def __init__(self, where: str) -> None:
        self.where = where
        self._told: str | None = None

    @property
    def trouble(self) -> bool:
        """Whether the last thing said was no good news."""
        return self._told is not None

    def tell(self, text: str) -> None:
        """Say it, unless it was said last."""
        if text != self._told:
            self._told = text
            self._print(text)

    def clear(self, text: str) -> None:
        """Say that it goes well again, if it did not."""
        if self.trouble:
            self._told = None
            self._print(text)

    def _print(self, text: str) -> None:
        with suppress(OSError, ValueError):  # nobody listens: no reason to stop
            print(f"digitcam: {self.where}: {text}", file=sys.stderr, flush=True)
