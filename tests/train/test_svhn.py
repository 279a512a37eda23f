from __future__ import annotations

import gzip
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from digitcam.cli import cli
from digitcam.core.errors import SourceError
from digitcam.train import mnist, svhn, svhn_archive
from digitcam.train.data import caution
from digitcam.train.fetch import Published
from digitcam.train.svhn import SvhnData

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
    with pytest.raises(SourceError, match="run 'digitcam data fetch svhn --part test'") as caught:
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


@pytest.fixture
def genuine() -> list[Path]:
    """SVHN's first three photographs; skipped where they are absent, but in CI they must be there."""
    paths = [svhn.folder() / "train" / f"{i}.png" for i in (1, 2, 3)]
    missing = [path for path in (*paths, svhn.labels_path("train")) if not path.exists()]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"{missing[0]}: CI needs it: run 'digitcam data fetch svhn --part train'")
    if missing:
        pytest.skip(f"{missing[0]}: no such file")
    return paths


def test_a_real_photograph(genuine: list[Path]) -> None:
    shapes = [svhn.image("train", record).shape for record in svhn.records("train")[:3]]
    assert shapes == [(350, 741, 3), (83, 199, 3), (23, 52, 3)]


# Photographs as in the archives: name, width, height, digits as label, left, top, width, height.
TRAIN = [
    ("1.png", 120, 60, [(1, 20, 10, 15, 40), (10, 40, 11, 16, 40)]),
    # Over the right edge.
    ("2.png", 50, 30, [(7, 40, 5, 12, 20)]),
    ("3.png", 200, 80, [(i + 1, 5 + 30 * i, 20, 25, 50) for i in range(6)]),
]
TEST = [("1.png", 33, 64, [(4, 5, 10, 20, 50)])]
EXTRA = [(f"{i}.png", 40 + i, 20 + i, [(i, 5, 3, 10, 15)]) for i in range(1, 8)]
LABELS = {
    "train": [
        '{"name":"1.png","width":120,"height":60,"digits":[[1,20,10,35,50],[0,40,11,56,51]]}',
        '{"name":"2.png","width":50,"height":30,"digits":[[7,40,5,52,25]]}',
        '{"name":"3.png","width":200,"height":80,"digits":[[1,5,20,30,70],[2,35,20,60,70],[3,65,20,90,70],'
        "[4,95,20,120,70],[5,125,20,150,70],[6,155,20,180,70]]}",
    ],
    "test": ['{"name":"1.png","width":33,"height":64,"digits":[[4,5,10,25,60]]}'],
}


def publish(monkeypatch: pytest.MonkeyPatch, mirror: Any, **parts: bytes) -> None:
    """Put archives on the mirror, and their sizes and md5 in place of the real ones'."""
    mirror.files = {f"{part}.tar.gz": data for part, data in parts.items()}
    known = {part: Published(len(data), hashlib.md5(data).hexdigest()) for part, data in parts.items()}
    monkeypatch.setattr(svhn_archive, "ARCHIVES", known)


def lines(part: svhn.Part) -> list[str]:
    return gzip.decompress(svhn.labels_path(part).read_bytes()).decode().splitlines()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fetch(mirror: Any, *parts: svhn.Part, keep: bool = False) -> list[svhn_archive.Fetched]:
    return list(svhn_archive.fetch(parts, mirror.url, keep))


def test_the_published_archives() -> None:
    assert {part: file.size for part, file in svhn_archive.ARCHIVES.items()} == {
        "train": 404_141_560,
        "test": 276_555_967,
        "extra": 1_955_489_752,
    }


