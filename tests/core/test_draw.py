import os
from pathlib import Path

import numpy as np
import pytest

from digitcam.core.draw import drawings, write_image
from digitcam.core.errors import ConfigError, SinkError


def test_pictures_are_called_as_their_images() -> None:
    images = [Path("in/a.jpg"), Path("in/b.png"), Path("in/a.jpg")]
    assert drawings(images, Path("out")) == {"in/a.jpg": Path("out/a.png"), "in/b.png": Path("out/b.png")}


def test_no_picture_is_lost() -> None:
    with pytest.raises(ConfigError) as caught:
        drawings([Path("a.png")], Path())
    assert str(caught.value) == "a.png: its picture would be written over a.png: draw into another folder"
    with pytest.raises(ConfigError) as caught:
        drawings([Path("a.jpg"), Path("b/a.jpg")], Path("out"))
    assert str(caught.value) == "b/a.jpg: its picture would be out/a.png, and so would another's: rename one"


def test_a_full_disk_keeps_the_picture_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"before")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SinkError) as caught:
        write_image(path, np.zeros((2, 2), np.uint8))
    assert str(caught.value) == f"{path}: cannot write: No space left on device"
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]
