from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from machine import small_disk
from msgspec.structs import replace

from digitcam.core.bundle import open_bundle
from digitcam.core.errors import ConfigError, SinkError, SourceError
from digitcam.core.reading import Latency, encode_reading
from digitcam.edge.pipeline import Reader
from digitcam.edge.recorded import END, pack
from digitcam.edge.sinks.recording import RecordingSink
from digitcam.edge.sources import Frame
from digitcam.edge.sources.demo import DemoSource
from digitcam.edge.sources.replay import ReplaySource

WAIT_S = 30


def frames(count: int = 3) -> list[Frame]:
    """Frames of noise, grey and coloured in turn, with times that tell a microsecond and an offset."""
    random = np.random.default_rng(1)
    zone = timezone(timedelta(hours=2))
    return [
        Frame(
            random.integers(0, 256, (9, 7) if n % 2 else (9, 7, 3)).astype(np.uint8),
            datetime(2026, 3, 1, 12, 0, n, 123456 + n, zone),
            7 * n,
            "Zähler & Co.png",
            0.5 * n,
            None if n % 2 else f"00{n}",
            None if n % 3 else 12345.678901 + n,
        )
        for n in range(count)
    ]


def record(path: Path, some: Sequence[Frame]) -> Path:
    with RecordingSink(path) as sink:
        for frame in some:
            sink.send(frame, ())
    return path


def replay(path: Path) -> tuple[list[Frame], int]:
    """Return the frames of a recording and how many failed."""
    with ReplaySource(f"replay:{path}") as source:
        return list(source), source.failed


def same(one: Frame, other: Frame) -> bool:
    return np.array_equal(one.image, other.image) and one.image.dtype == other.image.dtype and one[1:] == other[1:]


def test_what_is_recorded_comes_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given_frames = frames(5)
    found, failed = replay(record(tmp_path / "a.tar", given_frames))
    assert failed == 0
    assert [f.ts.utcoffset() for f in found] == [timedelta(hours=2)] * 5
    assert len(found) == 5
    assert all(same(*pair) for pair in zip(given_frames, found, strict=True))
    assert capsys.readouterr().err == ""


def test_the_same_readings_come_of_it(tmp_path: Path) -> None:
    with DemoSource("demo:5") as source:
        seen = [frame for frame, _ in zip(source, range(3), strict=False)]
    again, _ = replay(record(tmp_path / "a.tar", seen))
    lines = []
    for some in (seen, again):
        reader = Reader(open_bundle("canvas"))
        every = (reading for frame in some for reading in reader.read(frame))
        lines.append([encode_reading(replace(reading, latency_ms=Latency(0, 0, 0, 0, 0))) for reading in every])
    assert len(lines[0]) >= 3
    assert lines[0] == lines[1]


def test_other_tools_read_it(tmp_path: Path) -> None:
    path = record(tmp_path / "a.tar", frames(2))
    tar = shutil.which("tar")
    assert tar
    listed = subprocess.run([tar, "tf", path], capture_output=True, text=True, check=True)
    assert (listed.stdout, listed.stderr) == ("frame-000000000.png\nframe-000000007.png\n", "")
    with tarfile.open(path) as file:
        assert [member.mtime for member in file] == [int(frame.ts.timestamp()) for frame in frames(2)]


def test_frames_can_be_replayed_while_they_are_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.tar"
    with RecordingSink(path) as sink:
        for frame in frames(2):
            sink.send(frame, ())
        found, failed = replay(path)
    assert (len(found), failed) == (2, 0)
    assert capsys.readouterr().err == f"digitcam: {path}: was never ended: the recorder was killed\n"


def test_a_file_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_text("mine")
    with pytest.raises(ConfigError, match=r"a\.tar: exists already: give --record another name, or delete it$"):
        RecordingSink(path).__enter__()
    assert path.read_text() == "mine"
    with pytest.raises(SinkError, match=r"cannot record here: No such file or directory$"):
        RecordingSink(tmp_path / "gone" / "a.tar").__enter__()


def test_a_full_disk_is_one_error_and_the_frames_before_it_are_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some, path = frames(3), tmp_path / "a.tar"
    room = sum(len(pack(frame)) for frame in some[:2]) + len(END) + 10
    with small_disk(room), pytest.raises(SinkError) as caught, RecordingSink(path) as sink:
        for frame in some:
            sink.send(frame, ())
    assert str(caught.value) == f"{path}: cannot record any more: File too large: make room, or leave out --record"
    found, failed = replay(path)
    assert (len(found), failed) == (2, 0)
    assert capsys.readouterr().err == ""  # it was ended


