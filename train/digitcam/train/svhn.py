"""SVHN's house numbers (Netzer et al. 2011): which digits stand where, and the photographs if at hand.

Labels: `svhn/{train,test,extra}_labels.jsonl.gz` below `$DIGITCAM_DATA`, one record a line.
Photographs: `svhn/train/1.png` and so on, as in the archives of http://ufldl.stanford.edu/housenumbers, each of its
own size. `digitcam.train.svhn_archive` fetches both.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Literal

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from digitcam.core.arrays import FloatArray, UInt8Array
from digitcam.core.boxes import union
from digitcam.core.canvas import HEIGHT, WIDTH, Sample, rng_for
from digitcam.core.errors import SourceError
from digitcam.core.strict_json import decode_json
from digitcam.train import mnist
from digitcam.train.mnist import Split

Part = Literal["train", "test", "extra"]
"""The archives. Training's holds the validation split too."""
Source = Literal["photographs", "drawn stand-in"]
STAND_IN: Source = "drawn stand-in"
TRAIN_RECORDS = 30_000
"""The first 30,000 training records train; the other 3,402 validate."""
SIZES: dict[Split | Part, int] = {"train": 30_000, "validation": 3_402, "test": 13_068, "extra": 202_353}
"""Photographs in SVHN, where it is not at hand to be counted."""
_STREAM = 6

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
        # By hand: this is run for every record that is read.
        if any(
            min(xmax, self.width) <= max(xmin, 0) or min(ymax, self.height) <= max(ymin, 0)
            for _, xmin, ymin, xmax, ymax in self.digits
        ):
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
def records(split: Split | Part) -> tuple[Record, ...]:
    """Return the records of a split, or of `extra`, in the order of the file; they stay in memory, about 0.4 kB each.

    Raises
    ------
    SourceError
        When the file is missing or damaged, naming it and the line.
    """
    found = tuple(read(part_of(split)))
    if split in ("test", "extra"):
        return found
    return found[:TRAIN_RECORDS] if split == "train" else found[TRAIN_RECORDS:]


def read(part: Part) -> Iterator[Record]:
    """Read a part's label file record by record; errors as of `records`."""
    path = labels_path(part)
    try:
        with gzip.open(path) as lines:
            for number, line in enumerate(lines, 1):
                try:
                    record: Record = decode_json(line, Record)
                except msgspec.MsgspecError as error:
                    raise SourceError(f"{path}: line {number}: {error}: {_mend(part)}") from None
                yield record
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file: {_mend(part)}, or set DIGITCAM_DATA") from None
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path}: cannot be unpacked: {error}: {_mend(part)}") from None


