import os
import struct
import threading
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from digitcam.core.errors import ConfigError, SourceError
from digitcam.edge.sources import Frame, frames_until, open_source
from digitcam.edge.sources.demo import DemoSource
from digitcam.edge.sources.files import read_image
from digitcam.edge.sources.watch import WatchSource


def picture(value: int = 90) -> np.ndarray:
    return np.full((48, 64, 3), value, np.uint8)


def test_a_folder_gives_its_images_by_name(tmp_path: Path) -> None:
    for name, value in (("b.png", 20), ("a.png", 10), ("c.bmp", 30)):
        cv2.imwrite(str(tmp_path / name), picture(value))
    (tmp_path / "notes.txt").write_text("no image")
    with open_source(str(tmp_path)) as source:
        frames = list(source)
    assert [frame.image[0, 0, 0] for frame in frames] == [10, 20, 30]
    assert [frame.seq for frame in frames] == [0, 1, 2]
    assert [Path(frame.source).name for frame in frames] == ["a.png", "b.png", "c.bmp"]
    assert all(frame.ts.tzinfo is not None and frame.capture_ms >= 0 for frame in frames)


def test_one_bad_image_does_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), picture())
    (tmp_path / "b.png").write_bytes(b"")
    cv2.imwrite(str(tmp_path / "c.png"), picture())
    with open_source(str(tmp_path)) as source:
        assert len(list(source)) == 2
        assert source.failed == 1
    assert capsys.readouterr().err == f"digitcam: {tmp_path / 'b.png'}: is empty\n"


def noise() -> np.ndarray:
    return np.repeat(np.random.default_rng(1).integers(0, 255, (48, 64, 1)).astype(np.uint8), 3, axis=2)


def encoded(ending: str, *flags: int) -> bytes:
    return cv2.imencode(ending, noise(), flags)[1].tobytes()


def with_thumbnail(jpeg: bytes) -> bytes:
    """Put a whole small JPEG into a segment, as cameras do."""
    small = cv2.imencode(".jpg", picture())[1].tobytes()
    return jpeg[:2] + b"\xff\xe1" + (len(small) + 2).to_bytes(2, "big") + small + jpeg[2:]


def of_many_pixels() -> bytes:
    """Return a PNG whose header says 40,000 x 40,000 pixels."""
    png = bytearray(encoded(".png"))
    png[16:24] = struct.pack(">II", 40_000, 40_000)
    png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
    return bytes(png)


def damaged(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / "image.png"
    data = {
        "empty": b"",
        "png cut": encoded(".png")[:-30],
        "jpeg cut": encoded(".jpg")[:-9],
        "jpeg with a thumbnail cut": with_thumbnail(encoded(".jpg"))[:-9],
        "jpeg cut in a segment": with_thumbnail(encoded(".jpg"))[:100],
        "text": b"hello",
        "huge": of_many_pixels(),
    }
    if kind != "missing":
        path.write_bytes(data[kind])
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "cannot read it: No such file"),
        ("empty", "is empty"),
        ("png cut", "is cut short"),
        ("jpeg cut", "is cut short"),
        ("jpeg with a thumbnail cut", "is cut short"),
        ("jpeg cut in a segment", "is cut short"),
        ("text", "is not an image"),
        ("huge", "has more pixels than OpenCV takes, or is damaged: make it smaller"),
    ],
)
def test_a_bad_image_is_named(kind: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=words) as caught:
        read_image(damaged(tmp_path, kind))
    assert str(caught.value).startswith(str(tmp_path / "image.png"))


@pytest.mark.parametrize("behind", [b"", bytes(9000), b"\xff\xd8 ftypmp42 the film of a telephone" * 500])
@pytest.mark.parametrize(
    "image",
    [
        encoded(".png"),
        encoded(".jpg"),
        encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        encoded(".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
        with_thumbnail(encoded(".jpg")),
    ],
    ids=["png", "jpeg", "progressive", "restarts", "thumbnail"],
)
def test_an_image_is_whole_whatever_comes_behind_it(image: bytes, behind: bytes, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(image + behind)
    assert np.abs(read_image(path).astype(int) - noise()).mean() < 5  # 64 for the thumbnail


def video(path: Path, frames: int = 40) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))  # type: ignore[attr-defined]
    for i in range(frames):
        writer.write(picture(5 * i))
    writer.release()
    return path


def test_a_video_gives_its_frames(tmp_path: Path) -> None:
    path = video(tmp_path / "clip.avi")
    with open_source(str(path)) as source:
        frames = list(source)
    assert len(frames) == 40
    assert [frame.seq for frame in frames] == list(range(40))
    assert abs(int(frames[10].image.mean()) - 50) <= 3


