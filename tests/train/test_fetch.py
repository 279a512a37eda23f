from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from digitcam.core.errors import SourceError
from digitcam.train.fetch import Published, check_room, download, unpack

DATA = bytes(range(256)) * 20
FILE = Published(5120, hashlib.md5(DATA).hexdigest())


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def room(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 10**12 - free, free))


def test_a_download(tmp_path: Path, mirror: Any) -> None:
    mirror.files["a.bin"] = DATA
    path = tmp_path / "made" / "a.bin"
    download(f"{mirror.url}/a.bin", path, FILE)
    assert path.read_bytes() == DATA
    assert [file.name for file in path.parent.iterdir()] == ["a.bin"]

    # What is whole is not asked for again; what is damaged is.
    download(f"{mirror.url}/a.bin", path, FILE)
    assert mirror.asked == [("a.bin", None)]
    path.write_bytes(DATA[::-1])
    download(f"{mirror.url}/a.bin", path, FILE)
    assert path.read_bytes() == DATA
    assert mirror.asked == [("a.bin", None)] * 2


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_off_download_goes_on(tmp_path: Path, mirror: Any, ranges: bool) -> None:
    mirror.files["a.bin"] = DATA
    mirror.ranges = ranges
    mirror.cut = 1000
    path = tmp_path / "a.bin"
    with pytest.raises(SourceError, match="cannot download: it broke off after 1000 of 5120 bytes: run the same again"):
        download(f"{mirror.url}/a.bin", path, FILE)
    assert (tmp_path / "a.bin.part").read_bytes() == DATA[:1000]

    mirror.cut = None
    download(f"{mirror.url}/a.bin", path, FILE)
    assert path.read_bytes() == DATA
    assert mirror.asked == [("a.bin", None), ("a.bin", "bytes=1000-")]
    assert not (tmp_path / "a.bin.part").exists()


def test_a_part_that_is_whole_is_not_asked_for(tmp_path: Path, mirror: Any) -> None:
    (tmp_path / "a.bin.part").write_bytes(DATA)
    download(f"{mirror.url}/a.bin", tmp_path / "a.bin", FILE)
    assert (tmp_path / "a.bin").read_bytes() == DATA and mirror.asked == []


def test_a_part_that_is_too_long_is_begun_again(tmp_path: Path, mirror: Any) -> None:
    mirror.files["a.bin"] = DATA
    (tmp_path / "a.bin.part").write_bytes(DATA + b"!")
    download(f"{mirror.url}/a.bin", tmp_path / "a.bin", FILE)
    assert (tmp_path / "a.bin").read_bytes() == DATA and mirror.asked == [("a.bin", None)]


