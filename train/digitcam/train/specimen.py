"""Draws `edge/meter.jpg`, a counter as a camera may see it, to try things on: `python -m digitcam.train.specimen`."""

from __future__ import annotations

from pathlib import Path

from digitcam.core.canvas import Sample
from digitcam.core.draw import write_image
from digitcam.train.street import StreetData

SPECIMEN = Path("edge/meter.jpg")


def specimen() -> Sample:
    """Return a frame of 240x320 pixels with one number, of no training split."""
    return StreetData(kinds={"counter": 1.0}, empty=0.0, several=0.0, turn=8.0).sample("validation", 16, 240, 320)


if __name__ == "__main__":
    write_image(SPECIMEN, specimen().image)
    print(f"wrote {SPECIMEN}: {specimen().number}")