def test_a_video_cut_short_is_an_error_after_what_could_be_read(tmp_path: Path) -> None:
    path = video(tmp_path / "clip.avi")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    seen = 0
    with (
        pytest.raises(SourceError, match=r"neither an image nor a video|ended after"),
        open_source(str(path)) as source,
    ):
        for _ in source:
            seen += 1
    assert seen < 40


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.mp4", None, "No such file"),
        ("none.mp4", b"", "is empty"),
        ("a.mp4", b"hello" * 99, "neither an image nor"),
    ],
)
def test_what_is_no_video(name: str, content: bytes | None, words: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=words), open_source(str(tmp_path / name)):
        pass


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no image in this folder"), open_source(str(tmp_path)):
        pass


def test_demo_frames_come_again_from_their_seed() -> None:
    with open_source("demo:5") as source:
        frames = list(islice(source, 4))
    assert [frame.seq for frame in frames] == [0, 1, 2, 3]
    assert all(frame.image.shape == (320, 640, 3) and frame.truth for frame in frames)
    again, number = DemoSource("demo:5").draw(2)
    assert (again == frames[2].image).all() and number == frames[2].truth
    assert DemoSource("demo:6").draw(2)[1] != number


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("demo:x", "after 'demo:'"),
        ("ftp://host/x", "'ftp' are not known"),
        ("watch:", "after 'watch:' comes a folder"),
    ],
)
def test_what_is_no_source(uri: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        open_source(uri)


# A watched folder


def put(path: Path, value: int) -> Path:
    """Write an image as a careful writer does: under another name first."""
    cv2.imwrite(str(path.with_name("part.png")), picture(value))
    return path.with_name("part.png").rename(path)


def watched(folder: Path, settle_s: float = 0.0) -> tuple[WatchSource, Iterator[Frame]]:
    source = WatchSource(f"watch:{folder}", poll_s=0.01, settle_s=settle_s)
    return source, iter(source.__enter__())


def test_a_watched_folder_gives_what_comes_into_it(tmp_path: Path) -> None:
    put(tmp_path / "old.png", 1)
    source, frames = watched(tmp_path)
    for name, value, mtime_s in (("b.png", 20, 1e9), ("a.png", 30, 1.5e9)):
        os.utime(put(tmp_path / name, value), (mtime_s, mtime_s))
    (tmp_path / "notes.txt").write_text("no image")
    found = list(islice(frames, 2))
    # The oldest first; one that is replaced comes again, one that was there before does not.
    put(tmp_path / "b.png", 40)
    found.append(next(frames))
    (tmp_path / "a.png").unlink()
    put(tmp_path / "old.png", 50)
    found.append(next(frames))
    assert [frame.image[0, 0, 0] for frame in found] == [20, 30, 40, 50]
    assert [Path(frame.source).name for frame in found] == ["b.png", "a.png", "b.png", "old.png"]
    assert [frame.seq for frame in found] == [0, 1, 2, 3]
    assert source.failed == 0


def test_an_image_still_being_written_is_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, frames = watched(tmp_path, settle_s=60)
    data = cv2.imencode(".png", picture(7))[1].tobytes()
    (tmp_path / "a.png").write_bytes(data[:-20])
    put(tmp_path / "b.png", 8)
    assert Path(next(frames).source).name == "b.png"
    (tmp_path / "a.png").write_bytes(data)
    assert Path(next(frames).source).name == "a.png"
    assert source.failed == 0 and capsys.readouterr().err == ""


def test_an_image_that_stays_damaged_is_named_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, frames = watched(tmp_path)
    (tmp_path / "a.png").write_bytes(b"hello")
    while not source.failed:
        put(tmp_path / "b.png", 8)
        next(frames)
    put(tmp_path / "b.png", 8)
    next(frames)
    assert source.failed == 1
    said = f"digitcam: {tmp_path / 'a.png'}: is not an image that OpenCV reads, or is damaged\n"
    assert capsys.readouterr().err == said


def test_a_watch_ends_when_it_is_told_and_when_its_folder_goes(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    with pytest.raises(SourceError, match=r"in: cannot watch this folder: No such file"):
        watched(folder)
    folder.mkdir()
    source, frames = watched(folder)
    stop = threading.Event()
    timer = threading.Timer(0.05, stop.set)
    timer.start()
    assert list(frames_until(source, stop)) == []
    folder.rmdir()
    with pytest.raises(SourceError, match=r"in: cannot watch this folder: No such file"):
        next(frames)
