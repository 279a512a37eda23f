from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from digitcam.core.errors import ConfigError, SourceError
from digitcam.edge.sources import open_source
from digitcam.edge.sources.demo import DemoSource
from digitcam.edge.sources.files import read_image


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


def damaged(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / "image.png"
    _, png = cv2.imencode(".png", np.random.default_rng(1).integers(0, 255, (48, 64, 3)).astype(np.uint8))
    _, jpeg = cv2.imencode(".jpg", picture())
    data = {"empty": b"", "png cut": png.tobytes()[:-30], "jpeg cut": jpeg.tobytes()[:-9], "text": b"hello"}
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
        ("text", "is not an image"),
    ],
)
def test_a_bad_image_is_named(kind: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=words) as caught:
        read_image(damaged(tmp_path, kind))
    assert str(caught.value).startswith(str(tmp_path / "image.png"))


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


@pytest.mark.parametrize(("uri", "words"), [("demo:x", "after 'demo:'"), ("ftp://host/x", "'ftp' are not known")])
def test_what_is_no_source(uri: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        open_source(uri)
