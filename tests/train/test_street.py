from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digitcam.core.arrays import FloatArray
from digitcam.core.canvas import rng_for
from digitcam.core.errors import SourceError
from digitcam.train.faces import SetLine
from digitcam.train.mosaic import mosaic
from digitcam.train.photograph import legible, photograph
from digitcam.train.scene import _CLUTTER
from digitcam.train.specimen import SPECIMEN, specimen
from digitcam.train.street import LARGEST, SMALLEST, StreetData, pose, put
from digitcam.train.strips import (
    KINDS,
    Strip,
    _is_between,
    _level,
    _side_by_side,
    _stencilled,
    _visible,
    code,
    drawn_wheels,
    house,
    printed,
)
from digitcam.train.svhn import Record

FREE = StreetData(kinds={"counter": 1.0, "display": 1.0, "print": 1.0})
"""Needs no data."""
PLATE = Strip(
    np.full((40, 80), 200, np.uint8), np.full((40, 80), 255, np.uint8), "7", np.array([[30, 10, 20, 20]], np.float32)
)


def test_the_same_index_draws_the_same_scene() -> None:
    one, again, other = (FREE.sample("train", i) for i in (5, 5, 6))
    assert one.image.tobytes() == again.image.tobytes() and one.number == again.number
    assert one.image.tobytes() != other.image.tobytes()
    assert FREE.sample("test", 5).image.tobytes() != one.image.tobytes()


def test_the_specimen_is_the_one_drawn() -> None:
    stored = cv2.imread(str(Path(__file__).parents[2] / SPECIMEN), cv2.IMREAD_GRAYSCALE)
    drawn = specimen()
    assert drawn.number == "778286" and stored.shape == drawn.image.shape == (240, 320)
    # But for what JPEG loses of the noise.
    assert np.abs(stored.astype(int) - drawn.image).mean() < 4


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([(48, 96), (64, 128), (128, 256), (90, 171)]))
def test_numbers_lie_inside_and_apart(index: int, shape: tuple[int, int]) -> None:
    height, width = shape
    sample = FREE.sample("train", index, height, width)
    assert sample.image.shape == shape and sample.image.dtype == np.uint8
    for number, boxes in [(sample.number, sample.boxes_xywh), *sample.others]:
        assert boxes.shape == (len(number), 4) and boxes.dtype == np.float32
        assert (boxes[:, 2:] > 0).all()
        assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] + boxes[:, 2:] <= (width, height)).all()
        # From left to right, even where they are turned.
        assert (np.diff(boxes[:, 0] + boxes[:, 2] / 2) > 0).all()
    assert all(len(other.number) < len(sample.number) for other in sample.others)


def test_frames_may_be_large() -> None:
    sample = FREE.sample("train", 3, 400, 640)
    assert sample.image.shape == (400, 640) and len(sample.boxes_xywh) == len(sample.number) > 0


def test_heights_span_what_the_network_shall_read() -> None:
    heights = np.concatenate([FREE.sample("train", i).boxes_xywh[:, 3] for i in range(400)])
    assert heights.min() >= SMALLEST - 2 and heights.max() <= LARGEST * 1.2
    assert np.quantile(heights, 0.2) < 25 and np.quantile(heights, 0.9) > 50


def test_shares_of_empty_and_double_frames() -> None:
    samples = [FREE.sample("train", i, 64, 128) for i in range(1500)]
    empty = np.mean([not sample.number for sample in samples])
    # 0.08, three standard deviations are 0.021.
    assert 0.055 < empty < 0.105
    assert any(sample.others for sample in samples)
    assert all(s.boxes_xywh.shape == (0, 4) for s in samples if not s.number)
    never = StreetData(kinds=FREE.kinds, empty=0.0, several=0.0)
    assert all(s.number and not s.others for s in (never.sample("test", i, 64, 128) for i in range(100)))
    always = StreetData(kinds=FREE.kinds, empty=1.0)
    assert not any(always.sample("test", i, 64, 128).number for i in range(50))


def test_digits_stand_out_from_what_is_around_them() -> None:
    # Within a digit's box there is more contrast than noise alone makes, in nearly all of many frames.
    visible = []
    for i in range(200):
        sample = StreetData(kinds={"print": 1.0}, empty=0.0).sample("train", i)
        x, y, w, h = sample.boxes_xywh[0].round().astype(int)
        digit = sample.image[y : y + h, x : x + w].astype(float)
        visible.append(np.quantile(digit, 0.95) - np.quantile(digit, 0.05) > 15)
    assert np.mean(visible) > 0.95


def test_puts_a_plate_where_it_says() -> None:
    placed = put(PLATE, pose(1.0, 0.0, 0.0), 0.0, 128, 256, np.random.default_rng(3))
    scene = np.zeros((128, 256), dtype=np.float32)
    placed.draw(scene)
    x, y, w, h = placed.boxes_xywh[0].round().astype(int)
    assert (scene[y : y + h, x : x + w] > 190).all()
    left, top, wide, high = placed.outline()
    rows, columns = np.nonzero(scene > 1)
    assert columns.min() >= left - 1 and columns.max() <= left + wide + 1
    assert rows.min() >= top - 1 and rows.max() <= top + high + 1


