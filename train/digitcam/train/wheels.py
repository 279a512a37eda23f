"""The wheels of mechanical counters: real photographs, by meter, and drawn ones.

Photographs: `meter_digits/meter_digits.tar` below `$DIGITCAM_DATA`, the folder `images` of
https://github.com/haverland/Tenth-of-step-of-a-meter-digit (Apache-2.0), single wheels of many water, gas and power
meters. A file's name begins with the wheel's position: 3.0 shows a clean 3, 3.5 is halfway to the 4.
"""

from __future__ import annotations

import re
import tarfile
from functools import cache
from pathlib import PurePosixPath
from typing import NamedTuple

import cv2
import numpy as np

from digitcam.core.arrays import FloatArray, UInt8Array
from digitcam.core.errors import SourceError
from digitcam.train import mnist
from digitcam.train.faces import DIGIT, Face
from digitcam.train.mnist import Split

KEPT_OUT: dict[str, Split] = {
    "collected/powermeter/betar": "test",
    "collected/powermeter/_itron_C114U_2": "test",
    "collected/watermeter/integra": "test",
    "collected/watermeter/Wasser_Geraete_GmbH": "test",
    "collected/powermeter/Landis+Gyr_-_MM2600JH": "validation",
    "collected/watermeter/jvi": "validation",
    "collected/watermeter/pp": "validation",
}
"""Meters that nothing is trained on, by folder; all others train."""
INSIDE = (0.14, 0.18, 0.72, 0.64)
"""Where a clean digit stands in a photograph: x, y, width, height as shares of it."""
PITCH = 0.55
"""About how far a wheel moves from one digit to the next, as a share of a photograph's height."""
_NAME = re.compile(r"(\d\.\d)_.*\.(?:jpg|png)", re.IGNORECASE)


class Wheel(NamedTuple):
    """A photograph's encoded bytes, and the wheel's position 0.0 to 9.9."""

    encoded: bytes
    position: float

    @property
    def digit(self) -> int:
        """The digit nearest to the window's middle; halfway it is still the lower one."""
        return nearest_digit(self.position)

    @property
    def inside(self) -> tuple[float, float, float, float]:
        """About where that digit stands in the photograph: x, y, width, height as shares of it."""
        x, y, width, height = INSIDE
        past = (self.position - self.digit + 5) % 10 - 5
        return x, min(max(0.0, y - PITCH * past), 1 - height), width, height

    def boxes_xywh(self, height: int, width: int) -> FloatArray:
        """Return that digit's box float32 [1, 4] in the photograph at a size in pixels."""
        return np.array([self.inside], dtype=np.float32) * np.array([width, height, width, height], dtype=np.float32)

    def image(self) -> UInt8Array:
        """Return the photograph, grey uint8 [h, w]."""
        return cv2.imdecode(np.frombuffer(self.encoded, np.uint8), cv2.IMREAD_GRAYSCALE)  # type: ignore[return-value]


def nearest_digit(position: float) -> int:
    """Return the digit nearest to the middle of the window at a wheel's position; at halves the lower one."""
    return int(np.ceil(position - 0.5)) % 10


@cache
def meters(split: Split) -> tuple[tuple[Wheel, ...], ...]:
    """Return a split's photographs, those of one meter's folder together, folders of fewer than 20 left out.

    Raises
    ------
    SourceError
        When the archive is missing or damaged.
    """
    path = mnist.folder().with_name("meter_digits") / "meter_digits.tar"
    found: dict[str, list[Wheel]] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                match = _NAME.fullmatch(name.name)
                folder = "/".join(name.parent.parts[:3])
                file = archive.extractfile(member)
                if match and file and KEPT_OUT.get(folder, "train") == split:
                    found.setdefault(folder, []).append(Wheel(file.read(), float(match[1])))
    except FileNotFoundError:
        raise SourceError(
            f"{path}: no such file: set DIGITCAM_DATA to the folder that holds meter_digits/, or pack it from "
            "https://github.com/haverland/Tenth-of-step-of-a-meter-digit as train/README.md says, or leave 'wheels' "
            "and 'wheel' out of the recipe's data.kinds"
        ) from None
    except (OSError, tarfile.TarError, EOFError) as error:
        raise SourceError(f"{path}: cannot be unpacked: {error}: copy it again") from None
    return tuple(tuple(wheels) for _, wheels in sorted(found.items()) if len(wheels) >= 20)