def test_a_killed_recorder_leaves_whole_frames(tmp_path: Path) -> None:
    program = f"""if True:
        import sys
        from datetime import datetime, timezone
        from itertools import count
        from pathlib import Path
        import numpy as np
        from digitcam.edge.sinks.recording import RecordingSink
        from digitcam.edge.sources import Frame
        image = np.random.default_rng(0).integers(0, 256, (200, 200)).astype(np.uint8)
        with RecordingSink(Path({str(tmp_path / "a.tar")!r})) as sink:
            for n in count():
                sink.send(Frame(image, datetime.now(timezone.utc), n, "test:", 0.0), ())
                print(n, flush=True)
    """
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        for line in child.stdout:
            if int(line) >= 5:
                child.kill()
                break
        confirmed = max([5, *(int(line) for line in child.stdout)])
    found, _ = replay(tmp_path / "a.tar")
    assert [frame.seq for frame in found] == list(range(len(found)))
    assert len(found) > confirmed


# Damage

SOME = frames(3)
PIECES = [pack(frame) for frame in SOME]
WHOLE = b"".join(PIECES) + END
ENDS = [sum(map(len, PIECES[:n])) for n in range(4)]


def read_bytes(folder: Path, data: bytes) -> tuple[list[Frame], int]:
    path = folder / "cut.tar"
    path.write_bytes(data)
    try:
        with ReplaySource(str(path)) as source:
            found = []
            try:
                for frame in source:
                    found.append(frame)
            except SourceError as error:
                assert str(error) == f"{path}: no frame in it can be read"
                assert not found
            return found, source.failed
    except SourceError as error:
        assert str(error).startswith(f"{path}: is no recording, or broken off in its first frame: ")
        return [], 1


def unpadded_end(n: int) -> int:
    """Return where the PNG of a frame ends, without what fills its last block."""
    return ENDS[n] + len(PIECES[n].rstrip(b"\0"))


@given(st.integers(0, len(WHOLE)))
@example(ENDS[1])
@example(ENDS[2])
@example(ENDS[2] + 100)
@example(ENDS[3] + 512)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_cut_anywhere_the_frames_before_it_are_read(tmp_path: Path, cut: int) -> None:
    found, failed = read_bytes(tmp_path, WHOLE[:cut])
    # An IEND ends in no zero byte, so this is where its picture ends.
    whole = sum(cut >= unpadded_end(n) for n in range(3))
    assert len(found) == whole
    assert all(same(*pair) for pair in zip(SOME, found, strict=False))
    if whole:
        assert failed == (ENDS[whole] < cut < (unpadded_end(whole) if whole < 3 else 0))


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_byte_changed_anywhere_never_changes_a_picture(tmp_path: Path, place: int, change: int) -> None:
    data = bytearray(WHOLE)
    data[place] ^= change
    found, failed = read_bytes(tmp_path, bytes(data))
    images = [frame.image for frame in SOME]
    assert all(any(np.array_equal(frame.image, image) for image in images) for frame in found)
    if place < ENDS[3]:
        assert failed or len(found) == 3


@pytest.mark.parametrize("data", [b"", b"no tar" * 400, END])
def test_what_is_no_recording(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"a\.tar: (is no recording|no frame in it can be read)"):
        replay(path)


def test_a_tar_of_other_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as file:
        file.add(tmp_path, "folder", recursive=False)
        member = tarfile.TarInfo("x.png")
        member.size = 3
        file.addfile(member, io.BytesIO(b"abc"))
    with pytest.raises(SourceError, match=r"no frame in it can be read$"):
        replay(path)
    assert capsys.readouterr().err == (
        f"digitcam: {path}: x.png: has no note of its time: only `digitcam run --record` writes recordings\n"
    )


def test_a_missing_file_and_a_missing_name(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"a\.tar: cannot read it: No such file or directory$"):
        replay(tmp_path / "a.tar")
    with pytest.raises(ConfigError, match=r"after 'replay:' comes a file of --record$"):
        ReplaySource("replay:")