@pytest.fixture
def records(data_folder: Path) -> None:
    # Two digits of 30x100 and 60x100 px, the second 4 px lower and 40 px to the right.
    record = Record("1.png", 512, 256, ((1, 100, 60, 130, 160), (9, 140, 64, 200, 164)))
    (data_folder / "svhn").mkdir()
    (data_folder / "svhn" / "train_labels.jsonl.gz").write_bytes(gzip.compress(msgspec.json.encode(record)))


def test_a_house_number_keeps_its_record_s_layout(records: None) -> None:
    strip = house(50.0, 100.0, "train", np.random.default_rng(1))
    assert strip.number == "19"
    boxes = strip.boxes_xywh
    # At half size: 50 px high, the second 2 px lower, its middle half of 55 px to the right.
    assert boxes[:, 3].tolist() == [50, 50]
    assert boxes[1, 1] - boxes[0, 1] == 2
    middles = boxes[:, 0] + boxes[:, 2] / 2
    assert abs((middles[1] - middles[0]) - (170 - 115) / 2) <= 1


def test_boxes_that_overlap_share_what_both_claim() -> None:
    # The second begins 6 px before the first ends; a gap of a fiftieth of 50 is 1: 7 to share.
    boxes = np.array([[0, 0, 20, 50], [14, 0, 30, 50], [60, 0, 20, 50]], np.float32)
    expected = [[0, 0, 16.5, 50], [17.5, 0, 26.5, 50], [60, 0, 20, 50]]
    assert _side_by_side(boxes).tolist() == expected


def test_numbers_that_do_not_stand_in_a_line_are_left_out() -> None:
    row = np.array([[0, 0, 20, 50], [22, 15, 20, 50]], np.float32)
    column = np.array([[0, 0, 20, 50], [2, 52, 20, 50]], np.float32)
    assert _level(row) and not _level(column)
    assert not _level(row + np.array([[0, 0, 0, 0], [0, 6, 0, 0]], np.float32))


def test_digits_that_claim_the_same_place_are_left_out() -> None:
    # 0.7 and 0.6 of a width apart.
    assert _level(np.array([[0, 0, 20, 50], [14, 0, 20, 50]], np.float32))
    assert not _level(np.array([[0, 0, 20, 50], [12, 0, 20, 50]], np.float32))


def test_a_photograph_enlarged_is_as_sharp_as_it_was() -> None:
    placed = put(PLATE._replace(detail=8.0), pose(2.0, 0.0, 0.0), 0.0, 128, 256, np.random.default_rng(3))
    assert (placed.height, placed.sharp) == (40.0, 8.0)
    assert put(PLATE, pose(2.0, 0.0, 0.0), 0.0, 128, 256, np.random.default_rng(3)).sharp == 40.0


def test_a_house_number_needs_the_labels(data_folder: Path) -> None:
    with pytest.raises(SourceError, match=r"train_labels.jsonl.gz: no such file"):
        StreetData(kinds={"house": 1.0}, empty=0.0).sample("train", 0)


@pytest.mark.parametrize("kind", [printed, code, drawn_wheels, KINDS["display"]])
def test_boxes_frame_the_ink(kind: object) -> None:
    for i in range(30):
        strip = kind(40.0, 128.0, "train", rng_for(1, 9, i))  # type: ignore[operator]
        height, width = strip.grey.shape
        assert strip.cover.shape == (height, width)
        assert len(strip.number) == len(strip.boxes_xywh)
        assert (strip.boxes_xywh[:, :2] >= 0).all()
        assert (strip.boxes_xywh[:, :2] + strip.boxes_xywh[:, 2:] <= (width, height)).all()
        assert 20 < np.median(strip.boxes_xywh[:, 3]) < 60


def test_faint_wheels_become_visible_and_others_stay() -> None:
    faint = np.tile(np.array([[60, 95]], np.uint8), (10, 10))
    (raised,) = _visible([faint])
    # 35 levels become 70, about the same middle of 77.5.
    assert sorted(np.unique(raised)) == [42, 112]
    clear = np.tile(np.array([[20, 200]], np.uint8), (10, 10))
    assert _visible([clear])[0] is clear


def test_a_mosaic_has_the_numbers_of_its_scenes() -> None:
    drawn = mosaic(FREE, 3, 128, 256, share=1.0, seed=1)
    assert drawn.image.shape == (128, 256)
    numbers = [drawn.number, *(other.number for other in drawn.others)]
    boxes = np.concatenate([drawn.boxes_xywh, *(other.boxes_xywh for other in drawn.others)])
    assert len("".join(numbers)) == len(boxes)
    assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] + boxes[:, 2:] <= (256, 128)).all()
    # The cross cuts no digit, and digits stand in more than one quarter.
    assert len({(x > 128, y > 64) for x, y in boxes[:, :2]}) > 1
    whole = mosaic(FREE, 3, 128, 256, share=0.0, seed=1)
    assert whole.image.tobytes() == FREE.sample("train", 12).image.tobytes()


