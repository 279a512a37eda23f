"""SVHN's house numbers (Netzer et al. 2011): which digits stand where, and the photographs if at hand.

Labels: `svhn/{train,test}_labels.jsonl.gz` below `$DIGITCAM_DATA`, one record a line.
Photographs: `svhn/train/1.png` and so on, as in the archives of http://ufldl.stanford.edu/housenumbers.
"""

from __future__ import annotations

import gzip
import zlib
from functools import cache
from pathlib import Path
from typing import Annotated

import cv2
import msgspec
import numpy as np

from digitcam.core.arrays import FloatArray, UInt8Array
from digitcam.core.boxes import union
from digitcam.core.errors import SourceError
from digitcam.train import mnist
from digitcam.train.mnist import Split

TRAIN_RECORDS = 30_000
"""The first 30,000 training records train; the other 3,402 validate."""

Positive = Annotated[int, msgspec.Meta(gt=0)]
LabelledDigit = tuple[Annotated[int, msgspec.Meta(ge=0, le=9)], int, int, int, int]


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The labels of one photograph.

    name
        Of its PNG.
    width, height
        Its size in pixels.
    digits
        In the order of the labels, nearly always from left to right: digit, xmin, ymin, xmax, ymax in pixels.
        Some boxes reach over the photograph's edge.
    """

    name: str
    width: Positive
    height: Positive
    digits: Annotated[tuple[LabelledDigit, ...], msgspec.Meta(min_length=1)]

    def __post_init__(self) -> None:
        if (self.boxes_xywh[:, 2:] <= 0).any():
            raise ValueError(f"{self.name}: a digit's box is empty, or outside the photograph")

    @property
    def number(self) -> str:
        """The digits as one string; leading zeros count."""
        return "".join(str(digit) for digit, *_ in self.digits)

    @property
    def boxes_xywh(self) -> FloatArray:
        """The digits' boxes float32 [n, 4] in pixels of the photograph, clipped to it."""
        corners = np.array([corners for _, *corners in self.digits], dtype=np.float32).reshape(-1, 2, 2)
        corners = corners.clip(0, (self.width, self.height))
        return np.concatenate([corners[:, 0], corners[:, 1] - corners[:, 0]], axis=1, dtype=np.float32)

    @property
    def box_xywh(self) -> FloatArray:
        """The number's box [4]: the union of its digits' boxes."""
        return union(self.boxes_xywh)


def folder() -> Path:
    """Return where labels and photographs are looked for, beside MNIST's files."""
    return mnist.folder().with_name("svhn")


@cache
def records(split: Split) -> tuple[Record, ...]:
    """Return a split's records in the order of the file.

    Raises
    ------
    SourceError
        When the file is missing or damaged, naming it and the line.
    """
    path = folder() / f"{_part(split)}_labels.jsonl.gz"
    try:
        lines = gzip.decompress(path.read_bytes()).splitlines()
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file: set DIGITCAM_DATA to the folder that holds svhn/") from None
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path}: cannot be unpacked: {error}: copy it again") from None
    decoder = msgspec.json.Decoder(Record)
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(decoder.decode(line))
        except msgspec.MsgspecError as error:
            raise SourceError(f"{path}: line {number}: {error}: copy the file again") from None
    if split == "test":
        return tuple(found)
    return tuple(found[:TRAIN_RECORDS] if split == "train" else found[TRAIN_RECORDS:])


def image(split: Split, record: Record) -> UInt8Array:
    """Return a record's photograph, uint8 [height, width, 3] BGR.

    Raises
    ------
    SourceError
        When it is missing, no image, or of another size than its record says.
    """
    path = folder() / _part(split) / record.name
    archive = f"{_part(split)}.tar.gz of http://ufldl.stanford.edu/housenumbers"
    if not path.is_file():
        raise SourceError(f"{path}: no such file: unpack {archive} into {folder()}")
    photograph = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if photograph is None:
        raise SourceError(f"{path}: not an image: unpack {archive} again")
    if photograph.shape[:2] != (record.height, record.width):
        size = f"{photograph.shape[1]}x{photograph.shape[0]}"
        raise SourceError(
            f"{path}: is {size} px, its record says {record.width}x{record.height}: unpack {archive} again"
        )
    return photograph  # type: ignore[return-value]


def _part(split: Split) -> str:
    return "test" if split == "test" else "train"
