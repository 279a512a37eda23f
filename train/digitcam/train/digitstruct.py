"""SVHN's labels as published: `digitStruct.mat`, a MATLAB v7.3 file, which is HDF5, read record by record.

`digitStruct/name` and `digitStruct/bbox` [N, 1] hold references. A name refers to its characters, uint16 [L, 1].
A bbox refers to a group of `label`, `left`, `top`, `width` and `height`: for one digit a number [1, 1] each, for n
digits n references [n, 1] to such numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py  # type: ignore[import-untyped]
import numpy as np

from digitcam.core.errors import SourceError

FIELDS = ("label", "left", "top", "width", "height")


class Labels(NamedTuple):
    """One photograph's file name and digits: digit, xmin, ymin, xmax, ymax in pixels, in the order of the file.

    Left and top are kept as published, as in every SVHN label file in JSON; xmax and ymax are left + width and
    top + height. Nothing is clipped, and a digit is whatever number stands there, but for the label 10, which is 0.
    """

    name: str
    digits: list[tuple[int, int, int, int, int]]


def read(path: Path) -> Iterator[Labels]:
    """Read a digitStruct.mat record by record, holding one at a time.

    Raises
    ------
    SourceError
        When the file is no such file, or a record is damaged; records count from 1.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise SourceError(f"{path}: cannot be read as HDF5: {_line(error)}: fetch its archive again") from None
    with file:
        _forget_early(file)
        try:
            names, boxes = file["digitStruct/name"], file["digitStruct/bbox"]
            count = len(names)
            if len(boxes) != count:
                raise ValueError(f"{count} names, but {len(boxes)} bboxes")
        except _DAMAGE as error:
            raise SourceError(f"{path}: no digitStruct of names and bboxes: {_line(error)}") from None
        for index in range(count):
            try:
                labels = Labels(_name(file[names[index, 0]]), _digits(file, file[boxes[index, 0]]))
            except _DAMAGE as error:
                raise SourceError(
                    f"{path}: record {index + 1} of {count}: {_line(error)}: fetch its archive again"
                ) from None
            yield labels


_DAMAGE = (OSError, KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError)
"""What h5py raises on a damaged file, and this module on one that makes no sense."""


def _forget_early(file: Any) -> None:
    """Bound HDF5's cache of objects, each read once here; by default it grows by 60 kB a record, to gigabytes."""
    cache = file.id.get_mdc_config()
    cache.set_initial_size = True
    cache.initial_size = cache.min_size = cache.max_size = 1 << 20
    file.id.set_mdc_config(cache)


def _name(characters: Any) -> str:
    name = "".join(map(chr, characters[()].ravel().tolist()))
    # It becomes a path.
    if not name or not name.isprintable() or "\\" in name or name.startswith(".") or Path(name).name != name:
        raise ValueError(f"name {name!r} is no file name")
    return name


def _digits(file: Any, box: Any) -> list[tuple[int, int, int, int, int]]:
    columns = [_numbers(file, box, field) for field in FIELDS]
    if len({len(column) for column in columns}) != 1:
        lengths = ", ".join(f"{len(column)} {field}" for field, column in zip(FIELDS, columns, strict=True))
        raise ValueError(f"bbox has {lengths}")
    return [
        (0 if label == 10 else label, left, top, left + width, top + height)
        for label, left, top, width, height in zip(*columns, strict=True)
    ]


def _numbers(file: Any, box: Any, field: str) -> list[int]:
    """Return a field's numbers, one a digit, to the nearest pixel."""
    column = box[field]
    values = column[()].ravel()
    if h5py.check_ref_dtype(column.dtype) is h5py.Reference:
        values = np.array([file[reference][()].item() for reference in values], dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"{field} is not finite")
    rounded: list[int] = values.round().astype(np.int64).tolist()
    return rounded


def _line(error: Exception) -> str:
    """Return an error's message on one line; a KeyError's without its quotes."""
    return " ".join(str(error.args[0] if isinstance(error, KeyError) and error.args else error).split())