def faint(step: float, height: int) -> tuple[np.ndarray, np.ndarray]:
    """A scene at 100 with a box of 20 columns, its right half `step` brighter: a standard deviation of step / 2."""
    scene = np.full((64, 64), 100, dtype=np.float32)
    scene[8 : 8 + height, 20:30] += step
    return scene, np.array([[10, 8, 19, height - 1]], np.float32)


@pytest.mark.parametrize(
    ("step", "height", "sigma", "gain"),
    [
        (10, 41, 0.0, 9 / 5),  # it has 5 where 9 are wanted
        (10, 41, 10.0, 16 / 5),  # and seven tenths of the noise
        (10, 13, 0.0, 18 / 5),  # twice as much at a height of 12
        (3, 41, 10.0, 5.0),  # at most
        (60, 41, 0.0, 1.0),
    ],
)
def test_a_faint_digit_is_made_legible(step: float, height: int, sigma: float, gain: float) -> None:
    scene, boxes = faint(step, height)
    raised = legible(scene, boxes, sigma)
    middle = 100 + step / 2
    np.testing.assert_allclose(raised, (scene - middle) * gain + middle, atol=1e-3)


def test_a_faint_digit_in_the_dark_is_brought_to_light() -> None:
    scene, boxes = faint(10, 41)
    # Its middle of 5 becomes 70: 9 levels either way are left.
    assert np.unique(legible(scene - 100, boxes, 0.0).round(3)).tolist() == [61, 79]


def test_the_faintest_digit_decides_and_none_changes_nothing() -> None:
    scene, boxes = faint(10, 41)
    scene[8:49, 50:55] = 220
    both = np.concatenate([boxes, np.array([[45, 8, 9, 40]], np.float32)])
    assert legible(scene, both, 0.0)[20, 25] - legible(scene, both, 0.0)[20, 15] == pytest.approx(18)
    assert legible(scene, np.zeros((0, 4), np.float32), 0.0) is scene


def test_a_stencil_s_bridges_cut_all_but_slender_digits() -> None:
    line = SetLine(np.full((40, 45), 255, np.uint8), np.array([[0, 0, 10, 40], [15, 0, 30, 40]], np.float32))
    cut = _stencilled(line, 40.0, np.random.default_rng(1))
    empty = np.flatnonzero((cut.ink == 0).all(axis=0))
    # 0.05 to 0.12 of 40 px, about the middle of the second.
    assert 2 <= len(empty) <= 5 and abs(empty.mean() - 29.5) <= 1
    assert (cut.ink[:, :15] == 255).all() and (line.ink == 255).all()
    assert cut.boxes_xywh is line.boxes_xywh


def test_codes_have_many_a_1_and_two_to_ten_digits() -> None:
    rng = np.random.default_rng(5)
    strips = [code(40, 100, "train", rng) for _ in range(300)]
    lengths = {len(strip.number) for strip in strips}
    assert min(lengths) == 2 and max(lengths) == 10
    assert all(len(strip.number) == len(strip.boxes_xywh) for strip in strips)
    digits = "".join(strip.number for strip in strips)
    # Half of them have a 1 for half of their digits, besides every tenth: 0.1 + 0.5 x 0.45.
    assert digits.count("1") / len(digits) == pytest.approx(0.325, abs=0.04)


@pytest.mark.parametrize(("position", "between"), [(3.0, False), (3.3, False), (3.4, True), (3.6, True), (3.7, False)])
def test_wheels_halfway_between_two_digits(position: float, between: bool) -> None:
    assert _is_between(position) == between


@pytest.mark.parametrize("thing", _CLUTTER)
def test_clutter_of_every_kind_is_seen(thing: Callable[[FloatArray, np.random.Generator], None]) -> None:
    seen = 0
    for i in range(30):
        scene = np.full((64, 128), 100, dtype=np.float32)
        thing(scene, rng_for(2, 10, i))
        seen += bool((abs(scene - 100) > 20).any())
    assert seen > 20


def test_a_photograph_stays_in_range_and_readable() -> None:
    scene = np.full((64, 128), 60, dtype=np.float32)
    scene[20:44, 40:80] = 200
    contrasts = []
    for i in range(100):
        image = photograph(scene.copy(), np.zeros((0, 4), np.float32), 24.0, rng_for(1, 10, i))
        assert image.dtype == np.uint8 and image.shape == scene.shape
        # Left of the square's left edge, and right of it; light may fall off further away.
        contrasts.append(np.median(image[26:38, 44:52]) - np.median(image[26:38, 28:36]))
    assert min(contrasts) > 5 and np.quantile(contrasts, 0.1) > 20
