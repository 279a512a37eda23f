from __future__ import annotations

import gzip
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from digitcam.core.errors import SourceError
from digitcam.train.street import SMALLEST, StreetData, place
from digitcam.train.svhn import Record

WIDE = Record("1.png", 512, 256, ((1, 100, 60, 130, 160), (9, 140, 64, 200, 164)))
FAR = Record("2.png", 512, 256, ((4, 0, 240, 8, 250), (2, 8, 240, 16, 250)))
TALL = Record("3.png", 64, 64, ((0, 10, 8, 22, 40),))


@pytest.fixture
def scenes(data_folder: Path) -> None:
    (data_folder / "svhn").mkdir()
    lines = b"\n".join(msgspec.json.encode(record) for record in (WIDE, FAR, TALL))
    for part in ("train", "test"):
        (data_folder / "svhn" / f"{part}_labels.jsonl.gz").write_bytes(gzip.compress(lines))


def test_places_by_hand() -> None:
    # 512x256 px go into 256x128 at half size.
    assert place(WIDE, 128, 256).tolist() == [[50, 30, 15, 50], [70, 32, 30, 50]]
    # 64x64 px go into 128x128 in the middle: doubled, 64 px to the right.
    assert place(TALL, 128, 256).tolist() == [[84, 16, 24, 64]]
    # Halved they are 5 px high at the left edge, y 120 to 125: doubled about (4, 122.5), then moved inside.
    assert place(FAR, 128, 256).tolist() == [[0, 117.5, 8, 10], [8, 117.5, 8, 10]]


edge = st.integers(-20, 300)
digit = st.tuples(st.integers(0, 9), edge, edge, st.integers(1, 200), st.integers(1, 200))


@given(st.lists(digit, min_size=1, max_size=6), st.integers(20, 280), st.integers(20, 280))
def test_boxes_lie_inside(drawn: list[tuple[int, int, int, int, int]], width: int, height: int) -> None:
    inside = [
        (d, min(x, width - 1), min(y, height - 1), max(1, min(x, width - 1) + w), max(1, min(y, height - 1) + h))
        for d, x, y, w, h in drawn
    ]
    record = Record("1.png", width, height, tuple(inside))
    boxes = place(record, 128, 256)
    assert boxes.shape == (len(drawn), 4) and boxes.dtype == np.float32
    assert (boxes[:, 2:] > 0).all()
    assert (boxes[:, :2] >= -1e-3).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= (256 + 1e-3, 128 + 1e-3)).all()


@given(st.integers(1, 30), st.integers(0, 60))
def test_low_digits_are_drawn_larger(high: int, y: int) -> None:
    record = Record("1.png", 512, 256, ((3, 200, y, 206, y + high), (4, 206, y, 212, y + high)))
    assert (place(record, 128, 256)[:, 3] >= SMALLEST - 1e-3).all()


@pytest.mark.usefixtures("scenes")
class TestDrawing:
    def test_a_sample(self) -> None:
        data = StreetData()
        assert data.channels == 1
        sample = data.sample("train", 0)
        assert sample.image.shape == (128, 256) and sample.image.dtype == np.uint8
        assert sample.number == "19"
        assert np.array_equal(sample.boxes_xywh, place(WIDE, 128, 256))
        assert data.sample("train", 0, 56, 168).image.shape == (56, 168)

    def test_records_come_in_turn(self) -> None:
        assert [StreetData().sample("test", i).number for i in range(5)] == ["19", "42", "0", "19", "42"]

    def test_the_same_again(self) -> None:
        one, two = StreetData(seed=5).sample("test", 7), StreetData(seed=5).sample("test", 7)
        assert np.array_equal(one.image, two.image)

    @pytest.mark.parametrize("other", [(6, "test", 7), (5, "train", 7), (5, "test", 10)])
    def test_another_scene(self, other: tuple[int, str, int]) -> None:
        seed, split, index = other
        changed = StreetData(seed=seed).sample(split, index)  # type: ignore[arg-type]
        same = StreetData(seed=5).sample("test", 7)
        assert changed.number == same.number
        assert not np.array_equal(changed.image, same.image)

    def test_scenes_vary_and_digits_stand_out(self) -> None:
        drawn = [StreetData().sample("train", 3 * i) for i in range(60)]
        means = [float(sample.image.mean()) for sample in drawn]
        assert np.std(means) > 20
        lighter = 0
        for sample in drawn:
            x, y, w, h = sample.boxes_xywh[1].astype(int)
            nine = sample.image[y : y + h, x : x + w].astype(float)
            low, high = np.percentile(nine, (5, 95))
            assert high - low > 20
            lighter += np.median(nine) < (low + high) / 2
        # Light on dark and dark on light, each about half the time.
        assert 12 < lighter < 48


def test_needs_the_labels(data_folder: Path) -> None:
    with pytest.raises(SourceError, match=r"train_labels\.jsonl\.gz"):
        StreetData().sample("train", 0)