def test_fetch(data_folder: Path, mirror: Any, archive: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = {"train": archive("train", *TRAIN), "test": archive("test", *TEST), "extra": archive("extra", *EXTRA)}
    publish(monkeypatch, mirror, **drawn)
    fetched = fetch(mirror, "train", "test", "extra")
    assert fetched == [
        (data_folder / "svhn" / "train_labels.jsonl.gz", 3, ()),
        (data_folder / "svhn" / "test_labels.jsonl.gz", 1, ()),
        (data_folder / "svhn" / "extra_labels.jsonl.gz", 7, ()),
    ]
    assert files(data_folder / "svhn") == [
        "extra",
        "extra_labels.jsonl.gz",
        "test",
        "test_labels.jsonl.gz",
        "train",
        "train_labels.jsonl.gz",
    ]
    assert files(data_folder / "svhn" / "train") == ["1.png", "2.png", "3.png", "digitStruct.mat", "see_bboxes.m"]
    assert lines("train") == LABELS["train"] and lines("test") == LABELS["test"]
    assert [record.number for record in svhn.records("train")] == ["10", "7", "123456"]
    assert [record.number for record in svhn.records("extra")] == ["1", "2", "3", "4", "5", "6", "7"]
    # Clipped when read; the union of six; each photograph in its own size.
    assert svhn.records("train")[1].boxes_xywh.tolist() == [[40, 5, 10, 20]]
    assert svhn.records("train")[2].box_xywh.tolist() == [5, 20, 175, 50]
    assert [svhn.image("train", record).shape[:2] for record in svhn.records("train")] == [
        (60, 120),
        (30, 50),
        (80, 200),
    ]
    assert svhn.image("extra", svhn.records("extra")[6]).shape == (27, 47, 3)

    # All is at hand: nothing is asked for.
    mirror.asked.clear()
    assert fetch(mirror, "train", "test", "extra") == fetched and mirror.asked == []
    # One photograph lost is a part to fetch again.
    (data_folder / "svhn" / "train" / "2.png").unlink()
    assert fetch(mirror, "train", "test") == fetched[:2]
    assert mirror.asked == [("train.tar.gz", None)]
    assert svhn.image("train", svhn.records("train")[1]).shape == (30, 50, 3)


def test_genuine_photographs_and_labels(
    genuine: list[Path], tmp_path: Path, mirror: Any, archive: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = lines("train")[:3]
    pixels = [cv2.imread(str(path)) for path in genuine]
    # What digitStruct.mat says of them.
    digits = [
        [(1, 246, 77, 81, 219), (9, 323, 81, 96, 219)],
        [(2, 77, 29, 23, 32), (3, 98, 25, 26, 32)],
        [(2, 17, 5, 8, 15), (5, 25, 5, 9, 15)],
    ]
    photographs = [(path.name, 9, 9, boxes) for path, boxes in zip(genuine, digits, strict=True)]
    contents = {path.name: path.read_bytes() for path in genuine}
    monkeypatch.setenv("DIGITCAM_DATA", str(tmp_path))
    svhn.records.cache_clear()
    publish(monkeypatch, mirror, train=archive("train", *photographs, **contents))
    fetch(mirror, "train")
    assert lines("train") == expected
    for record, image in zip(svhn.records("train"), pixels, strict=True):
        assert np.array_equal(svhn.image("train", record), image)
    svhn.records.cache_clear()


def test_labels_without_photographs_are_made_anew(
    data_folder: Path, mirror: Any, archive: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, mirror, train=archive("train", *TRAIN))
    write(data_folder, *LABELS["train"][:2], GOOD.replace("1.png", "9.png"), part="train")
    folder = data_folder / "svhn" / "train"
    folder.mkdir()
    (folder / "1.png").write_bytes(b"an older one")
    (folder / "mine.txt").write_text("stays")
    # Remembered, and forgotten when the labels change.
    assert svhn.records("train")[2].name == "9.png"
    fetch(mirror, "train")
    assert lines("train") == LABELS["train"]
    assert [svhn.image("train", record).shape[1] for record in svhn.records("train")] == [120, 50, 200]
    assert (folder / "mine.txt").read_text() == "stays"
    assert files(data_folder / "svhn") == ["train", "train_labels.jsonl.gz"]


def test_a_fetch_that_breaks_off_goes_on(
    data_folder: Path, mirror: Any, archive: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, mirror, test=archive("test", *TEST))
    mirror.cut = 500
    with pytest.raises(SourceError, match="broke off after 500 of"):
        fetch(mirror, "test")
    assert files(data_folder / "svhn") == ["test.tar.gz.part"]
    mirror.cut = None
    fetch(mirror, "test")
    assert mirror.asked == [("test.tar.gz", None), ("test.tar.gz", "bytes=500-")]
    assert lines("test") == LABELS["test"]


def test_a_fetch_killed_while_unpacking(
    data_folder: Path, mirror: Any, archive: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, mirror, test=archive("test", *TEST))
    left = data_folder / "svhn" / "test.unpacking"
    left.mkdir(parents=True)
    (left / "1.png").write_bytes(b"half")
    (data_folder / "svhn" / "test.tar.gz").write_bytes(mirror.files["test.tar.gz"])
    fetch(mirror, "test", keep=True)
    # The archive was whole already, and is kept.
    assert mirror.asked == []
    assert files(data_folder / "svhn") == ["test", "test.tar.gz", "test_labels.jsonl.gz"]
    assert lines("test") == LABELS["test"]


def test_a_wrong_md5(
    data_folder: Path, mirror: Any, archive: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, mirror, test=archive("test", *TEST))
    mirror.files["test.tar.gz"] = mirror.files["test.tar.gz"][:-1] + b"!"
    with pytest.raises(SourceError, match=r"test\.tar\.gz: md5 is"):
        fetch(mirror, "test")
    assert files(data_folder / "svhn") == []


@pytest.mark.parametrize(
    ("others", "word"),
    [
        ({"1.png": b"no image"}, r"1\.png: not a PNG"),
        ({"1.png": b""}, r"1\.png: not a PNG"),
        ({"digitStruct.mat": b"no HDF5"}, r"digitStruct\.mat: cannot be read as HDF5"),
    ],
)
def test_an_archive_of_something_else(
    data_folder: Path,
    mirror: Any,
    archive: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
    others: dict[str, bytes],
    word: str,
) -> None:
    publish(monkeypatch, mirror, test=archive("test", *TEST, **others))
    with pytest.raises(SourceError, match=word):
        fetch(mirror, "test")
    # No labels: the part is not taken for complete.
    assert not svhn.labels_path("test").exists() and not (data_folder / "svhn" / "test").exists()


def test_a_photograph_that_is_not_in_the_archive(tmp_path: Path, mat: Callable[..., Path]) -> None:
    mat(("1.png", TEST[0][3]))
    with pytest.raises(SourceError, match=r"1\.png: is in the labels, but: No such file"):
        svhn_archive.convert(tmp_path, tmp_path / "labels.jsonl.gz")
    assert not (tmp_path / "labels.jsonl.gz").exists()


UNUSABLE = [
    # Beside the photograph, above it, without width, of a label that is no digit, and of no digit.
    ("2.png", 40, 20, [(1, 5, 5, 10, 10), (2, 40, 5, 10, 10)]),
    ("3.png", 40, 20, [(2, 5, -10, 10, 10)]),
    ("4.png", 40, 20, [(2, 5, 5, 0, 10)]),
    ("5.png", 40, 20, [(11, 5, 5, 10, 10)]),
    ("6.png", 40, 20, [(-1, 5, 5, 10, 10)]),
]


def test_unusable_records_are_left_out_and_counted(
    data_folder: Path, mirror: Any, archive: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, mirror, test=archive("test", *TEST, *UNUSABLE))
    done = CliRunner().invoke(cli, ["data", "fetch", "svhn", "--part", "test", "--mirror", mirror.url])
    path = svhn.labels_path("test")
    assert done.exit_code == 0
    assert done.stdout == f"{path}: 1 photographs\n"
    assert done.stderr == (
        f"digitcam: {path}: 5 of 6 records are unusable and left out, "
        "the first 2.png: a digit's box is empty, or outside the photograph\n"
    )
    assert lines("test") == LABELS["test"]


def test_why_records_are_left_out(
    data_folder: Path, mirror: Any, archive: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, mirror, test=archive("test", *TEST, *UNUSABLE))
    (fetched,) = fetch(mirror, "test")
    assert [reason.partition(":")[0] for reason in fetched.left_out] == ["2.png", "3.png", "4.png", "5.png", "6.png"]
    assert "box is empty, or outside" in fetched.left_out[1] and "<= 9" in fetched.left_out[3]

    publish(monkeypatch, mirror, extra=archive("extra", *UNUSABLE))
    with pytest.raises(SourceError, match=r"no usable record of 5: .*2\.png"):
        fetch(mirror, "extra")


def test_room_for_everything_is_checked_before_anything_is_fetched(
    data_folder: Path, mirror: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(data_folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=5_909_000_000))
    # 1.5 times all three, 3,954 MB, and the largest archive, 1,955 MB.
    with pytest.raises(SourceError, match="needs 5910 MB, only 5909 MB are free"):
        fetch(mirror, "train", "test", "extra")
    # Kept, all three archives at once: 2.5 times 2,636 MB.
    with pytest.raises(SourceError, match="needs 6591 MB"):
        fetch(mirror, "train", "test", "extra", keep=True)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=700_000_000))
    # Of the 691 MB that test needs 200 are there.
    (data_folder / "svhn").mkdir()
    with (data_folder / "svhn" / "test.tar.gz.part").open("wb") as file:
        file.truncate(200_000_000)
    with pytest.raises(SourceError, match="HTTP Error 404"):
        fetch(mirror, "test")
    assert [name for name, _ in mirror.asked] == ["test.tar.gz"]


