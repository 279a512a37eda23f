from __future__ import annotations

import gzip
from pathlib import Path

import cv2
import numpy as np
import pytest

from digitcam.core.errors import SourceError
from digitcam.train import mnist, svhn

GOOD = '{"name":"1.png","width":40,"height":20,"digits":[[0,-3,2,10,18],[7,12,4,22,25]]}'
real = pytest.mark.skipif(
    not (svhn.folder() / "train_labels.jsonl.gz").exists(), reason="needs SVHN's labels below $DIGITCAM_DATA"
)


def write(folder: Path, *lines: str, part: str = "test") -> Path:
    path = folder / "svhn" / f"{part}_labels.jsonl.gz"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return path


def test_a_record(data_folder: Path) -> None:
    write(data_folder, GOOD)
    (record,) = svhn.records("test")
    assert record.number == "07"
    # Clipped: 3 px left of the photograph, 5 px below it.
    assert record.boxes_xywh.tolist() == [[0, 2, 10, 16], [12, 4, 10, 16]]
    assert record.boxes_xywh.dtype == np.float32
    assert record.box_xywh.tolist() == [0, 2, 22, 18]


def test_digits_keep_the_order_of_the_labels(data_folder: Path) -> None:
    write(data_folder, '{"name":"1.png","width":40,"height":20,"digits":[[5,20,2,30,18],[3,5,2,15,18]]}')
    assert svhn.records("test")[0].number == "53"


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("{", "truncated"),
        ('{"name":"1.png","width":40,"height":20}', "digits"),
        (GOOD.replace('"width":40', '"width":0'), "width"),
        (GOOD.replace("[7,", "[10,"), "digits"),
        (GOOD.replace('"name"', '"colour":1,"name"'), "colour"),
        (GOOD.replace("12,4,22,25", "12,4,12,25"), "box"),
        (GOOD.replace("12,4,22,25", "50,4,60,25"), "box"),
        ('{"name":"1.png","width":40,"height":20,"digits":[]}', "digits"),
        ("", "truncated"),
    ],
)
def test_a_damaged_line_is_named(data_folder: Path, line: str, word: str) -> None:
    path = write(data_folder, GOOD, line, GOOD)
    with pytest.raises(SourceError) as caught:
        svhn.records("test")
    message = str(caught.value)
    assert str(path) in message and "line 2" in message and word in message and "\n" not in message


@pytest.mark.parametrize("keep", [slice(0, 30), slice(10, None), slice(0, 0)])
def test_a_damaged_file_is_named(data_folder: Path, keep: slice) -> None:
    path = write(data_folder, GOOD)
    path.write_bytes(path.read_bytes()[keep])
    if keep == slice(0, 0):
        assert svhn.records("test") == ()
        return
    with pytest.raises(SourceError, match="cannot be unpacked") as caught:
        svhn.records("test")
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(data_folder: Path) -> None:
    with pytest.raises(SourceError, match="DIGITCAM_DATA") as caught:
        svhn.records("train")
    assert str(data_folder / "svhn" / "train_labels.jsonl.gz") in str(caught.value)


def test_a_photograph(data_folder: Path) -> None:
    write(data_folder, GOOD)
    (record,) = svhn.records("test")
    path = data_folder / "svhn" / "test" / "1.png"
    with pytest.raises(SourceError, match=r"unpack test\.tar\.gz") as caught:
        svhn.image("test", record)
    assert str(path) in str(caught.value)

    path.parent.mkdir()
    pixels = np.arange(20 * 40 * 3, dtype=np.uint32).astype(np.uint8).reshape(20, 40, 3)
    cv2.imwrite(str(path), pixels)
    assert np.array_equal(svhn.image("test", record), pixels)

    cv2.imwrite(str(path), pixels[:10])
    with pytest.raises(SourceError, match="40x10 px, its record says 40x20"):
        svhn.image("test", record)

    path.write_bytes(b"no image")
    with pytest.raises(SourceError, match="not an image"):
        svhn.image("test", record)


@real
def test_the_real_labels() -> None:
    sizes: dict[mnist.Split, int] = {"train": 30_000, "validation": 3_402, "test": 13_068}
    for split, size in sizes.items():
        assert len(svhn.records(split)) == size
    assert svhn.records("train") is svhn.records("train")
    first = svhn.records("train")[0]
    assert (first.name, first.number) == ("1.png", "19")
    assert first.boxes_xywh.tolist() == [[246, 77, 81, 219], [323, 81, 96, 219]]
    assert first.box_xywh.tolist() == [246, 77, 173, 223]
    # The first validation record follows the last of training.
    assert svhn.records("train")[-1].name == "30000.png"
    assert svhn.records("validation")[0].name == "30001.png"


@pytest.mark.skipif(not (svhn.folder() / "train" / "1.png").exists(), reason="needs SVHN's photographs")
def test_a_real_photograph() -> None:
    assert svhn.image("train", svhn.records("train")[0]).shape == (350, 741, 3)
