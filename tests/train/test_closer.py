from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from digitcam.core.canvas import Number, Sample
from digitcam.core.card import Input
from digitcam.train.batches import Batches
from digitcam.train.closer import AWAY, FALSE, SIZE, closer
from digitcam.train.recipe import load_recipe

RECIPE = Path(__file__).parents[2] / "train/recipes/digitcam-s.toml"
SPEC = Input(height=128, width=256)


def digits(left: float, top: float, size: float, count: int) -> np.ndarray:
    """Boxes half as wide as high, side by side."""
    return np.float32([[left + i * size / 2, top, size / 2, size] for i in range(count)]).reshape(-1, 4)


def scene(*numbers: tuple[str, np.ndarray]) -> Sample:
    """Draw every digit as an even box, brighter the greater it is."""
    image = np.zeros((128, 256), np.uint8)
    for number, boxes in numbers:
        for digit, (x, y, width, height) in zip(number, boxes.astype(int), strict=True):
            image[y : y + height, x : x + width] = 100 + 10 * int(digit)
    (number, boxes), *others = numbers
    return Sample(image, number, boxes, tuple(Number(*other) for other in others))


def test_boxes_stay_on_their_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("digitcam.train.closer.FALSE", 0)
    small = scene(("123", digits(100, 60, 16, 3)), ("45", digits(20, 10, 16, 2)))
    heights, moved = [], []
    for index in range(60):
        found = closer(small, SPEC, 54, 1.0, 1, index)
        assert found.image.shape == (128, 256) and found.image.dtype == np.uint8
        for number in (Number(found.number, found.boxes_xywh), *found.others):
            assert len(number.number) == len(number.boxes_xywh) > 0
            for digit, (x, y, width, height) in zip(number.number, number.boxes_xywh, strict=True):
                middle = found.image[min(int(y + height / 2), 127), min(int(x + width / 2), 255)]
                assert abs(int(middle) - 100 - 10 * int(digit)) <= 1
        heights.append(float(found.boxes_xywh[0, 3]))
        moved.append(float(found.boxes_xywh[1, 1]))
    # 54 within e^0.2, and what rounding to whole pixels of the scene adds.
    assert 54 * np.exp(-SIZE) * 0.95 < min(heights) < 49 and 59 < max(heights) < 54 * np.exp(SIZE) * 1.05
    # The first look may be off by 0.3 of a digit up or down: of 54, 16 pixels around the middle at 37.
    assert 37 - 54 * AWAY - 8 < min(moved) < 30 and 44 < max(moved) < 37 + 54 * AWAY + 8


def test_what_lies_outside_is_not_asked_for() -> None:
    found = [closer(scene(("7", digits(20, 20, 12, 1)), ("8", digits(200, 100, 12, 1))), SPEC, 54, 1.0, 1, 0)]
    assert [(one.number, one.others) for one in found] == [("7", ())]


def test_large_numbers_stay() -> None:
    # Enlarged around another place, a digit of 80 pixels is as high as the input or higher.
    drawn = scene(("12", digits(60, 20, 80, 2)))
    found = [closer(drawn, SPEC, 54, 1.0, 1, index) for index in range(40)]
    assert np.mean([one is drawn for one in found]) > 1 - 2 * FALSE
    assert all(one.boxes_xywh[:, 3].max(initial=0) <= 128 for one in found)


def test_mistakes_of_a_first_look_are_enlarged() -> None:
    empty = scene(("", digits(0, 0, 9, 0)))
    empty.image[40:80, 100:140] = 200
    found = [closer(empty, SPEC, 54, 1.0, 1, index) for index in range(200)]
    assert all(one.number == "" and one.boxes_xywh.shape == (0, 4) and one.others == () for one in found)
    # Up to 54 / 10 times as large, and an area so much larger; a mistake of 49 pixels or more is not enlarged.
    areas = np.array([np.mean(one.image > 100) for one in found]) / np.mean(empty.image > 100)
    assert areas.max() > 4 and np.mean([one is empty for one in found]) < 0.2

    small = scene(("12", digits(100, 60, 16, 2)))
    found = [closer(small, SPEC, 54, 1.0, 1, index) for index in range(400)]
    # Of the other places half are so near that the number is in view.
    away = np.mean([one.number != "12" for one in found])
    assert 0.3 * FALSE < away < FALSE


def test_the_share_is_kept_and_images_are_drawn_again() -> None:
    small = scene(("123", digits(100, 60, 16, 3)))
    enlarged = [closer(small, SPEC, 54, 0.3, 1, index) for index in range(400)]
    assert 0.22 < np.mean([one is not small for one in enlarged]) < 0.38
    again = closer(small, SPEC, 54, 1.0, 1, 7)
    np.testing.assert_array_equal(again.image, closer(small, SPEC, 54, 1.0, 1, 7).image)
    assert not np.array_equal(again.boxes_xywh, closer(small, SPEC, 54, 1.0, 2, 7).boxes_xywh)


def test_a_recipe_that_asks_for_close_ups_gets_them() -> None:
    recipe = load_recipe(RECIPE, ('data.kinds={"print"=1}', "schedule.batch=8"))
    plain = msgspec.structs.replace(recipe, close_ups=0.0)
    (images, _, boxes), (whole, _, before) = (Batches(one)[0] for one in (recipe, plain))
    enlarged = [i for i in range(8) if not torch.equal(images[i], whole[i])]
    assert enlarged and len(enlarged) < 8
    assert all(boxes[i, 0, 3] > before[i, 0, 3] for i in enlarged)