def test_the_command_fetches_mnist_whole() -> None:
    done = CliRunner().invoke(cli, ["data", "fetch", "mnist", "--part", "train"])
    assert "--part and --keep are for svhn" in str(done.exception)


@pytest.fixture
def at_hand(data_folder: Path, mirror: Any, archive: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Train, test and extra, drawn and fetched."""
    drawn = {"train": archive("train", *TRAIN), "test": archive("test", *TEST), "extra": archive("extra", *EXTRA)}
    publish(monkeypatch, mirror, **drawn)
    fetch(mirror, "train", "test", "extra")
    return data_folder / "svhn"


def test_samples_are_stretched(at_hand: Path) -> None:
    data = SvhnData()
    assert (data.channels, data.max_digits, data.size("test"), data.source("test")) == (3, 6, 1, "photographs")
    sample = data.sample("test", 0)
    assert sample.image.shape == (128, 256, 3) and sample.image.dtype == np.uint8
    assert sample.number == "4"
    # 33x64 px become 256x128: 5, 10, 20, 50 times 256/33 and 2.
    assert sample.boxes_xywh.tolist() == [pytest.approx([38.788, 20, 155.152, 100], abs=1e-3)]
    assert sample.boxes_xywh.dtype == np.float32
    # The colour of the drawn ground, in the corners: 40 + 33, 80, 60 + 64 as BGR.
    assert sample.image[0, 0].tolist() == sample.image[-1, -1].tolist() == [73, 80, 124]
    # Beyond its size the split begins again.
    assert np.array_equal(data.sample("test", 5).image, sample.image)

    grey = SvhnData(grey=True)
    assert grey.channels == 1 and grey.sample("test", 0, 64, 96).image.shape == (64, 96)


def test_stretching_averages_what_it_shrinks() -> None:
    columns = np.zeros((2, 8, 3), np.uint8)
    columns[:, ::2] = 200
    # Half the width, twice the height: every pixel is the mean of two.
    assert (svhn.stretch(columns, 4, 4) == 100).all()
    assert np.array_equal(svhn.stretch(columns, 2, 8), columns)


def test_training_images_come_in_another_order_at_each_pass(at_hand: Path) -> None:
    data = SvhnData()
    numbers = [data.sample("train", index, 32, 32).number for index in range(30)]
    passes = [numbers[start : start + 3] for start in range(0, 30, 3)]
    assert all(sorted(one) == ["10", "123456", "7"] for one in passes)
    assert len(set(map(tuple, passes))) > 1
    assert [data.sample("train", index, 32, 32).number for index in range(30)] == numbers
    other = SvhnData(seed=2)
    assert [other.sample("train", index, 32, 32).number for index in range(30)] != numbers


def test_extra_is_mixed_in_by_its_size(at_hand: Path) -> None:
    data = SvhnData(extra=True)
    assert (data.size("train"), data.size("test")) == (10, 1)
    whole = sorted([*"1234567", "10", "7", "123456"])
    first, second = ([data.sample("train", turn + i, 32, 32).number for i in range(10)] for turn in (0, 10))
    assert sorted(first) == sorted(second) == whole
    assert first != second and "".join(first) != "".join(whole)


def test_absent_photographs(at_hand: Path) -> None:
    (at_hand / "extra" / "7.png").unlink()
    svhn.at_hand.cache_clear()  # a new process
    assert SvhnData().source("train") == "photographs"
    with pytest.raises(SourceError, match="not all there: run 'digitcam data fetch svhn --part extra'"):
        SvhnData(extra=True).sample("train", 0)
    # Training's few records leave none to validate on.
    with pytest.raises(SourceError, match="not all there: run 'digitcam data fetch svhn --part train'"):
        SvhnData().size("validation")
    assert SvhnData(extra=True, stand_in=True).source("train") == "drawn stand-in"
    assert SvhnData(extra=True, stand_in=True).source("test") == "photographs"
    svhn.labels_path("test").unlink()
    svhn.at_hand.cache_clear()
    with pytest.raises(SourceError, match="--part test"):
        SvhnData().source("test")


def test_evaluating_on_a_stand_in_is_told(at_hand: Path) -> None:
    assert caution(SvhnData(stand_in=True), "test") == ""
    (at_hand / "test" / "1.png").unlink()
    svhn.at_hand.cache_clear()
    words = "svhn/test: the photographs are not all there: drawn house numbers stand in for them"
    assert caution(SvhnData(stand_in=True), "test") == words
    told = CliRunner().invoke(cli, ["evaluate", "none.pt", "--data", "svhn", "--split", "test"])
    assert told.stderr == f"digitcam: {words}\n"


def test_a_stand_in_has_the_sizes_of_svhn(data_folder: Path) -> None:
    data = SvhnData(stand_in=True)
    assert data.source("train") == "drawn stand-in"
    assert [data.size(split) for split in ("train", "validation", "test")] == [30_000, 3_402, 13_068]
    assert SvhnData(stand_in=True, extra=True).size("train") == 232_353


@real
def test_a_stand_in_is_drawn(genuine: list[Path]) -> None:
    # Three photographs are not all.
    data = SvhnData(stand_in=True)
    if data.source("train") == "photographs":
        pytest.skip("SVHN's photographs are all here")
    for index in range(5):
        sample = data.sample("train", index, 64, 128)
        assert sample.image.shape == (64, 128, 3) and sample.image.dtype == np.uint8
        assert np.array_equal(sample.image, data.sample("train", index, 64, 128).image)
    assert (sample.image[..., 0] == sample.image[..., 2]).all()
    grey = SvhnData(stand_in=True, grey=True).sample("train", 4, 64, 128)
    assert np.array_equal(grey.image, sample.image[..., 0])


def test_a_stand_in_needs_the_labels_alone(data_folder: Path) -> None:
    data = SvhnData(stand_in=True)
    with pytest.raises(SourceError, match="run 'digitcam data fetch svhn --part train', or set DIGITCAM_DATA"):
        data.sample("train", 0, 64, 128)
    # Of a "12" and a "7", which every image has to show alone: slots would learn both as one number.
    two = '{"name":"1.png","width":60,"height":40,"digits":[[1,5,5,15,35],[2,20,5,35,35]]}'
    write(data_folder, two, '{"name":"2.png","width":60,"height":40,"digits":[[7,5,5,20,35]]}', part="train")
    samples = [data.sample("train", index, 64, 128) for index in range(200)]
    assert {sample.number for sample in samples} == {"12", "7"}
    assert all(len(sample.boxes_xywh) == len(sample.number) and sample.others == () for sample in samples)
