"""What OCR engines want of a picture: dark on light, large enough, cropped; and digits out of what they say."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from digitcam.core.arrays import FloatArray, UInt8Array

MARGIN = 0.25
"""Round a box, as a share of its height."""


def grey(image: UInt8Array) -> UInt8Array:
    """Return an image [height, width] of one that may be BGR."""
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)  # type: ignore[return-value]


def colour(image: UInt8Array) -> UInt8Array:
    """Return an image [height, width, 3] BGR of one that may be grey."""
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image  # type: ignore[return-value]


def dark_on_light(image: UInt8Array) -> UInt8Array:
    """Return a grey image, inverted where the lighter side of Otsu's threshold is the smaller one, the writing."""
    threshold, _ = cv2.threshold(image, 0, 255, cv2.THRESH_OTSU)
    inverted: UInt8Array = 255 - image
    return inverted if float(np.mean(image > threshold)) < 0.5 else image


def cropped(image: UInt8Array, box_xywh: FloatArray, height: int) -> UInt8Array:
    """Return a box with its margin, as far as it lies in the image, scaled for a box of `height` px."""
    x, y, w, h = (float(value) for value in box_xywh)
    margin = MARGIN * h
    left, top = max(0, round(x - margin)), max(0, round(y - margin))
    right, bottom = round(x + w + margin), round(y + h + margin)
    return scaled(image[top : max(top + 1, bottom), left : max(left + 1, right)], height / max(h, 1.0))


def scaled(image: UInt8Array, factor: float) -> UInt8Array:
    """Return an image `factor` times as large."""
    if factor == 1:
        return image
    size = max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor))
    how = cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA
    return cv2.resize(image, size, interpolation=how)  # type: ignore[return-value]


def digits(text: str) -> str:
    """Return the digits 0 to 9 of a text and nothing else."""
    return "".join(character for character in text if character in "0123456789")


def best_line(lines: Iterable[tuple[str, float]]) -> str:
    """Return the digits of the line that has the most of them, of such lines the surest; "" for none."""
    found = [(digits(text), sure) for text, sure in lines]
    return max(found, key=lambda line: (len(line[0]), line[1]), default=("", 0.0))[0]
