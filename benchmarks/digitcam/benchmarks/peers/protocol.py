"""What the readers under comparison have in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from digitcam.core.arrays import FloatArray, UInt8Array


class PeerReader(Protocol):
    """A reader with one setting. Nothing heavy is loaded before the first image."""

    @property
    def version(self) -> str:
        """Of the program or package."""
        ...

    @property
    def setting(self) -> str:
        """In words, as a result tells it."""
        ...

    @property
    def crop(self) -> bool:
        """Whether it is shown the truth's box and its margin in place of the whole image."""
        ...

    def read(self, image: UInt8Array, box_xywh: FloatArray | None) -> str:
        """Return the digits read in an image uint8 [height, width] or [height, width, 3] BGR, "" for none.

        Parameters
        ----------
        box_xywh
            Where the number stands, [4] in pixels of the image; only what is shown a crop may look at it.

        Raises
        ------
        BenchmarkInvalidError
            When the reader itself fails.
        """
        ...


class Peer(Protocol):
    """Something that reads numbers, in all settings worth trying; it can be sent to another process."""

    @property
    def name(self) -> str:
        """As a result names it."""
        ...

    def missing(self) -> str | None:
        """Return what to do before it can be used, None when it is ready."""
        ...

    def readers(self) -> Sequence[PeerReader]:
        """Return a reader a setting, always in the same order, first the one it comes with, on whole frames."""
        ...

    def files(self) -> set[Path]:
        """Return all files that were installed for it, those of its models too; Python and the system are not."""
        ...


class Scene(NamedTuple):
    """A frame uint8 [height, width] or [height, width, 3] BGR, the number on it, and where, if that is known.

    The box is [4], x, y, width, height in pixels; `number` is empty where there is none.
    """

    image: UInt8Array
    number: str
    box_xywh: FloatArray | None
