"""RapidOCR: PaddleOCR's networks in onnxruntime; its wheel carries them."""

from __future__ import annotations

import importlib.util
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from digitcam.benchmarks.peers.footprint import package_files
from digitcam.benchmarks.peers.pictures import best_line, colour, cropped
from digitcam.core.arrays import FloatArray, UInt8Array

_HEIGHT = 48
"""Pixels that a cropped number is made high: what its reading network takes."""


class RapidOcrReader(msgspec.Struct, frozen=True):
    """One setting.

    side
        The finding network is shown frames whose shorter side has at least so many pixels; 736 is the default.
    least
        Lines less sure are dropped; 0.5 is the default.
    crop
        The reading network alone, on the number.
    """

    side: int
    least: float
    crop: bool

    @property
    def version(self) -> str:
        """Of the package."""
        return version("rapidocr")

    @property
    def setting(self) -> str:
        """In words."""
        if self.crop:
            return f"reading network alone, number scaled to {_HEIGHT} px, digits kept, all cores"
        return f"shorter side at least {self.side} px, lines surer than {self.least:g}, digits kept, all cores"

    def read(self, image: UInt8Array, box_xywh: FloatArray | None) -> str:
        """Read an image."""
        picture = colour(image)
        if self.crop and box_xywh is not None:
            picture = cropped(picture, box_xywh, _HEIGHT)
        found = _engine(self.side, self.least, self.crop)(picture)
        return best_line(zip(found.txts or (), found.scores or (), strict=True))


class RapidOcr(msgspec.Struct, frozen=True):
    """The peer."""

    name: str = "rapidocr"

    def missing(self) -> str | None:
        """As `Peer.missing`."""
        if any(importlib.util.find_spec(module) is None for module in ("rapidocr", "onnxruntime")):
            return "pip install 'digitcam[peers]'"
        return None

    def readers(self) -> list[RapidOcrReader]:
        """As `Peer.readers`."""
        whole = [RapidOcrReader(side, least, False) for side in (736, 320) for least in (0.5, 0.0)]
        return [*whole, RapidOcrReader(736, 0.0, True)]

    def files(self) -> set[Path]:
        """As `Peer.files`; networks fetched later lie beside those of the wheel."""
        spec = importlib.util.find_spec("rapidocr")
        folders = spec.submodule_search_locations or [] if spec else []
        fetched = {path for folder in folders for path in Path(folder).glob("models/*") if path.is_file()}
        return package_files("rapidocr", "onnxruntime") | {path.resolve() for path in fetched}


@cache
def _engine(side: int, least: float, crop: bool) -> Any:
    """Return a loaded RapidOCR, one a setting: a call that leaves a step out would be remembered by the next."""
    from rapidocr import RapidOCR

    return RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.text_score": least,
            "Global.use_det": not crop,
            "Global.use_cls": not crop,
            "Det.limit_side_len": side,
        }
    )
