from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from digitcam.core.errors import SourceError
from digitcam.train.digitstruct import Labels, read

Mat = Callable[..., Path]

# As SVHN publishes its first training photograph: label, left, top, width, height.
FIRST = ("1.png", [(1, 246, 77, 81, 219), (9, 323, 81, 96, 219)])
SINGLE = ("2.png", [(10, 5, 3, 9, 20)])


def test_the_records(mat: Mat) -> None:
    long = [(float(1 + i), 10.0 * i, 2.0, 9.0, 18.0) for i in range(8)]
    assert list(read(mat(FIRST, SINGLE, ("12345.png", long)))) == [
        Labels("1.png", [(1, 246, 77, 327, 296), (9, 323, 81, 419, 300)]),
        Labels("2.png", [(0, 5, 3, 14, 23)]),
        # More digits than SVHN has; the order is the file's.
        Labels("12345.png", [(1 + i, 10 * i, 2, 10 * i + 9, 20) for i in range(8)]),
    ]


def test_a_box_over_the_edge_stays_as_published(mat: Mat) -> None:
    assert next(read(mat(("1.png", [(10, -1, 0, 4, 99)])))).digits == [(0, -1, 0, 3, 99)]


def test_parts_of_a_pixel_are_rounded(mat: Mat) -> None:
    assert next(read(mat(("1.png", [(3, 1.4, 2.6, 3.9, 5.1)])))).digits == [(3, 1, 3, 5, 8)]


def test_no_records(mat: Mat) -> None:
    assert list(read(mat())) == []


def test_the_file_is_as_matlab_writes_it(mat: Mat) -> None:
    path = mat(FIRST, SINGLE)
    assert path.read_bytes()[:10] == b"MATLAB 7.3"
    with h5py.File(path) as file:
        several, one = (file[file["digitStruct/bbox"][i, 0]]["left"] for i in range(2))
        assert several.shape == (2, 1) and several.dtype == h5py.ref_dtype
        assert one.shape == (1, 1) and one.dtype == np.float64
        name = file[file["digitStruct/name"][0, 0]]
        assert name.shape == (5, 1) and name.dtype == np.uint16


def test_a_file_that_is_missing_or_none(tmp_path: Path, mat: Mat) -> None:
    with pytest.raises(SourceError, match=r"nowhere\.mat: cannot be read as HDF5: .*No such file") as caught:
        next(read(tmp_path / "nowhere.mat"))
    assert "\n" not in str(caught.value)

    path = mat(FIRST)
    path.write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(SourceError, match=r"digitStruct\.mat: cannot be read as HDF5: .*signature not found"):
        next(read(path))


@pytest.mark.parametrize("keep", [600, 0.5, 0.99])
def test_a_file_cut_short(mat: Mat, keep: float) -> None:
    path = mat(*[FIRST] * 50)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep if keep > 1 else keep * len(whole))])
    with pytest.raises(SourceError, match=r"digitStruct\.mat: cannot be read as HDF5: .*truncated"):
        list(read(path))


def damage(path: Path, change: Callable[[h5py.File], object]) -> str:
    """Change the file, read it, and return the error's message."""
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(SourceError) as caught:
        list(read(path))
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message


def replace(group: str, field: str, value: object) -> Callable[[h5py.File], object]:
    def change(file: h5py.File) -> None:
        del file[group][field]
        file[group].create_dataset(field, data=value)

    return change


def set_reference(field: str, value: object) -> Callable[[h5py.File], object]:
    def change(file: h5py.File) -> None:
        target = file["#refs#"][value] if isinstance(value, str) else None
        file["digitStruct"][field][1, 0] = target.ref if target is not None else h5py.Reference()

    return change


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda file: file.__delitem__("digitStruct/name"), "name"),
        (lambda file: file.__delitem__("digitStruct"), "digitStruct"),
        (replace("digitStruct", "name", np.zeros((1, 1))), "1 names, but 2 bboxes"),
    ],
)
def test_a_file_of_something_else(mat: Mat, change: Callable[[h5py.File], object], word: str) -> None:
    message = damage(mat(FIRST, SINGLE), change)
    assert "no digitStruct of names and bboxes" in message and word in message


@pytest.mark.parametrize(
    ("change", "word"),
    [
        # References to nothing, and to the wrong thing.
        (set_reference("name", None), "reference"),
        (set_reference("bbox", None), "reference"),
        (set_reference("name", "box0"), ""),
        (set_reference("bbox", "name0"), ""),
        (set_reference("name", "top0_0"), ""),
        # What was referred to has gone.
        (lambda file: file.__delitem__("#refs#/box1"), ""),
        (lambda file: file.__delitem__("#refs#/box1/top"), "top"),
        (replace("#refs#/box1", "top", np.zeros((2, 1))), "1 label, 1 left, 2 top, 1 width, 1 height"),
        (replace("#refs#/box1", "left", [[np.nan]]), "left is not finite"),
        (replace("#refs#/box1", "width", [[np.inf]]), "width is not finite"),
        (replace("#refs#/box1", "label", b"text"), ""),
    ],
)
def test_a_damaged_record_is_named(mat: Mat, change: Callable[[h5py.File], object], word: str) -> None:
    message = damage(mat(FIRST, SINGLE), change)
    assert "record 2 of 2: " in message and word in message and message.endswith("fetch its archive again")


@pytest.mark.parametrize("name", ["../1.png", "/1.png", "a/1.png", "a\\1.png", ".png", "..", "1\n.png", "\0", ""])
def test_a_name_that_is_no_file_name(mat: Mat, name: str) -> None:
    with pytest.raises(SourceError, match=r"record 1 of 1: name .* is no file name"):
        list(read(mat((name, SINGLE[1]))))


def test_records_before_the_damaged_one_are_read(mat: Mat) -> None:
    path = mat(SINGLE, SINGLE)
    with h5py.File(path, "r+") as file:
        del file["#refs#/box1/left"]
    records = read(path)
    assert next(records).name == "2.png"
    with pytest.raises(SourceError, match="record 2 of 2"):
        next(records)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
def test_reading_takes_no_more_memory_as_it_goes_on(mat: Mat) -> None:
    # HDF5 by itself would remember 17 MB of these.
    records = read(mat(*[FIRST] * 400))
    for _ in range(50):
        next(records)
    before = resident_bytes()
    assert sum(1 for _ in records) == 350
    assert resident_bytes() - before < 5_000_000
