"""Draws `core/glyphs.png`, the digits of the fonts that OpenCV and matplotlib carry: `python -m digitcam.train.atlas`.

The sheet is committed, so that the same digits are drawn everywhere, whatever fonts and versions a machine has.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import matplotlib
import numpy as np

from digitcam.core.arrays import UInt8Array
from digitcam.core.glyphs import ATLAS, INK, SIZE

_FILES = [
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "cmr10",
    "cmb10",
    "cmss10",
    "cmtt10",
    "cmti10",
]
_BUILT_IN = (("sans", 300), ("sans", 500), ("sans", 800), ("italic", 400), ("italic", 700))


def digit_tile(font: cv2.FontFace, weight: int, digit: int) -> UInt8Array:
    """Return one digit as MNIST's are: white on black, the longer side `INK` px, centred in uint8 [SIZE, SIZE]."""
    page = np.zeros((400, 400), dtype=np.uint8)
    cv2.putText(page, str(digit), (100, 300), (255, 255, 255), font, 220, weight)
    x, y, width, height = cv2.boundingRect(page)
    scale = INK / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    ink = cv2.resize(page[y : y + height, x : x + width], size, interpolation=cv2.INTER_AREA)
    tile = np.zeros((SIZE, SIZE), dtype=np.uint8)
    top, left = (SIZE - size[1]) // 2, (SIZE - size[0]) // 2
    tile[top : top + size[1], left : left + size[0]] = ink
    return tile


def sheet() -> UInt8Array:
    """Return all fonts, one a row, digits 0 to 9 in the columns: uint8 [fonts * SIZE, 10 * SIZE]."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    fonts = [(cv2.FontFace(str(folder / f"{name}.ttf")), 400) for name in _FILES]
    fonts += [(cv2.FontFace(name), weight) for name, weight in _BUILT_IN]
    return np.vstack([np.hstack([digit_tile(font, weight, d) for d in range(10)]) for font, weight in fonts])


if __name__ == "__main__":
    cv2.imwrite(str(ATLAS), sheet())
    print(f"wrote {ATLAS.name}")
