"""Files and folders that are whole, or not there at all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from digitcam.core.whole import sync_folder, write_file, write_folder

KILLED = """
import os, sys
from pathlib import Path
from digitcam.core import whole

Path.replace = Path.rename = lambda *_: os.kill(os.getpid(), 9)
place = Path(sys.argv[1])
if sys.argv[2] == "file":
    whole.write_file(place, b"new")
else:
    whole.write_folder(place, [("a", b"new")])
"""


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def killed(place: Path, kind: str) -> None:
    """Write, and be killed before the name is given."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(place), kind], check=False)
    assert done.returncode == -9


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for data in (b"old and longer", b"new", b""):
        write_file(path, data)
        assert path.read_bytes() == data
    assert names(tmp_path) == {"a.json"}


def test_a_file_stays_when_the_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    killed(path, "file")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == {"a.json", "a.json.part"}
    write_file(path, b"newer")
    assert path.read_bytes() == b"newer"
    assert names(tmp_path) == {"a.json"}


def test_a_file_stays_when_the_disk_is_full(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    (tmp_path / "a.json.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == {"a.json"}


def test_a_folder_is_written_with_those_above_it(tmp_path: Path) -> None:
    write_folder(tmp_path / "b" / "c", iter([("one", b"1"), ("two", b"")]))
    assert {path.name: path.read_bytes() for path in (tmp_path / "b" / "c").iterdir()} == {"one": b"1", "two": b""}
    assert names(tmp_path / "b") == {"c"}


def test_a_folder_is_not_there_when_the_process_is_killed(tmp_path: Path) -> None:
    killed(tmp_path / "c", "folder")
    assert names(tmp_path) == {"c.part"}
    (tmp_path / "c.part" / "rubble").touch()
    write_folder(tmp_path / "c", [("b", b"2")])
    assert names(tmp_path) == {"c"}
    assert names(tmp_path / "c") == {"b"}


def test_of_a_folder_that_cannot_be_written_nothing_is_left(tmp_path: Path) -> None:
    def files() -> Iterator[tuple[str, bytes]]:
        yield "a", b"1"
        raise OSError("damaged")

    with pytest.raises(OSError, match="damaged"):
        write_folder(tmp_path / "c", files())
    assert not names(tmp_path)


def test_a_folder_that_is_not_there_cannot_be_synced(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "c")