class SvhnData(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="svhn", tag_field="kind"):
    """The photographs, as in the seed each stretched to the canvas whatever its own proportions.

    Training images come in another order at every pass; those of the other splits in the order of the labels.

    extra
        Train on train and extra mixed, each drawn in proportion to its size.
    grey
        Give grey images [height, width] in place of BGR [height, width, 3].
    stand_in
        Where the photographs are absent, draw house numbers after the labels (`StreetData`) in their place, so that a
        recipe can be tried; `source` says which it was, and no result may be told without it.
    seed
        Of the order, and of what is drawn.
    """

    extra: bool = False
    grey: bool = False
    stand_in: bool = False
    seed: Annotated[int, msgspec.Meta(ge=0)] = 1

    @property
    def channels(self) -> int:
        """BGR, or grey."""
        return 1 if self.grey else 3

    @property
    def max_digits(self) -> int:
        """The longest number in SVHN has six digits."""
        return 6

    def size(self, split: Split) -> int:
        """Return how many images a split has."""
        if self.source(split) == "photographs":
            return sum(len(records(shelf)) for shelf in self._shelves(split))
        return sum(SIZES[shelf] for shelf in self._shelves(split))

    def source(self, split: Split) -> Source:
        """Say what a split's images are; within a process it stays at that.

        Raises
        ------
        SourceError
            When the photographs are absent and `stand_in` is not set, with the command that fetches them.
        """
        absent = [shelf for shelf in self._shelves(split) if not at_hand(shelf)]
        if absent and not self.stand_in:
            where = folder() / part_of(absent[0])
            raise SourceError(f"{where}: SVHN's photographs are not all there: {_mend(part_of(absent[0]))}")
        return STAND_IN if absent else "photographs"

    def sample(self, split: Split, index: int, height: int = HEIGHT, width: int = WIDTH) -> Sample:
        """Return image `index` of a split with its boxes; beyond its size the split begins again.

        Raises
        ------
        SourceError
            As `source`, or when a photograph is damaged.
        """
        if self.source(split) == STAND_IN:
            return self._draw(split, index, height, width)
        shelves = self._shelves(split)
        sizes = [len(records(shelf)) for shelf in shelves]
        turn, place = divmod(index, sum(sizes))
        if split == "train":
            place = int(_order(self.seed, turn, sum(sizes))[place])
        shelf = shelves[0] if place < sizes[0] else shelves[1]
        record = records(shelf)[place if place < sizes[0] else place - sizes[0]]
        photograph = image(shelf, record)
        scale = np.array([width / record.width, height / record.height] * 2, dtype=np.float32)
        shown = stretch(photograph, height, width)
        if self.grey:
            shown = cv2.cvtColor(shown, cv2.COLOR_BGR2GRAY)  # type: ignore[assignment]
        return Sample(shown, record.number, record.boxes_xywh * scale)

    def _shelves(self, split: Split) -> tuple[Split | Part, ...]:
        return (split, "extra") if self.extra and split == "train" else (split,)

    def _draw(self, split: Split, index: int, height: int, width: int) -> Sample:
        # Here, since the scenes are drawn from these records.
        from digitcam.train.street import StreetData

        # One number an image, as in SVHN: slots would learn two as one.
        street = StreetData(kinds={"house": 1.0}, empty=0.0, several=0.0, seed=self.seed)
        drawn = street.sample(split, index, height, width)
        return drawn if self.grey else drawn._replace(image=np.repeat(drawn.image[:, :, None], 3, axis=2))


@cache
def at_hand(split: Split | Part) -> bool:
    """Say whether a split's labels and photographs are there; the last photograph stands for all."""
    if not labels_path(part_of(split)).is_file() or not records(split):
        return False
    return image_path(split, records(split)[-1]).is_file()


def stretch(photograph: UInt8Array, height: int, width: int) -> UInt8Array:
    """Return a photograph [h, w, 3] at [height, width, 3], each axis by its own factor."""
    # First the axes that shrink, by averages, which keep thin strokes; OpenCV averages only where none grows.
    smaller = (min(width, photograph.shape[1]), min(height, photograph.shape[0]))
    shrunk = cv2.resize(photograph, smaller, interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]


@lru_cache(maxsize=4)
def _order(seed: int, turn: int, count: int) -> npt.NDArray[np.int64]:
    """Return the order int64 [count] of a pass over the training images."""
    return rng_for(seed, _STREAM, turn).permutation(count)


def image(split: Split | Part, record: Record) -> UInt8Array:
    """Return a record's photograph, uint8 [height, width, 3] BGR.

    Raises
    ------
    SourceError
        When it is missing, no image, or of another size than its record says.
    """
    path = image_path(split, record)
    if not path.is_file():
        raise SourceError(f"{path}: no such file: {_mend(part_of(split))}")
    photograph = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if photograph is None:
        raise SourceError(f"{path}: not an image: delete it and {_mend(part_of(split))}")
    if photograph.shape[:2] != (record.height, record.width):
        size = f"{photograph.shape[1]}x{photograph.shape[0]}"
        raise SourceError(
            f"{path}: is {size} px, its record says {record.width}x{record.height}: "
            f"delete it and {_mend(part_of(split))}"
        )
    return photograph  # type: ignore[return-value]


def part_of(split: Split | Part) -> Part:
    """Return the archive a split is in."""
    return "train" if split == "validation" else split


def labels_path(part: Part) -> Path:
    """Return where a part's labels are looked for."""
    return folder() / f"{part}_labels.jsonl.gz"


def image_path(split: Split | Part, record: Record) -> Path:
    """Return where a record's photograph is looked for."""
    return folder() / part_of(split) / record.name


def _mend(part: Part) -> str:
    return f"run 'digitcam data fetch svhn --part {part}'"
