"""Files and folders that are whole and on the disk, or not there at all: whatever ends the process or the power."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write_file(path: Path, data: bytes | memoryview) -> None:
    """Write a file, in place of one that is there, whose content stays until the new one is on the disk.

    It is written as `path.part` beside it: what a killed call left there is written over.

    Raises
    ------
    OSError
        When it cannot be written; nothing is left beside it.
    """
    with _beside(path) as part:
        _write_through(part, data)


def write_folder(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write a folder that is not there yet, and those above it, with files by their names.

    It is written as `folder.part` beside it: what a killed call left there is removed.

    Raises
    ------
    OSError
        When it cannot be written; nothing is left beside it.
    """
    with _beside(folder) as part:
        _remove(part)
        part.mkdir(parents=True)
        for name, data in files:
            _write_through(part / name, data)
        sync_folder(part)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk; OSError when that fails."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Give `path.part` to write to, which then takes the place of `path`, or goes when that fails."""
    part = path.with_name(f"{path.name}.part")
    try:
        yield part
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            _remove(part)
        raise
    sync_folder(path.parent)


def _write_through(path: Path, data: bytes | memoryview) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _remove(part: Path) -> None:
    if part.is_dir() and not part.is_symlink():
        shutil.rmtree(part)
    else:
        part.unlink(missing_ok=True)
