from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from digitcam.core.canvas import lay_out, rng_for
from digitcam.core.errors import SourceError
from digitcam.train import mnist
from digitcam.train.canvas import SIZES, CanvasData
from digitcam.train.data import DATA_SETS

GLYPHS = CanvasData(digits="glyphs")


def test_the_seed_s_split_sizes() -> None:
    assert SIZES == {"train": 165_000, "validation": 15_000, "test": 30_000}


def test_boxes_by_hand() -> None:
    tiles = [np.full((28, 28), value, dtype=np.uint8) for value in (10, 20, 30)]
    # The canvas is exactly as large as three tiles: there is one place only.
    sample = lay_out(tiles, "123", 28, 84, rng_for(1, 0, 0))
    assert sample.boxes_xywh.tolist() == [[0, 0, 28, 28], [28, 0, 28, 28], [56, 0, 28, 28]]
    assert sample.box_xywh.tolist() == [0, 0, 84, 28]
    assert [sample.image[14, x] for x in (0, 27, 28, 55, 56, 83)] == [10, 10, 20, 20, 30, 30]


@given(st.integers(0, 2**32), st.integers(0, 2**32), st.sampled_from(["train", "validation", "test"]))
def test_a_sample_is_made_again_from_seed_split_and_index(seed: int, index: int, split: mnist.Split) -> None:
    data = CanvasData(digits="glyphs", seed=seed)
    one, two = data.sample(split, index), data.sample(split, index)
    assert one.number == two.number
    assert np.array_equal(one.image, two.image) and np.array_equal(one.boxes_xywh, two.boxes_xywh)
    assert one.image.shape == (128, 256) and one.image.dtype == np.uint8
    assert 1 <= len(one.number) == len(one.boxes_xywh) <= 5
    assert (one.boxes_xywh[:, :2] >= 0).all()
    assert (one.boxes_xywh[:, :2] + one.boxes_xywh[:, 2:] <= (256, 128)).all()


def test_seed_split_and_index_each_draw_another() -> None:
    first = GLYPHS.sample("train", 3).image
    for other in (
        CanvasData(digits="glyphs", seed=2).sample("train", 3),
        GLYPHS.sample("validation", 3),
        GLYPHS.sample("test", 3),
        GLYPHS.sample("train", 4),
    ):
        assert not np.array_equal(first, other.image)


def test_lengths_and_digits_are_uniform() -> None:
    numbers = [GLYPHS.sample("train", i, 56, 168).number for i in range(1000)]
    lengths = np.bincount([len(number) for number in numbers], minlength=6)
    assert lengths[0] == 0
    # 200 expected of each length with a standard deviation of 12.6, 300 of each digit with one of 16.4.
    assert (np.abs(lengths[1:] - 200) < 60).all()
    digits = np.bincount([int(digit) for number in numbers for digit in number], minlength=10)
    assert (np.abs(digits - digits.mean()) < 90).all()


def test_five_digits_fixed() -> None:
    data = CanvasData(digits="glyphs", min_digits=5)
    assert {len(data.sample("test", i).number) for i in range(30)} == {5}


def test_glyphs_need_no_data(data_folder: Path) -> None:
    assert GLYPHS.sample("train", 0).image.any()
    assert list(data_folder.iterdir()) == []
    with pytest.raises(SourceError, match="digitcam data fetch mnist"):
        CanvasData(digits="mnist").sample("train", 0)


def test_more_least_than_most_digits() -> None:
    with pytest.raises(msgspec.ValidationError, match="min_digits"):
        msgspec.convert({"kind": "canvas", "min_digits": 4, "max_digits": 3}, CanvasData)


@pytest.mark.mnist
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_tiles_are_mnist_s_digits_as_they_are(split: mnist.Split) -> None:
    images, labels = mnist.digits(split)
    known = {image.tobytes(): str(label) for image, label in zip(images, labels, strict=True)}
    for index in range(40):
        sample = DATA_SETS["canvas-variable"].sample(split, index)
        rest = sample.image.copy()
        for digit, box in zip(sample.number, sample.boxes_xywh.astype(int), strict=True):
            x, y, w, h = box
            assert (w, h) == (28, 28)
            assert known[sample.image[y : y + h, x : x + w].tobytes()] == digit
            rest[y : y + h, x : x + w] = 0
        assert not rest.any()


@pytest.mark.mnist
def test_only_training_digits_are_warped() -> None:
    plain, warped = CanvasData(digits="mnist"), CanvasData(digits="mnist", warp=0.7)
    assert not np.array_equal(plain.sample("train", 1).image, warped.sample("train", 1).image)
    assert np.array_equal(plain.sample("validation", 1).image, warped.sample("validation", 1).image)
    assert np.array_equal(plain.sample("test", 1).image, warped.sample("test", 1).image)


@pytest.mark.mnist
@pytest.mark.parametrize(("share", "drawn_from_fonts"), [(0.0, (0, 0)), (0.5, (30, 70)), (1.0, (100, 100))])
def test_both_kinds_are_mixed_by_share(share: float, drawn_from_fonts: tuple[int, int]) -> None:
    data = CanvasData(digits="mnist+glyphs", glyph_share=share)
    # MNIST's canvas is black outside its digits, that of the fonts holds noise.
    found = 0
    for index in range(100):
        sample = data.sample("test", index)
        for x, y, w, h in sample.boxes_xywh.astype(int):
            sample.image[y : y + h, x : x + w] = 0
        found += bool(sample.image.any())
    assert drawn_from_fonts[0] <= found <= drawn_from_fonts[1]
