"""Draws `faces.npz`, the digits and letters of some hundred free fonts: `python -m digitcam.train.typecase`.

The file is committed, so that `street` draws the same scenes everywhere, whatever fonts a machine has. To make it,
install the fonts first, here Debian's packages:

    fonts-dejavu-core fonts-liberation fonts-freefont-ttf fonts-roboto-unhinted fonts-lato fonts-open-sans
    fonts-noto-core fonts-inconsolata fonts-cantarell fonts-urw-base35 fonts-hack fonts-firacode fonts-linuxlibertine
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import ImageFont

from digitcam.core.arrays import FloatArray, UInt8Array
from digitcam.train.faces import BASE, CASE, CHARACTERS, DIGIT, SHEET

FONTS = Path("/usr/share/fonts")
LEFT_OUT = ("D050000L", "LinBiolinum_K", "Lato-Hairline", "Lato-HairlineItalic")
"""Dingbats and keys where digits should be, and strokes of a hair, which no camera sees."""
LEVELS = 15
"""Shades of ink kept beside none: enough for edges, and the file is half as large."""
ALIKE = 0.035
"""Fonts whose digits differ by less than so much of full ink on average count as the same."""


def font_at_digit_height(path: Path) -> ImageFont.FreeTypeFont | None:
    """Return a font in the size at which its 0 is `DIGIT` pixels high, None for one without a 0."""
    _, top, _, bottom = ImageFont.truetype(str(path), 200).getbbox("0", anchor="ls")
    if bottom <= top:
        return None
    return ImageFont.truetype(str(path), round(200 * DIGIT / (bottom - top)))


def draw_face(font: ImageFont.FreeTypeFont) -> tuple[UInt8Array, FloatArray] | None:
    """Return a font's characters uint8 [n, CASE, CASE] on a common baseline and their advances in pixels [n].

    None where two characters look the same, as in a font that lacks them, or one does not fit the case.
    """
    inks = np.zeros((len(CHARACTERS), CASE, CASE), dtype=np.uint8)
    for ink, character in zip(inks, CHARACTERS, strict=True):
        left, top, right, bottom = (int(value) for value in font.getbbox(character, anchor="ls"))
        # The pen starts a quarter into the case, since a slanted letter reaches back over it.
        x, y = CASE // 4 + left, BASE + top
        if x < 0 or y < 0 or x + right - left > CASE or BASE + bottom > CASE or right <= left or bottom <= top:
            return None
        mask = np.asarray(font.getmask(character), dtype=np.uint8).reshape(bottom - top, right - left)
        ink[y : y + bottom - top, x : x + right - left] = mask
    if len({ink.tobytes() for ink in inks}) < len(CHARACTERS):
        return None
    advances = np.array([font.getlength(character) for character in CHARACTERS], dtype=np.float32)
    return np.round(inks / 255 * LEVELS).astype(np.uint8), advances


def draw_all() -> tuple[list[str], UInt8Array, FloatArray]:
    """Return the names of the fonts kept, their characters and their advances."""
    names: list[str] = []
    kept: list[tuple[UInt8Array, FloatArray]] = []
    for path in sorted(FONTS.rglob("*.[to]tf"), key=lambda path: path.name):
        font = None if path.stem in LEFT_OUT else font_at_digit_height(path)
        face = draw_face(font) if font else None
        if face is None:
            continue
        digits = face[0][:10].astype(np.int16)
        if all(np.abs(digits - other[0][:10]).mean() / LEVELS > ALIKE * (digits > 0).mean() for other in kept):
            names.append(path.stem)
            kept.append(face)
    return names, np.stack([inks for inks, _ in kept]), np.stack([advances for _, advances in kept])


if __name__ == "__main__":
    names, inks, advances = draw_all()
    np.savez_compressed(SHEET, names=np.array(names), inks=inks, advances=advances)
    print(f"wrote {len(names)} fonts to {SHEET.name}: {SHEET.stat().st_size / 1e6:.2f} MB")
