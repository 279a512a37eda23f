"""MNIST's digits, read from the four idx files as LeCun published them.

Format: http://yann.lecun.com/exdb/mnist/ (big-endian; magic 2051 for images, 2049 for labels).
"""

from __future__ import annotations

import gzip
import hashlib
import os
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from digitcam.core.arrays import UInt8Array
from digitcam.core.errors import SourceError
from digitcam.train.fetch import Published, download

Split = Literal["train", "validation", "test"]

MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist"
FILES = {
    "train-images-idx3-ubyte.gz": Published(9_912_422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    "train-labels-idx1-ubyte.gz": Published(28_881, "d53e105ee54ea40749a09fcbcd1e9432"),
    "t10k-images-idx3-ubyte.gz": Published(1_648_877, "9fb629c4189551a2d022fa330f9573f3"),
    "t10k-labels-idx1-ubyte.gz": Published(4_542, "ec29112dd5afa0611ce80d1b7f02629c"),
}
"""File name to size and md5."""
TRAIN_DIGITS = 55_000
"""The first 55,000 training digits train; the last 5,000 validate."""


def folder() -> Path:
    """Return where the files are looked for: below `$DIGITCAM_DATA`, or the user's cache."""
    root = os.environ.get("DIGITCAM_DATA")
    return (Path(root) if root else Path.home() / ".cache" / "digitcam") / "mnist"


def fetch(mirror: str = MIRROR) -> list[Path]:
    """Download the files that are missing or damaged; return their paths.

    Raises
    ------
    SourceError
        When a file cannot be downloaded or its size or md5 differs, as `fetch.download` says.
    """
    paths = [folder() / name for name in FILES]
    for path in paths:
        download(f"{mirror}/{path.name}", path, FILES[path.name])
    return paths


def _idx(path: Path, magic: int) -> UInt8Array:
    """Return the array in an idx file, after checking its md5 and header."""
    try:
        packed = path.read_bytes()
    except OSError:
        raise SourceError(f"{path}: no such file: run 'digitcam data fetch mnist' or set DIGITCAM_DATA") from None
    if (found := hashlib.md5(packed).hexdigest()) != FILES[path.name].md5:
        raise SourceError(f"{path}: md5 is {found}, not {FILES[path.name].md5}: run 'digitcam data fetch mnist'")
    data = gzip.decompress(packed)
    header = np.frombuffer(data, ">i4", count=1 + magic % 256)
    if header[0] != magic:
        raise SourceError(f"{path}: magic number is {header[0]}, not {magic}")
    return np.frombuffer(data, np.uint8, offset=4 * len(header)).reshape(header[1:])


@cache
def digits(split: Split) -> tuple[UInt8Array, UInt8Array]:
    """Return the images uint8 [n, 28, 28] and labels uint8 [n] of a split.

    Raises
    ------
    SourceError
        When a file is missing or damaged, with the command that fetches it.
    """
    stem = "t10k" if split == "test" else "train"
    images = _idx(folder() / f"{stem}-images-idx3-ubyte.gz", 2051)
    labels = _idx(folder() / f"{stem}-labels-idx1-ubyte.gz", 2049)
    part = {"train": slice(0, TRAIN_DIGITS), "validation": slice(TRAIN_DIGITS, None), "test": slice(None)}[split]
    return images[part], labels[part]
