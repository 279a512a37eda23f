"""The data sets that `evaluate`, the export gates and the benchmarks know by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from digitcam.core.canvas import Sample
from digitcam.core.errors import ConfigError
from digitcam.train.canvas import CanvasData
from digitcam.train.mnist import Split
from digitcam.train.real import DateCodes, HousePhotographs, WheelPhotographs
from digitcam.train.street import MIX, StreetData
from digitcam.train.svhn import STAND_IN, SvhnData

Data: TypeAlias = CanvasData | StreetData | SvhnData

DATA_SETS: dict[str, Data | DateCodes | HousePhotographs | WheelPhotographs] = {
    "canvas-variable": CanvasData(digits="mnist"),
    "canvas-five": CanvasData(digits="mnist", min_digits=5),
    "glyphs-variable": CanvasData(digits="glyphs"),
    "street": StreetData(empty=0.0),
    "street-empty": StreetData(empty=1.0),
    **{f"street-{kind}": StreetData(kinds={kind: 1.0}, empty=0.0, several=0.0) for kind in MIX},
    "svhn": SvhnData(stand_in=True),
    "svhn-photographs": HousePhotographs(),
    "wheels": WheelPhotographs(),
    "datecodes": DateCodes(),
}
RARE = ("datecodes",)
"""Those measured rarely, by `bench accuracy` and `bench peers` alone, which log it: what is looked at too often is
tuned on in the end."""


def data_set(name: str) -> Data | DateCodes | HousePhotographs | WheelPhotographs:
    """Return a data set by its name.

    Raises
    ------
    ConfigError
        With the known names.
    """
    if name not in DATA_SETS:
        raise ConfigError(f"data set {name!r} is not known: choose from {', '.join(DATA_SETS)}")
    return DATA_SETS[name]


def source_of(data: Data, split: Split) -> str:
    """Say what a split's images are: `SvhnData.source`, or the data's kind."""
    return data.source(split) if isinstance(data, SvhnData) else str(type(data).__struct_config__.tag)


def check_there(data: object, split: Split) -> None:
    """Raise SourceError when one of street's kinds lacks its data, which the first images may do without."""
    if isinstance(data, StreetData):
        data.check_there(split)


def caution(data: object, split: Split) -> str:
    """Return what must be said beside any result on a data set's split; empty where there is nothing."""
    if isinstance(data, SvhnData) and data.source(split) == STAND_IN:
        return f"svhn/{split}: the photographs are not all there: drawn house numbers stand in for them"
    return ""


def samples(name: str, split: Split, count: int | None = None) -> Iterable[Sample]:
    """Draw the first `count` images of a named data set's split, all of them by default.

    Raises
    ------
    ConfigError
        As `data_set` and `size_of`, at once.
    """
    data, images = data_set(name), size_of(name, split, count)
    return (data.sample(split, index) for index in range(images))


def refuse_rare(name: str) -> None:
    """Raise ConfigError for a data set of which every measurement is logged, by a verb that logs none."""
    if name in RARE:
        raise ConfigError(f"data set {name}: is measured rarely, and each time logged: use 'digitcam bench accuracy'")


def size_of(name: str, split: Split, count: int | None = None) -> int:
    """Return `count`, or of how many images a named data set's split is.

    Raises
    ------
    ConfigError
        When it has none, or fewer than `count`.
    """
    there = data_set(name).size(split)
    if not there:
        raise ConfigError(f"data set {name}: has no {split} images: choose another --split")
    if count is not None and count > there:
        raise ConfigError(
            f"data set {name}: has {there} {split} images, not {count}: give a smaller --count or --images"
        )
    return there if count is None else count