@pytest.mark.parametrize("held", [b"", b"other bytes"])
def test_a_wrong_md5_removes_the_part(tmp_path: Path, mirror: Any, held: bytes) -> None:
    mirror.files["a.bin"] = DATA if held else DATA[::-1]
    if held:
        (tmp_path / "a.bin.part").write_bytes(held)
    with pytest.raises(SourceError, match=f"a.bin: md5 is [0-9a-f]{{32}}, not {FILE.md5}: removed; try again"):
        download(f"{mirror.url}/a.bin", tmp_path / "a.bin", FILE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("held", [0, 100])
def test_a_file_of_another_size(tmp_path: Path, mirror: Any, held: int) -> None:
    mirror.files["a.bin"] = DATA[:4000]
    if held:
        (tmp_path / "a.bin.part").write_bytes(DATA[:held])
    with pytest.raises(SourceError, match="cannot download: it has 4000 bytes, not 5120: try another --mirror"):
        download(f"{mirror.url}/a.bin", tmp_path / "a.bin", FILE)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == held


@pytest.mark.parametrize(
    ("said", "word"),
    [("bytes 50-5119/5120", "from byte 50, not 100"), ("5020", "Content-Range is '5020'")],
)
def test_a_server_that_sends_another_range(tmp_path: Path, mirror: Any, said: str, word: str) -> None:
    mirror.files["a.bin"] = DATA
    mirror.content_range = said
    (tmp_path / "a.bin.part").write_bytes(DATA[:100])
    with pytest.raises(SourceError, match=word):
        download(f"{mirror.url}/a.bin", tmp_path / "a.bin", FILE)
    assert (tmp_path / "a.bin.part").read_bytes() == DATA[:100]


def test_no_such_file_and_no_server(tmp_path: Path, mirror: Any) -> None:
    for url in (f"{mirror.url}/b.bin", "http://127.0.0.1:1/b.bin", "b.bin"):
        with pytest.raises(
            SourceError, match=f"{url}: cannot download: .*: try another --mirror, or put the file into {tmp_path}"
        ):
            download(url, tmp_path / "b.bin", FILE)
    assert list(tmp_path.iterdir()) == []


def test_room_is_checked_first(tmp_path: Path, mirror: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.files["a.bin"] = DATA
    room(monkeypatch, 5000)
    with pytest.raises(SourceError, match="needs 1 MB, only 0 MB are free: make room, or set DIGITCAM_DATA"):
        download(f"{mirror.url}/a.bin", tmp_path / "a.bin", FILE)
    assert mirror.asked == []
    # What is there already needs no room.
    (tmp_path / "a.bin.part").write_bytes(DATA[:120])
    download(f"{mirror.url}/a.bin", tmp_path / "a.bin", FILE)


def test_room_is_counted_in_megabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room(monkeypatch, 1_999_999)
    with pytest.raises(SourceError, match=f"{tmp_path}: needs 3 MB, only 1 MB are free"):
        check_room(tmp_path / "not" / "there", 2_000_001)
    check_room(tmp_path / "not" / "there", 1_999_999)


def test_a_download_is_not_held_in_memory(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(DATA * 4000)
    file = Published(20_480_000, hashlib.md5(source.read_bytes()).hexdigest())
    tracemalloc.start()
    # From the disk: a server here would be measured too.
    download(source.as_uri(), tmp_path / "a.bin", file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "a.bin").stat().st_size == 20_480_000
    assert peak < 4_000_000


def pack(path: Path, *members: tuple[str, bytes, bytes]) -> Path:
    """Pack members of (name, type, content), as a tar that means harm might be."""
    with tarfile.open(path, "w:gz") as tar:
        for name, kind, data in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                member.linkname = data.decode()
            member.size = len(data) if kind == tarfile.REGTYPE else 0
            tar.addfile(member, io.BytesIO(data))
    return path


def test_unpacking(tmp_path: Path) -> None:
    packed = pack(
        tmp_path / "a.tar.gz",
        ("train", tarfile.DIRTYPE, b""),
        ("train/1.png", tarfile.REGTYPE, b"one"),
        ("./train/2.png", tarfile.REGTYPE, b""),
    )
    unpack(packed, tmp_path / "out")
    found = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert found == {"1.png": b"one", "2.png": b""}


@pytest.mark.parametrize(
    "member",
    [
        ("../1.png", tarfile.REGTYPE, b"harm"),
        ("train/../1.png", tarfile.REGTYPE, b"harm"),
        ("train/..", tarfile.REGTYPE, b"harm"),
        ("/1.png", tarfile.REGTYPE, b"harm"),
        ("1.png", tarfile.REGTYPE, b"harm"),
        ("train/deeper/1.png", tarfile.REGTYPE, b"harm"),
        ("train/1.png", tarfile.SYMTYPE, b"/etc/passwd"),
        ("train/1.png", tarfile.LNKTYPE, b"../1.png"),
        ("train/1.png", tarfile.FIFOTYPE, b""),
    ],
)
def test_nothing_leaves_the_folder(tmp_path: Path, member: tuple[str, bytes, bytes]) -> None:
    packed = pack(tmp_path / "a.tar.gz", member)
    with pytest.raises(SourceError, match=f"{member[0]!r} is no plain file in the archive's one folder"):
        unpack(packed, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tar.gz", "out"]


@pytest.mark.parametrize("keep", [0, 5, 40, 700, -1])
def test_a_damaged_archive(tmp_path: Path, keep: int) -> None:
    noise = hashlib.shake_128(b"noise").digest(4000)
    packed = pack(tmp_path / "a.tar.gz", ("train/1.png", tarfile.REGTYPE, noise))
    packed.write_bytes(packed.read_bytes()[:keep])
    with pytest.raises(SourceError, match=r"is damaged: .*: delete it and fetch it again") as caught:
        unpack(packed, tmp_path / "out")
    assert str(packed) in str(caught.value)


def test_an_archive_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(b"no tar" * 200))
    with pytest.raises(SourceError, match="is damaged"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    with pytest.raises(SourceError, match=r"cannot be unpacked into .*: No such file"):
        unpack(tmp_path / "b.tar.gz", tmp_path / "other")


def test_a_member_twice_is_not_overwritten(tmp_path: Path) -> None:
    twice = ("train/1.png", tarfile.REGTYPE, b"one")
    with pytest.raises(SourceError, match=r"cannot be unpacked into .*: File exists"):
        unpack(pack(tmp_path / "a.tar.gz", twice, twice), tmp_path / "out")


def test_unpacking_does_not_remember_the_members(tmp_path: Path) -> None:
    peaks = []
    for count in (100, 1500):
        members = [(f"train/{i}.png", tarfile.REGTYPE, b"content") for i in range(count)]
        packed = pack(tmp_path / f"{count}.tar.gz", *members)
        tracemalloc.start()
        unpack(packed, tmp_path / str(count))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 200_000
