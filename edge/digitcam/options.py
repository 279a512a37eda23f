"""Types of options on the command line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click


class PicturePath(click.Path):
    """The path of a picture to write, of an ending that OpenCV writes, or of none where a folder will do as well.

    Said before the work, it costs none.
    """

    def __init__(self, or_folder: bool = False) -> None:
        super().__init__(path_type=Path)
        self.or_folder = or_folder

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path, or fail naming its ending."""
        import cv2

        path: Path = super().convert(value, param, ctx)  # type: ignore[assignment]
        if not (cv2.haveImageWriter(path.name) or (self.or_folder and not path.suffix)):
            self.fail(f"{path}: cannot write a picture of kind {path.suffix!r}: use .png or .jpg.", param, ctx)
        return path


class FiniteRange(click.FloatRange):
    """A range without `nan`, which is below no limit and above none, and without infinity."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number, or fail naming what was given in its place."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number
