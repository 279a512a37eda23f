"""Readings drawn into their frames, and sheets of such pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from digitcam.core.arrays import UInt8Array
from digitcam.core.errors import ConfigError, SinkError
from digitcam.core.reading import Reading
from digitcam.core.whole import write_file

WIDEST = 1280
"""Pixels that a picture sent to people is wide or high at most."""
QUALITY = 80
"""Of its JPEG."""
_ACCEPTED, _REJECTED, _DIGIT = (80, 220, 80), (60, 60, 240), (220, 180, 60)


def annotate(image: UInt8Array, readings: Sequence[Reading]) -> UInt8Array:
    """Return a copy uint8 [height, width, 3] with every digit's and number's box, and the number written above."""
    canvas = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image.copy()
    unit = max(canvas.shape[0], canvas.shape[1]) / 640
    thickness = max(1, round(1.5 * unit))
    for reading in readings:
        if not reading.number:
            continue
        colour = _ACCEPTED if reading.accepted else _REJECTED
        for digit in reading.digits:
            _rectangle(canvas, digit.box, _DIGIT, 1)
        _rectangle(canvas, reading.box, colour, thickness)
        x, y, _, height = reading.box
        above = y - 6 * unit if y > 28 * unit else y + height + 24 * unit
        text = f"{reading.number}  {100 * reading.confidence:.0f}%"
        place = (max(0, round(x)), round(above))
        cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.75 * unit, colour, thickness, cv2.LINE_AA)
    return canvas  # type: ignore[return-value]


def jpeg(image: UInt8Array) -> bytes:
    """Return a picture, uint8 [height, width] or [height, width, 3] BGR, as the JPEG that people are sent."""
    scale = WIDEST / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def sheet(images: Sequence[UInt8Array], columns: int = 4, cell_width: int = 320) -> UInt8Array:
    """Return the pictures as one, `columns` a row, each `cell_width` px wide, as high as the first is."""
    height = round(cell_width * images[0].shape[0] / images[0].shape[1])
    cells = [cv2.resize(image, (cell_width, height), interpolation=cv2.INTER_AREA) for image in images]
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    rows = [np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)]
    return np.vstack(rows)


def drawings(images: Sequence[Path], folder: Path) -> dict[str, Path]:
    """Return by image what the picture of it in a folder is called: its name without the ending, and .png.

    Raises
    ------
    ConfigError
        When two would be the same file, or one of the images themselves.
    """
    found = {str(image): folder / f"{image.stem}.png" for image in images}
    given, taken = {image.resolve() for image in images}, set()
    for image, picture in found.items():
        if picture.resolve() in given:
            raise ConfigError(f"{image}: its picture would be written over {picture}: draw into another folder")
        if picture in taken:
            raise ConfigError(f"{image}: its picture would be {picture}, and so would another's: rename one")
        taken.add(picture)
    return found


def write_image(path: Path, image: UInt8Array) -> None:
    """Write an image file, by its ending; one that is there is replaced only when the new one is whole.

    Raises
    ------
    SinkError
        When the folder cannot be written to, or the ending is of no known format.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        done, data = cv2.imencode(path.suffix or ".", image)
        if not done:
            raise SinkError(f"{path}: cannot write this picture")
        write_file(path, data.data)
    except OSError as error:
        raise SinkError(f"{path}: cannot write: {error.strerror}") from None
    except cv2.error:
        raise SinkError(f"{path}: cannot write a picture of kind {path.suffix!r}: use .png or .jpg") from None


def _rectangle(
    canvas: object, box: tuple[float, float, float, float], colour: tuple[int, int, int], thickness: int
) -> None:
    x, y, width, height = box
    corners = (round(x), round(y)), (round(x + width), round(y + height))
    cv2.rectangle(canvas, *corners, colour, thickness, cv2.LINE_AA)  # type: ignore[call-overload]
