"""SVHN's archives fetched, unpacked, and their labels converted to the lines that `digitcam.train.svhn` reads.

Whatever the size, one block of the archive and one record are in memory at a time; beside them, where a part is looked
through for what is missing, the names of its photographs.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from tqdm import tqdm

from digitcam.core.errors import SourceError
from digitcam.train import digitstruct, svhn
from digitcam.train.fetch import Published, check_room, download, unpack
from digitcam.train.svhn import Part, Record

MIRROR = "http://ufldl.stanford.edu/housenumbers"
ARCHIVES: dict[Part, Published] = {
    "train": Published(404_141_560, "a649f4cb15c35520e8a8c342d4c0005a"),
    "test": Published(276_555_967, "790d9c8d42f1fcbd219b59956c853a81"),
    "extra": Published(1_955_489_752, "606f41243d71ca4d5fe66dbaf1f02bee"),
}
"""`PART.tar.gz` each."""
UNPACKED = 1.5
"""Room the files of an archive are taken to need, as a multiple of its own: an estimate on the safe side."""


class Fetched(NamedTuple):
    """A part that is at hand: its label file, how many photographs that labels, and why others are left out.

    `left_out` is known only when the part has just been converted; it is empty for one found complete.
    """

    labels: Path
    photographs: int
    left_out: tuple[str, ...]


def fetch(parts: Sequence[Part] = tuple(ARCHIVES), mirror: str = MIRROR, keep: bool = False) -> Iterator[Fetched]:
    """Bring photographs and labels of some parts, one after the other; yield each when it is at hand.

    A part is complete when its label file is there with every photograph that this names; nothing is done then.
    Else its archive is downloaded, checked, unpacked beside, converted, and deleted unless `keep` is set. The
    photographs come last, so that a part broken off anywhere is incomplete and taken up again.

    Raises
    ------
    SourceError
        When the disk lacks the room for all that is missing, before anything is downloaded; when an archive cannot
        be downloaded or is damaged, as in `fetch.download` and `convert`.
    """
    found = {part: _count(part) for part in parts}
    for part in parts:
        shutil.rmtree(_workplace(part), ignore_errors=True)
    check_room(svhn.folder(), _needed([part for part, count in found.items() if count is None], keep))
    for part, count in found.items():
        yield _bring(part, mirror, keep) if count is None else Fetched(svhn.labels_path(part), count, ())


def convert(source: Path, labels: Path) -> Fetched:
    """Write the label file of a folder of photographs and their digitStruct.mat; it appears only when whole.

    A record with a digit that is no digit, or whose box is empty or wholly outside the photograph, is left out. A
    box partly outside stays as published and is clipped when it is read.

    Raises
    ------
    SourceError
        When the digitStruct.mat is damaged, a photograph is missing or no PNG, or no record is usable.
    """
    part = labels.with_name(labels.name + ".part")
    left_out: list[str] = []
    written = 0
    # Without the time of day, so that the same archive gives the same file.
    with part.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file:
        for name, digits in tqdm(digitstruct.read(source / "digitStruct.mat"), labels.name, unit="img", disable=None):
            width, height = png_size(source / name)
            try:
                fields = {"name": name, "width": width, "height": height, "digits": digits}
                record = msgspec.convert(fields, Record)
            except msgspec.ValidationError as error:
                # The record's own complaints name the photograph already.
                left_out.append(f"{name}: {str(error).removeprefix(f'{name}: ')}")
                continue
            file.write(msgspec.json.encode(record) + b"\n")
            written += 1
    if not written:
        raise SourceError(f"{source / 'digitStruct.mat'}: no usable record of {len(left_out)}: {left_out[:1]}")
    part.replace(labels)
    svhn.records.cache_clear()
    return Fetched(labels, written, tuple(left_out))


def png_size(path: Path) -> tuple[int, int]:
    """Return a PNG's width and height in pixels from its first 24 bytes.

    Raises
    ------
    SourceError
        When the file is missing or no PNG.
    """
    try:
        with path.open("rb") as file:
            head = file.read(24)
    except OSError as error:
        raise SourceError(f"{path}: is in the labels, but: {error.strerror}: fetch its archive again") from None
    width, height = int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    # Signature, then the header's length and name.
    if head[:16] != b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR" or not (width and height):
        raise SourceError(f"{path}: not a PNG: fetch its archive again")
    return width, height


def _count(part: Part) -> int | None:
    """Return how many photographs a complete part has, None when it is not complete."""
    folder = svhn.folder() / part
    if not folder.is_dir():
        return None
    held, count = {path.name for path in folder.iterdir()}, 0
    try:
        for count, record in enumerate(svhn.read(part), 1):  # noqa: B007
            if record.name not in held:
                return None
    except SourceError:
        return None
    return count or None


def _needed(parts: Sequence[Part], keep: bool) -> int:
    """Return how many bytes the parts still need on the disk at once."""
    archives = [ARCHIVES[part].size - _held(part) for part in parts]
    unpacked = sum(int(ARCHIVES[part].size * UNPACKED) for part in parts)
    # Without `keep` one archive is there at a time.
    return unpacked + (sum(archives) if keep else max(archives, default=0))


def _held(part: Part) -> int:
    """Return how many bytes of a part's archive are there already."""
    paths = [_archive(part), _archive(part).with_name(f"{part}.tar.gz.part")]
    return min(ARCHIVES[part].size, max(path.stat().st_size if path.exists() else 0 for path in paths))


def _bring(part: Part, mirror: str, keep: bool) -> Fetched:
    archive, workplace, target = _archive(part), _workplace(part), svhn.folder() / part
    download(f"{mirror}/{archive.name}", archive, ARCHIVES[part])
    unpack(archive, workplace)
    try:
        fetched = convert(workplace, svhn.labels_path(part))
        if target.exists():
            # What else is there stays.
            for path in workplace.iterdir():
                path.replace(target / path.name)
            workplace.rmdir()
        else:
            workplace.rename(target)
        svhn.at_hand.cache_clear()
        if not keep:
            archive.unlink()
    except OSError as error:
        raise SourceError(f"{error.filename or target}: cannot be written: {error.strerror}") from None
    return fetched


def _archive(part: Part) -> Path:
    return svhn.folder() / f"{part}.tar.gz"


def _workplace(part: Part) -> Path:
    return svhn.folder() / f"{part}.unpacking"
