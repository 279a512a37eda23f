"""Troubles that reading outlives, told to people."""

from __future__ import annotations

from digitcam.edge.log import log


class Notices:
    """Tells what is the matter with something, once until something else is to be said."""

    def __init__(self, where: str) -> None:
        self.where = where
        self._told: str | None = None

    def tell(self, text: str) -> None:
        """Say it, unless it was said last."""
        if text != self._told:
            self._told = text
            log.warning(f"{self.where}: {text}")

    def clear(self, text: str) -> None:
        """Say that it goes well again, if it did not."""
        if self._told is not None:
            self._told = None
            log.info(f"{self.where}: {text}")
