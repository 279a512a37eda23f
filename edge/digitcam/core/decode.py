"""Network output to digits and boxes, in input pixels: pure numpy."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from digitcam.core.arrays import FloatArray
from digitcam.core.boxes import iou, union
from digitcam.core.card import GridHead, SlotsHead, Thresholds

SAME_DIGIT_IOU = 0.2
"""Two cells whose boxes overlap at least so much speak of the same digit."""


class Digit(NamedTuple):
    """One digit: its character, the probability of that character (0..1), its box [4] in input pixels."""

    value: str
    confidence: float
    box_xywh: FloatArray


class Line(NamedTuple):
    """A number: its digits from left to right. Its confidence is the probability that all of them are right."""

    digits: tuple[Digit, ...]

    @property
    def number(self) -> str:
        """The digits as one string; leading zeros count."""
        return "".join(digit.value for digit in self.digits)

    @property
    def confidence(self) -> float:
        """Product of the digits' confidences, 0..1."""
        return math.prod(digit.confidence for digit in self.digits)

    @property
    def box_xywh(self) -> FloatArray:
        """The union of the digits' boxes [4]."""
        return union(np.array([digit.box_xywh for digit in self.digits]))


def decode(logits: FloatArray, boxes: FloatArray, head: GridHead | SlotsHead, thresholds: Thresholds) -> list[Line]:
    """Return the numbers in one image, best first; the tensors are the network's outputs without the batch axis."""
    if isinstance(head, GridHead):
        return group(decode_grid(logits, boxes, head, thresholds))
    return decode_slots(logits, boxes, head)


def softmax(logits: FloatArray) -> FloatArray:
    """Return probabilities over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: FloatArray = shifted / shifted.sum(axis=-1, keepdims=True)
    return result


@lru_cache(maxsize=8)
def cell_centres(rows: int, columns: int, stride: int) -> FloatArray:
    """Return the centres [rows, columns, 2] (x, y) of the cells in input pixels, not to be written to."""
    y, x = np.mgrid[:rows, :columns]
    centres: FloatArray = ((np.stack([x, y], axis=-1) + 0.5) * stride).astype(np.float32)
    centres.flags.writeable = False  # the next call gets the same
    return centres


def cell_boxes(raw: FloatArray, centres: FloatArray, stride: int) -> FloatArray:
    """Turn the box output [..., 4] of a grid's cells into boxes x, y, width, height in input pixels.

    The output holds, in strides, the way from the cell's centre [..., 2] to the digit's centre (x, y), and the natural
    logarithm of its width and height.
    """
    sizes = np.exp(np.minimum(np.maximum(raw[..., 2:], -4), 6)) * stride
    return np.concatenate([centres + raw[..., :2] * stride - sizes / 2, sizes], axis=-1)


def decode_grid(logits: FloatArray, boxes: FloatArray, head: GridHead, thresholds: Thresholds) -> list[Digit]:
    """Let the cells vote for digits.

    A cell is heard when its probability of being any digit reaches `thresholds.digit`. Starting from the surest,
    all cells whose boxes overlap it speak of the same digit; their probabilities and boxes are averaged, weighted
    by how sure each is. Averaging beats keeping the best cell alone, and steadies int8's coarse steps.

    A digit's confidence is the surest cell's probability of there being one, times the character's share of the
    votes: that some cells at its edge are unsure whether it is still theirs says nothing against it.

    Parameters
    ----------
    logits
        [rows, columns, classes], none last.
    boxes
        [rows, columns, 4], see `cell_boxes`.
    """
    cells = logits.reshape(-1, logits.shape[-1])
    # The softmax of every cell, by its odds against none: that spares two slow sums over the few classes. e^80 has ten
    # times its like within float32's range.
    odds = np.exp(np.minimum(cells[:, :-1] - cells[:, -1:], 80))
    total = odds @ np.ones(odds.shape[1], odds.dtype)
    sure = total / (1 + total)
    heard = np.flatnonzero(sure >= thresholds.digit)
    scores, votes = sure[heard], odds[heard] / (1 + total[heard, None])
    centres = cell_centres(*logits.shape[:2], head.stride).reshape(-1, 2)
    places = cell_boxes(boxes.reshape(-1, 4)[heard], centres[heard], head.stride)
    same = iou(places[:, None], places[None]) >= SAME_DIGIT_IOU
    # A cell speaks of its own digit even where its box is empty.
    np.fill_diagonal(same, True)
    free = np.ones(len(scores), dtype=bool)
    leaders, members = [], []
    for cell in np.argsort(-scores, kind="stable").tolist():
        if free[cell]:
            leaders.append(cell)
            members.append(same[cell] & free)
            free &= ~same[cell]
    if not leaders:
        return []
    weights = np.array(members) * scores
    weights /= weights.sum(axis=1, keepdims=True)
    votes, found = weights @ votes, weights @ places
    best = votes.argmax(axis=1)
    confidences = scores[leaders] * votes.max(axis=1) / votes.sum(axis=1)
    characters = [head.alphabet[i] for i in best.tolist()]
    return [Digit(*digit) for digit in zip(characters, confidences.tolist(), found, strict=True)]


def group(digits: list[Digit]) -> list[Line]:
    """Join digits into numbers, the surest and longest number first.

    Going from left to right, a digit continues the nearest line whose last digit is of like height (within a
    factor 1.6), stands level with it (centres within half a height) and is at most 1.2 heights away.
    """
    lines: list[list[tuple[Digit, list[float]]]] = []
    # As plain numbers, which Python counts with far faster than with numpy's.
    placed = [(digit, digit.box_xywh.tolist()) for digit in digits]
    for digit, box in sorted(placed, key=lambda one: one[1][0] + one[1][2] / 2):
        x, y, _, height = box
        best, nearest = None, math.inf
        for line in lines:
            last_x, last_y, last_width, last_height = line[-1][1]
            gap, size = x - (last_x + last_width), max(height, last_height)
            level = abs((y + height / 2) - (last_y + last_height / 2)) <= 0.5 * size
            like = size <= 1.6 * min(height, last_height)
            if level and like and gap <= 1.2 * size and gap < nearest:
                best, nearest = line, gap
        if best is None:
            lines.append([(digit, box)])
        else:
            best.append((digit, box))
    numbers = [Line(tuple(digit for digit, _ in line)) for line in lines]
    return sorted(numbers, key=lambda n: -sum(digit.confidence for digit in n.digits))


def decode_slots(logits: FloatArray, box: FloatArray, head: SlotsHead) -> list[Line]:
    """Read positions from the first to the first "none".

    Parameters
    ----------
    logits
        [positions, classes], none last.
    box
        [4]: centre x, centre y, height, width in input pixels (the seed's form). The digits share it evenly.
    """
    probabilities = softmax(logits)
    none = len(head.alphabet)
    best = probabilities.argmax(axis=-1)
    length = int(np.argmax(best == none)) if (best == none).any() else len(best)
    if length == 0:
        return []
    x, y, height, width = box
    step = width / length
    digits = [
        Digit(
            head.alphabet[best[i]],
            float(probabilities[i, best[i]]),
            np.array([x - width / 2 + i * step, y - height / 2, step, height], dtype=np.float32),
        )
        for i in range(length)
    ]
    return [Line(tuple(digits))]
