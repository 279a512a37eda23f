"""`decode_grid` held against the plainest way to say the same: whole arrays of all cells, each against each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digitcam.core.arrays import FloatArray
from digitcam.core.boxes import iou
from digitcam.core.card import GridHead, Thresholds
from digitcam.core.decode import SAME_DIGIT_IOU, Digit, decode_grid


def reference(logits: FloatArray, boxes: FloatArray, head: GridHead, thresholds: Thresholds) -> list[Digit]:
    rows, columns, classes = logits.shape
    cells, raw = logits.reshape(-1, classes), boxes.reshape(-1, 4)
    odds = np.exp(np.minimum(cells[:, :-1] - cells[:, -1:], 80))
    total = odds.sum(axis=1)
    sure, votes = total / (1 + total), odds / (1 + total[:, None])
    y, x = np.mgrid[:rows, :columns]
    centres = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) * head.stride
    sizes = np.exp(np.clip(raw[:, 2:].astype(np.float64), -4, 6)) * head.stride
    places = np.concatenate([centres + raw[:, :2] * head.stride - sizes / 2, sizes], axis=-1)
    heard = np.flatnonzero(sure >= thresholds.digit)
    sure, votes, places = sure[heard], votes[heard], places[heard]
    same = iou(places[:, None], places[None]) >= SAME_DIGIT_IOU
    free, digits = np.ones(len(heard), bool), []
    for cell in np.argsort(-sure, kind="stable").tolist():
        if free[cell]:
            members = np.flatnonzero(same[cell] & free)
            free[members] = False
            shares = sure[members] @ votes[members]
            box = sure[members] @ places[members] / sure[members].sum()
            confidence = float(sure[cell] * shares.max() / shares.sum())
            digits.append(Digit(head.alphabet[shares.argmax()], confidence, tuple(box.tolist())))
    return digits


def same(found: list[Digit], expected: list[Digit]) -> None:
    assert [digit.value for digit in found] == [digit.value for digit in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=1e-5)
        assert one.box_xywh == pytest.approx(other.box_xywh, rel=1e-5, abs=1e-5)


def grid(
    rng: np.random.Generator, rows: int, columns: int, spread: float, heard: float, size: float
) -> tuple[FloatArray, FloatArray]:
    """Draw logits whose cells are heard with a chance of about `heard`, and boxes about `size` strides large."""
    logits = rng.normal(0, spread, (rows, columns, 11)).astype(np.float32)
    logits[..., 10] += np.where(rng.random((rows, columns)) < heard, -3, 5) * spread
    boxes = rng.normal(0, 0.5, (rows, columns, 4)).astype(np.float32)
    boxes[..., 2:] += np.log(size)
    return logits, boxes


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    shape=st.sampled_from([(1, 1), (4, 6), (8, 16)]),
    spread=st.sampled_from([0.5, 2.0, 6.0]),
    heard=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    size=st.sampled_from([0.5, 2.0, 6.0]),
    threshold=st.sampled_from([0.01, 0.3, 0.5, 0.9, 0.99]),
)
def test_it_is_what_whole_arrays_give(
    seed: int, shape: tuple[int, int], spread: float, heard: float, size: float, threshold: float
) -> None:
    logits, boxes = grid(np.random.default_rng(seed), *shape, spread, heard, size)
    head, thresholds = GridHead(stride=8), Thresholds(digit=threshold)
    same(decode_grid(logits, boxes, head, thresholds), reference(logits, boxes, head, thresholds))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), columns=st.integers(2, 12))
def test_of_cells_as_sure_as_each_other_the_first_leads(seed: int, columns: int) -> None:
    # Rows of three kinds of cells only, as int8 gives them: many are exactly alike, many as good as certain.
    rng = np.random.default_rng(seed)
    kinds = np.array([[*rng.integers(-9, 9, 10), least] for least in (-30, -25, -5)], np.float32)
    logits = kinds[rng.integers(0, 3, (3, columns))]
    boxes = (rng.integers(-2, 9, (3, columns, 4)) / 4).astype(np.float32)
    head = GridHead(stride=4)
    same(decode_grid(logits, boxes, head, Thresholds()), reference(logits, boxes, head, Thresholds()))


def test_a_fine_grid_with_many_digits() -> None:
    logits, boxes = grid(np.random.default_rng(7), 32, 64, 3.0, 0.05, 5.0)
    head = GridHead(stride=4)
    found = decode_grid(logits, boxes, head, Thresholds())
    assert len(found) > 20
    same(found, reference(logits, boxes, head, Thresholds()))


@pytest.mark.parametrize(("threshold", "heard"), [(0.0, 20), (1e-9, 1)])
def test_with_no_threshold_every_cell_is_heard(threshold: float, heard: int) -> None:
    logits = np.zeros((1, 20, 11), np.float32)
    logits[..., 10] = [-20, *[80] * 19]
    # Boxes of half a stride: none overlaps another.
    boxes = np.full((1, 20, 4), [0, 0, np.log(0.5), np.log(0.5)], np.float32)
    assert len(decode_grid(logits, boxes, GridHead(stride=8), Thresholds(digit=threshold))) == heard
