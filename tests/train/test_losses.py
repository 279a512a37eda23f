from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from digitcam.core.card import GridHead, SlotsHead, Thresholds
from digitcam.core.decode import decode
from digitcam.train.losses import NOBODY, LossConfig, grid_loss, grid_targets, l2_loss, loss, slots_loss

GRID = GridHead(stride=8)
SLOTS = SlotsHead(positions=5)


def batch(*images: list[tuple[int, float, float, float, float]]) -> tuple[Tensor, Tensor]:
    """Labels [B, N] and boxes [B, N, 4] of images given as (digit, x, y, width, height)."""
    most = max(map(len, images))
    labels = torch.full((len(images), most), NOBODY)
    boxes = torch.zeros(len(images), most, 4)
    for i, digits in enumerate(images):
        for j, (digit, *box) in enumerate(digits):
            labels[i, j] = digit
            boxes[i, j] = torch.tensor(box)
    return labels, boxes


def written(labels: Tensor, boxes: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Write the targets as a grid's output, as sure as can be; where nothing counts, say none."""
    owner, _, target = grid_targets(labels, boxes, rows, columns, GRID.stride)
    logits = torch.full((*owner.shape, 11), -30.0)
    places = torch.zeros(*owner.shape, 4)
    for b, row, column in np.ndindex(*owner.shape):
        n = int(owner[b, row, column])
        logits[b, row, column, 10 if n == NOBODY else labels[b, n]] = 30.0
        if n != NOBODY:
            places[b, row, column] = target[b, n, row, column]
    return logits, places


def test_targets_by_hand() -> None:
    # A 28 px digit about (24, 20) on 6x6 cells of 8 px, whose centres are 4, 12, 20, 28, 36 and 44.
    # x: 20, 12, 4, -4, -12, -20 px away, in boxes 0.71, 0.43, 0.14, 0.14, 0.43, 0.71;
    # y: 16, 8, 0, -8, -16, -24 px away, in boxes 0.57, 0.29, 0, 0.29, 0.57, 0.86.
    labels, boxes = batch([(7, 10, 6, 28, 28)])
    owner, free, target = grid_targets(labels, boxes, 6, 6, 8)
    assert (owner[0] + 1).tolist() == [
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ]
    assert free[0].int().tolist() == [
        [0, 0, 0, 0, 0, 0],
        [0, 0, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ]
    # 4 px are half a stride; 28 px are 3.5 strides.
    assert target[0, 0, 2, 2].tolist() == pytest.approx([0.5, 0.0, math.log(3.5), math.log(3.5)])
    assert target[0, 0, 2, 3].tolist() == pytest.approx([-0.5, 0.0, math.log(3.5), math.log(3.5)])
    assert target[0, 0, 0, 5].tolist() == pytest.approx([-2.5, 2.0, math.log(3.5), math.log(3.5)])


def test_a_tall_slender_digit_has_the_column_nearest_to_it() -> None:
    # 4 px wide and 40 high about (20, 24): one column, centres 4 and 12 px away in y are 0.1 and 0.3 boxes.
    labels, boxes = batch([(1, 18, 4, 4, 40)])
    owner, free, _ = grid_targets(labels, boxes, 6, 6, 8)
    assert [row.index(0) for row in owner[0].tolist() if 0 in row] == [2, 2]
    assert (owner[0, 2:4, 2] == 0).all() and free[0, 1, 2] and free[0, 4, 2]
    assert int(free.sum()) == 2


def test_the_nearest_cell_speaks_even_of_a_tiny_digit() -> None:
    # 2 px about (15, 9): 3 px from the nearest cell's centre (12, 12), one and a half boxes. In widths of two cells the
    # centres at 12 are 0.19 away and those at 20, and at 4 from above, 0.31.
    labels, boxes = batch([(1, 14, 8, 2, 2)])
    owner, free, _ = grid_targets(labels, boxes, 3, 3, 8)
    assert (owner[0] + 1).tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert free[0].int().tolist() == [[0, 1, 1], [0, 0, 1], [0, 0, 0]]


def test_nobody_owns_nothing() -> None:
    labels, boxes = batch([(7, 10, 6, 28, 28)], [])
    owner, free, _ = grid_targets(labels, boxes, 6, 6, 8)
    assert (owner[1] == NOBODY).all() and not free[1].any()


TWO = [(3, 4.0, 6.0, 28.0, 28.0), (8, 32.0, 6.0, 28.0, 28.0)]
ONE = [(5, 20.0, 10.0, 24.0, 30.0)]


def test_a_perfect_grid_costs_next_to_nothing() -> None:
    labels, boxes = batch(TWO, ONE)
    class_loss, box_loss = grid_loss(written(labels, boxes, 6, 8), labels, boxes, GRID, 1.0)
    assert class_loss.item() == pytest.approx(0, abs=1e-6)
    assert box_loss.item() == pytest.approx(0, abs=1e-6)


def test_grid_loss_by_hand() -> None:
    # Of 36 cells two own the digit, 4 are free, 30 are none. Equal logits cost log 11 a cell, the mean is over
    # owners: (2 + 30) / 2 log 11. Boxes of zeros are off by 0.5, 0 and twice log 3.5; smooth L1 takes off 0.025.
    labels, boxes = batch([(7, 10, 6, 28, 28)])
    output = torch.zeros(1, 6, 6, 11), torch.zeros(1, 6, 6, 4)
    class_loss, box_loss = grid_loss(output, labels, boxes, GRID, 2.0)
    assert class_loss.item() == pytest.approx(16 * math.log(11), rel=1e-5)
    assert box_loss.item() == pytest.approx(2 * (0.475 + 2 * (math.log(3.5) - 0.025)), rel=1e-5)


def test_padding_does_not_count() -> None:
    torch.manual_seed(1)
    labels, boxes = batch(TWO, ONE)
    wider = torch.nn.functional.pad(labels, (0, 3), value=NOBODY), torch.nn.functional.pad(boxes, (0, 0, 0, 3))
    grid = torch.randn(2, 6, 8, 11), torch.randn(2, 6, 8, 4)
    slots = torch.randn(2, 5, 11), torch.randn(2, 4)
    for output, head in ((grid, GRID), (slots, SLOTS)):
        assert loss(output, labels, boxes, head, 1.0) == loss(output, *wider, head, 1.0)


def test_an_empty_image_has_only_a_class_loss() -> None:
    labels, boxes = torch.full((1, 1), NOBODY), torch.zeros(1, 1, 4)
    for output, head in (
        ((torch.zeros(1, 6, 8, 11), torch.zeros(1, 6, 8, 4)), GRID),
        ((torch.zeros(1, 5, 11), torch.zeros(1, 4)), SLOTS),
    ):
        class_loss, box_loss = loss(output, labels, boxes, head, 1.0)
        assert class_loss.item() > 0 and box_loss.item() == 0


def test_slots_loss_by_hand() -> None:
    labels, boxes = batch(TWO, ONE)
    logits = torch.full((2, 5, 11), -30.0)
    for image, classes in enumerate(([3, 8, 10, 10, 10], [5, 10, 10, 10, 10])):
        logits[image, range(5), classes] = 30.0
    # TWO span 4..60 and 6..34: centre (32, 20), 28 high, 56 wide. ONE: centre (32, 25), 30 high, 24 wide.
    place = torch.tensor([[32.0, 20, 28, 56], [32, 25, 30, 24]])
    class_loss, box_loss = slots_loss((logits, place), labels, boxes, SLOTS, 1.0)
    assert class_loss.item() == pytest.approx(0, abs=1e-6) and box_loss.item() == 0
    # One centre 16.5 px off: beyond 1 px it costs the way less half a pixel, 16 px or one stride; half a batch.
    place[0, 0] += 16.5
    _, box_loss = slots_loss((logits, place), labels, boxes, SLOTS, 3.0)
    assert box_loss.item() == pytest.approx(3 * 1 / 2)
    # Equal logits cost log 11 a position.
    class_loss, _ = slots_loss((torch.zeros(2, 5, 11), place), labels, boxes, SLOTS, 1.0)
    assert class_loss.item() == pytest.approx(math.log(11))


def test_the_seed_s_losses_by_hand() -> None:
    # TWO's box is (32, 20, 28, 56), ONE's (32, 25, 30, 24). The first is off by 3, 4, 0 and 12, together 169 px².
    labels, boxes = batch(TWO, ONE)
    place = torch.tensor([[35.0, 24, 28, 44], [32, 25, 30, 24]])
    output = torch.zeros(2, 5, 11), place
    equal = math.log(11)
    config = LossConfig(class_weight=1000, box="mean_square")
    class_loss, box_loss = loss(output, labels, boxes, SLOTS, 1.0, config)
    assert class_loss.item() == pytest.approx(1000 * equal)
    assert box_loss.item() == pytest.approx(169 / 4 / 2)
    _, box_loss = loss(output, labels, boxes, SLOTS, 0.5, LossConfig(box="sum_square"))
    assert box_loss.item() == pytest.approx(0.5 * 169 / 2)
    # Seven of the ten positions are empty.
    class_loss, _ = loss(output, labels, boxes, SLOTS, 1.0, LossConfig(none_weight=0.125))
    assert class_loss.item() == pytest.approx((3 + 7 * 0.125) / 10 * equal)


def test_of_a_number_longer_than_the_positions_the_first_digits_are_learned() -> None:
    labels, boxes = batch([(digit, 10.0 * digit, 0, 10, 20) for digit in range(1, 8)])
    logits = torch.full((1, 5, 11), -30.0)
    logits[0, range(5), range(1, 6)] = 30.0
    # The box is that of all seven: 10..80 by 0..20.
    class_loss, box_loss = slots_loss((logits, torch.tensor([[45.0, 10, 20, 70]])), labels, boxes, SLOTS, 1.0)
    assert class_loss.item() == pytest.approx(0, abs=1e-6) and box_loss.item() == 0


def test_l2_by_hand() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.Linear(2, 2), torch.nn.Conv2d(2, 1, 1))
    for value, parameter in enumerate(network.parameters()):
        torch.nn.init.constant_(parameter, value)
    # Weights and biases in turn: the convolutions' weights are two zeros and two fours.
    found = l2_loss(network)
    assert found.item() == (4**2 + 4**2) / 2
    found.backward()
    assert network[2].weight.grad is not None and network[2].weight.grad.flatten().tolist() == [4, 4]
    assert network[1].weight.grad is None and network[2].bias.grad is None  # type: ignore[union-attr]


def test_a_teacher_s_share_by_hand() -> None:
    # One cell, no digit there. Answers: none 1/2, a 3 with 3/10, the other nine share 2/10; the teacher's: 1/5 and 4/5.
    logits = torch.full((1, 1, 1, 11), math.log(0.2 / 9))
    logits[..., 10], logits[..., 3] = math.log(0.5), math.log(0.3)
    taught = torch.zeros(1, 1, 1, 11)
    taught[..., 10], taught[..., 3] = 0.2, 0.8
    output = logits, torch.zeros(1, 1, 1, 4)
    class_loss, box_loss = loss(output, *batch([(NOBODY, 0, 0, 0, 0)]), GRID, 1.0, taught=taught)
    theirs = -0.2 * math.log(0.5) - 0.8 * math.log(0.3)
    assert class_loss.item() == pytest.approx((math.log(2) + theirs) / 2)
    assert box_loss.item() == 0


def test_a_teacher_who_says_the_truth_changes_nothing_but_where_it_is_free() -> None:
    labels, boxes = batch([(7, 10, 6, 28, 28)])
    logits, places = torch.randn(1, 6, 6, 11), torch.zeros(1, 6, 6, 4)
    owner, free, _ = grid_targets(labels, boxes, 6, 6, 8)
    truth = torch.where(owner == NOBODY, 10, 7)
    taught = torch.nn.functional.one_hot(truth, 11).float()
    (alone, _), (both, _) = (grid_loss((logits, places), labels, boxes, GRID, 1.0, t) for t in (None, taught))
    # There, of the cells that may speak or not, the teacher alone has a say.
    entropy = -logits.log_softmax(-1).gather(-1, truth[..., None])[..., 0]
    more = entropy[free].sum() / (owner != NOBODY).sum()
    assert free.any() and both.item() == pytest.approx((alone + more / 2).item())


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=5),
    st.floats(20, 40),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_targets_decode_to_what_they_were_made_of(digits: list[int], side: float, across: float, down: float) -> None:
    x, y = across * (256 - side * len(digits)), down * (128 - side)
    labels, boxes = batch([(digit, x + i * side, y, side, side) for i, digit in enumerate(digits)])
    logits, places = written(labels, boxes, 16, 32)
    (line,) = decode(logits[0].numpy(), places[0].numpy(), GRID, Thresholds())
    assert line.number == "".join(map(str, digits))
    assert np.stack([digit.box_xywh for digit in line.digits]) == pytest.approx(boxes[0].numpy(), abs=1e-3)
