"""A `.digitcam` file: the files of a bundle in a zip archive.

An archive comes from anywhere. Names that could lead out of a folder, links, and more bytes than a bundle has are
refused each time it is opened, before anything in it is read.
"""

from __future__ import annotations

import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from digitcam.core.errors import ModelError

LARGEST_MB = 128
"""How much the files of an archive may hold together, and each file of a bundle's folder.

Files are read into memory, on boards that have 512 MB; all files of the largest shipped bundle have 6 MB.
"""
_PLAIN = re.compile(r"[A-Za-z0-9_][\w.+-]{0,99}", re.ASCII)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OverflowError, RuntimeError)
"""What the zip reader raises, depending on where an archive is damaged."""


def is_plain(name: str) -> bool:
    """Return whether a name is one of a file in a bundle: letters, digits, `_ . + -`, no folder, no hidden file."""
    return _PLAIN.fullmatch(name) is not None


class Archive:
    """A zip archive that is opened anew for each reading, so that nothing stays open."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """Return the names of its files.

        Raises
        ------
        ModelError
            When it is no zip archive, or holds what a bundle does not.
        """
        with self._opened() as zipped:
            return zipped.namelist()

    def read(self, name: str) -> bytes:
        """Return a file's content.

        Raises
        ------
        KeyError
            When there is no such file.
        ModelError
            When it is no zip archive, holds what a bundle does not, or is damaged.
        """
        with self._opened() as zipped:
            info = zipped.getinfo(name)
            try:
                with zipped.open(info) as file:
                    # No more than was announced, and counted: there may be gigabytes of zeros behind it.
                    return file.read(info.file_size)
            except (*_BROKEN, OSError) as error:  # OSError: its beginning is missing
                raise ModelError(f"{self.path}: cannot read {name}: {error}: copy it again") from None

    def _opened(self) -> zipfile.ZipFile:
        try:
            zipped = zipfile.ZipFile(self.path)
        except _BROKEN:
            raise ModelError(f"{self.path}: not a bundle: neither a folder nor a zip archive") from None
        try:
            self._check(zipped.infolist())
        except ModelError:
            zipped.close()
            raise
        return zipped

    def _check(self, infos: list[zipfile.ZipInfo]) -> None:
        names = set()
        for info in infos:
            # As it is written there: the reader cuts names at a zero byte.
            name = info.orig_filename
            kind = stat.S_IFMT(info.external_attr >> 16)
            if not is_plain(name) or kind not in (0, stat.S_IFREG):
                what = "a link or device" if is_plain(name) else "no plain file name"
                raise ModelError(f"{self.path}: holds {name!r}, {what}: do not trust it")
            if name in names:
                raise ModelError(f"{self.path}: holds {name!r} twice: do not trust it")
            if info.compress_type not in _METHODS or info.flag_bits & 1:
                raise ModelError(f"{self.path}: {name} is encrypted or not deflated: make it by digitcam bundle pack")
            names.add(name)
        size = sum(info.file_size for info in infos)
        if size > LARGEST_MB << 20:
            raise ModelError(
                f"{self.path}: would unpack to {size >> 20} MB, a bundle has at most {LARGEST_MB} MB: do not trust it"
            )


def archive_of(files: Mapping[str, bytes]) -> bytes:
    """Return a zip archive of files by name: of the same files in the same order always the same bytes.

    They are stored, not deflated, which saves a tenth of a network and differs from one zlib to the next.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as zipped:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)  # of 1980-01-01
            info.create_system = 3  # as on Unix, wherever it is made
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            zipped.writestr(info, data)
    return out.getvalue()
