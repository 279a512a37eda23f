"""Downloads that go on where they stopped, and archives unpacked: size, md5 and room on the disk are checked."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import re
import shutil
import tarfile
import urllib.request
import zlib
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from digitcam.core.errors import SourceError

BLOCK = 1 << 20
"""Bytes held in memory at a time."""


class Published(NamedTuple):
    """A file as its makers published it: its size in bytes and its md5."""

    size: int
    md5: str


def download(url: str, path: Path, published: Published) -> None:
    """Bring a file to `path`, unless it is there already, whole and of the right md5.

    It grows as `NAME.part` and takes its name only when it is right. A `.part` left by an interrupted download
    is gone on with where the server knows how (HTTP's Range), else begun again.

    Raises
    ------
    SourceError
        When the disk lacks the room, the file cannot be downloaded (its `.part` stays), or it is another file
        than the one published (its `.part` is removed).
    """
    if path.exists() and path.stat().st_size == published.size and _md5(path) == published.md5:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError(f"{path.parent}: cannot be made: {error.strerror}: set DIGITCAM_DATA elsewhere") from None
    part = path.with_name(path.name + ".part")
    if part.exists() and part.stat().st_size > published.size:
        part.unlink()
    held = part.stat().st_size if part.exists() else 0
    check_room(path.parent, published.size - held)
    if held < published.size:
        try:
            _receive(url, part, held, published.size)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise SourceError(
                f"{url}: cannot download: {error}: try another --mirror, or put the file into {path.parent}"
            ) from None
        if (held := part.stat().st_size) < published.size:
            raise SourceError(
                f"{url}: cannot download: it broke off after {held} of {published.size} bytes: run the same again, "
                "it goes on from there"
            )
    if (found := _md5(part)) != published.md5:
        part.unlink()
        raise SourceError(f"{url}: md5 is {found}, not {published.md5}: removed; try again or another --mirror")
    part.replace(path)


def check_room(folder: Path, needed: int) -> None:
    """Raise SourceError when the disk that holds `folder` has less than `needed` bytes free."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        # In whole MB, the one rounded up and the other down, so that they never look alike.
        raise SourceError(
            f"{folder}: needs {-(-needed // 10**6)} MB, only {free // 10**6} MB are free: "
            "make room, or set DIGITCAM_DATA to another disk"
        )


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a .tar.gz whose files lie side by side in one folder, straight into a new `folder`.

    Nothing but plain files is taken, each by the last part of its name, so nothing can land elsewhere.

    Raises
    ------
    SourceError
        When the archive is damaged, or holds anything else; or the disk is full.
    """
    try:
        folder.mkdir(parents=True)
        with gzip.open(archive) as unzipped, tarfile.open(fileobj=unzipped, mode="r|") as tar:
            while (member := tar.next()) is not None:
                # It would otherwise remember every member.
                tar.members = []  # type: ignore[attr-defined]
                if not member.isdir():
                    _unpack_member(tar, member, folder)
            # A tar ends before its file does, whose end holds the checksum.
            while unzipped.read(BLOCK):
                pass
    except (gzip.BadGzipFile, EOFError, zlib.error, tarfile.TarError, ValueError) as error:
        raise SourceError(f"{archive}: is damaged: {error}: delete it and fetch it again") from None
    except OSError as error:
        raise SourceError(f"{archive}: cannot be unpacked into {folder}: {error.strerror}") from None


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    steps = PurePosixPath(member.name).parts
    source = tar.extractfile(member) if member.isreg() else None
    if source is None or len(steps) != 2 or ".." in steps or "/" in steps:
        raise ValueError(f"{member.name!r} is no plain file in the archive's one folder")
    with source, (folder / steps[1]).open("xb") as target:
        shutil.copyfileobj(source, target, BLOCK)


def _md5(path: Path) -> str:
    digest = hashlib.md5()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _receive(url: str, part: Path, held: int, size: int) -> None:
    """Append to `part`, which has `held` of `size` bytes, what the server still sends; begin again if it cannot."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={held}-"} if held else {})
    with urllib.request.urlopen(request, timeout=60) as response:
        start, total = _extent(response.headers, response.status == HTTPStatus.PARTIAL_CONTENT)
        if total is not None and total != size:
            raise ValueError(f"it has {total} bytes, not {size}")
        if start not in (0, held):
            raise ValueError(f"the server sent it from byte {start}, not {held}")
        with part.open("ab" if start else "wb") as file:
            _copy(response, file, part.name.removesuffix(".part"), start, size)


def _extent(headers: http.client.HTTPMessage, partial: bool) -> tuple[int, int | None]:
    """Return from which byte on the server sends, and the whole file's size where it says so."""
    if not partial:
        length = headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
    if not found:
        raise ValueError(f"the server's Content-Range is {headers.get('Content-Range')!r}")
    return int(found[1]), None if found[2] == "*" else int(found[2])


def _copy(response: IO[bytes], file: IO[bytes], name: str, start: int, size: int) -> None:
    # Here, since a device that only measures has no tqdm.
    from tqdm import tqdm

    left = size - start
    # On a terminal only: a log wants no bar.
    with tqdm(desc=name, initial=start, total=size, unit="B", unit_scale=True, disable=None) as progress:
        while block := response.read(min(BLOCK, left)):
            file.write(block)
            left -= len(block)
            progress.update(len(block))
