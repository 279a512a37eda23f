"""Photographs to measure on, fitted into the network's input as the device fits a frame; nothing learns from them.

They lie below `$DIGITCAM_DATA`.
"""

from __future__ import annotations

import tarfile
from functools import cache
from pathlib import Path, PurePosixPath

import cv2
import msgspec
import numpy as np

from digitcam.core.arrays import FloatArray, UInt8Array
from digitcam.core.canvas import HEIGHT, WIDTH, Sample
from digitcam.core.card import Input
from digitcam.core.errors import ConfigError, SourceError
from digitcam.core.preprocess import letterbox
from digitcam.train import mnist, svhn, wheels
from digitcam.train.mnist import Split

NOWHERE = np.zeros((0, 4), dtype=np.float32)
"""The boxes of a number of which only the digits are known."""


def fitted(image: UInt8Array, number: str, boxes_xywh: FloatArray, height: int, width: int) -> Sample:
    """Return a photograph uint8 [h, w] or [h, w, 3] as a sample grey [height, width], its boxes moved along."""
    tensor, placement = letterbox(image, Input(height=height, width=width))
    boxes = placement.to_input(boxes_xywh) if len(boxes_xywh) else boxes_xywh
    return Sample(tensor[0, :, :, 0], number, boxes.astype(np.float32))


class DateCodes(msgspec.Struct, frozen=True):
    """Date codes on circuit boards, `datecodes.tar`: the folder's name is the whole string; a test split alone."""

    def size(self, split: Split) -> int:
        """Return how many photographs there are."""
        return len(self._photographs(split))

    def sample(self, split: Split, index: int, height: int = HEIGHT, width: int = WIDTH) -> Sample:
        """Return photograph `index`; where its digits stand is not known.

        Raises
        ------
        ConfigError
            For another split than `test`.
        SourceError
            When the archive is missing or damaged.
        """
        number, encoded = self._photographs(split)[index]
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
        return fitted(image, number, NOWHERE, height, width)  # type: ignore[arg-type]

    def _photographs(self, split: Split) -> tuple[tuple[str, bytes], ...]:
        if split != "test":
            raise ConfigError(f"datecodes has no {split} split, it is for measuring alone: say --split test")
        return _date_codes(mnist.folder().with_name("datecodes.tar"))


@cache
def _date_codes(path: Path) -> tuple[tuple[str, bytes], ...]:
    try:
        with tarfile.open(path) as archive:
            files = sorted((member for member in archive if member.isfile()), key=lambda member: member.name)
            return tuple(
                (PurePosixPath(member.name).parent.name, file.read())
                for member in files
                if (file := archive.extractfile(member))
            )
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file: set DIGITCAM_DATA to the folder that holds it") from None
    except (OSError, tarfile.TarError) as error:
        raise SourceError(f"{path}: cannot be unpacked: {error}: copy it again") from None


class WheelPhotographs(msgspec.Struct, frozen=True):
    """Single wheels of counters; validation and test are of meters that nothing is trained on.

    Wheels from 0.4 to 0.6 between two digits are left out: either digit would be right.
    """

    def size(self, split: Split) -> int:
        """Return how many photographs a split has."""
        return len(_single_wheels(split))

    def sample(self, split: Split, index: int, height: int = HEIGHT, width: int = WIDTH) -> Sample:
        """Return photograph `index`.

        Raises
        ------
        SourceError
            When the archive is missing or damaged.
        """
        wheel = _single_wheels(split)[index]
        image = wheel.image()
        return fitted(image, str(wheel.digit), wheel.boxes_xywh(*image.shape), height, width)


@cache
def _single_wheels(split: Split) -> tuple[wheels.Wheel, ...]:
    found = (wheel for meter in wheels.meters(split) for wheel in meter)
    return tuple(wheel for wheel in found if abs(wheel.position % 1 - 0.5) > 0.1 + 1e-6)


class HousePhotographs(msgspec.Struct, frozen=True):
    """SVHN's photographs, whole, as a camera would give them; those that are there."""

    def size(self, split: Split) -> int:
        """Return how many photographs of a split are there."""
        return len(_house_records(split))

    def sample(self, split: Split, index: int, height: int = HEIGHT, width: int = WIDTH) -> Sample:
        """Return photograph `index`.

        Raises
        ------
        SourceError
            When labels or photographs are missing or damaged.
        """
        record = _house_records(split)[index]
        return fitted(svhn.image(split, record), record.number, record.boxes_xywh, height, width)


@cache
def _house_records(split: Split) -> tuple[svhn.Record, ...]:
    folder = svhn.folder() / ("test" if split == "test" else "train")
    found = tuple(record for record in svhn.records(split) if (folder / record.name).is_file())
    if not found:
        raise SourceError(f"{folder}: holds none of the {split} photographs: run 'digitcam data fetch svhn'")
    return found