def varied(images: list[UInt8Array], rng: np.random.Generator) -> list[UInt8Array]:
    """Return a meter's photographs, uint8 [h, w] each, as another meter might look: there are few to learn from.

    All alike their digits are bent, made bolder or thinner, fainter or stronger against the wheel, and their tones
    shifted; an edge of the window, brighter or darker, may show at the top or at the bottom.
    """
    bend = rng.uniform(-0.035, 0.035, (4, 3, 2)).astype(np.float32)
    bold = (None, None, None, cv2.MORPH_ERODE, cv2.MORPH_DILATE)[rng.integers(5)]
    strength, gamma = np.exp(rng.uniform(np.log((0.4, 0.6)), np.log((1.5, 1.7)))).tolist()
    edge = float(rng.uniform(0.03, 0.18)) if rng.random() < 0.4 else 0.0
    shade, below = float(rng.uniform(0, 255)), rng.random() < 0.5
    tones = (255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)

    @cache
    def bent(height: int, width: int) -> tuple[FloatArray, FloatArray]:
        off_x, off_y = cv2.split(cv2.resize(bend, (width, height), interpolation=cv2.INTER_CUBIC) * np.float32(height))
        rows, columns = np.indices((height, width), dtype=np.float32)
        return columns + off_x, rows + off_y

    def another(image: UInt8Array) -> UInt8Array:
        height, width = image.shape
        grey = cv2.remap(image, *bent(height, width), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        if bold is not None and height > 32:
            grey = cv2.morphologyEx(grey, bold, np.ones((3, 3), np.uint8))
        wheel = cv2.blur(grey, (width // 2, height // 2))
        grey = cv2.addWeighted(grey, strength, wheel, 1 - strength, 0)
        high = round(edge * height)
        grey[height - high if below else 0 : height if below else high] = shade
        return np.asarray(cv2.LUT(grey, tones))

    return list(map(another, images))


def draw_wheel(
    face: Face, position: float, width: int, height: int, tall: int, pitch: float, ink: float, paper: float
) -> UInt8Array:
    """Draw the window of a wheel at a position, grey uint8 [height, width]; neighbours roll in above and below.

    Parameters
    ----------
    tall, pitch
        Height of a digit, and from one digit to the next, in pixels.
    ink, paper
        Grey levels 0..255 of the digits and of the wheel.
    """
    below = int(position)
    share = position - below
    page = np.zeros((height, width), dtype=np.float32)
    for step in (-1, 0, 1, 2):
        glyph = face(str((below + step) % 10))
        high = max(1, round(glyph.ink.shape[0] * tall / DIGIT))
        wide = min(width - 2, max(1, round(glyph.ink.shape[1] * tall / DIGIT)))
        digit = cv2.resize(glyph.ink, (wide, high), interpolation=cv2.INTER_AREA)
        top = round(height / 2 - high / 2 + (step - share) * pitch)
        first, last = max(0, top), min(height, top + high)
        if first < last:
            left = (width - wide) // 2
            page[first:last, left : left + wide] = digit[first - top : last - top]
    shade = np.sin(np.linspace(0.18, np.pi - 0.18, height, dtype=np.float32))[:, None] ** np.float32(0.35)
    grey = (paper + page / 255 * (ink - paper)) * shade
    wheel: UInt8Array = grey.round().clip(0, 255).astype(np.uint8)
    return wheel
