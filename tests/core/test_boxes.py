import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from digitcam.core.boxes import iou, to_centre, union

pixels = st.floats(0, 500, width=32)
boxes = st.tuples(pixels, pixels, st.floats(1, 200, width=32), st.floats(1, 200, width=32)).map(np.float32)


def test_union_by_hand() -> None:
    found = union(np.float32([[10, 20, 5, 5], [30, 10, 10, 4]]))
    assert found.tolist() == [10, 10, 30, 15]


def test_union_of_none_is_empty() -> None:
    assert union(np.zeros((0, 4), np.float32)).tolist() == [0, 0, 0, 0]


def test_iou_by_hand() -> None:
    # 10x10 boxes shifted by half a width: 50 of 150 pixels are shared.
    assert iou(np.float32([0, 0, 10, 10]), np.float32([5, 0, 10, 10])) == pytest.approx(1 / 3)
    assert iou(np.float32([0, 0, 10, 10]), np.float32([10, 0, 10, 10])) == 0
    assert iou(np.zeros(4), np.zeros(4)) == 0


def test_seed_form_by_hand() -> None:
    assert to_centre(np.float32([10, 20, 30, 40])).tolist() == [25, 40, 40, 30]


@given(boxes, boxes)
def test_iou_is_symmetric_and_a_share(a: np.ndarray, b: np.ndarray) -> None:
    assert iou(a, b) == pytest.approx(iou(b, a), abs=1e-4)
    assert 0 <= iou(a, b) <= 1 + 1e-3
    assert iou(a, a) == pytest.approx(1, abs=1e-3)


@given(boxes, boxes)
def test_union_holds_both(a: np.ndarray, b: np.ndarray) -> None:
    x, y, width, height = union(np.stack([a, b]))
    for box in (a, b):
        assert x <= box[0] and y <= box[1]
        assert x + width >= box[0] + box[2] - 1e-3 and y + height >= box[1] + box[3] - 1e-3
