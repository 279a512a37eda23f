"""`golden.npz`: drawn inputs, and what each format answered to them when it was exported."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from digitcam.core.arrays import FloatArray, UInt8Array
from digitcam.core.card import Card
from digitcam.core.errors import ModelError


class Golden(NamedTuple):
    """Drawn inputs and what each format answered when it was exported.

    images
        uint8 [N, H, W, channels].
    numbers
        The N numbers drawn, which every format must read.
    outputs
        By format and output name, float32 [N, ...].
    """

    images: UInt8Array
    numbers: list[str]
    outputs: dict[str, dict[str, FloatArray]]


def read_golden(data: bytes, card: Card, formats: Sequence[str], where: str) -> Golden:
    """Read a `golden.npz` and hold it against the card; answers of formats that are not asked for are left out.

    Raises
    ------
    ModelError
        Naming `where`, and the array that is missing or of another shape.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # of bytes that are no archive of arrays, numpy may raise anything
        kind = type(error).__name__
        raise ModelError(f"{where}: not golden inputs ({kind}): copy the bundle again, or export it again") from None
    spec, count = card.input, len(arrays["numbers"]) if arrays.get("numbers", np.zeros(())).ndim == 1 else 0
    if not count:
        raise ModelError(f"{where}: 'numbers' holds none: export the model again")
    _check(arrays, "images", (count, spec.height, spec.width, spec.channels), np.uint8, where)
    outputs: dict[str, dict[str, FloatArray]] = {format: {} for format in formats}
    for format, named in outputs.items():
        for name, shape in card.output_shapes().items():
            key = f"{format}/{name}"
            _check(arrays, key, (count, *shape[1:]), np.float32, where)
            named[name] = arrays[key]
    return Golden(arrays["images"], [str(number) for number in arrays["numbers"]], outputs)


def _check(arrays: dict[str, np.ndarray], name: str, shape: tuple[int, ...], kind: type, where: str) -> None:
    expected = f"{np.dtype(kind)} {list(shape)}"
    found = f"{arrays[name].dtype} {list(arrays[name].shape)}" if name in arrays else "missing"
    if found != expected:
        raise ModelError(f"{where}: {name!r} is {found}, by the card {expected}: export the model again")
