"""Network output to digits and boxes, in input pixels.

Right after the network, whose weights and maps fill the processor's caches, each numpy call takes many times what it
takes in a loop of its own. So few of them look for the cells that matter, and those are counted with as plain numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from digitcam.core.arrays import FloatArray
from digitcam.core.boxes import BoxXYWH
from digitcam.core.card import GridHead, SlotsHead, Thresholds

SAME_DIGIT_IOU = 0.25
"""Two cells whose boxes overlap at least so much speak of the same digit."""


class Digit(NamedTuple):
    """One digit: its character, the probability of that character (0..1), its box in input pixels."""

    value: str
    confidence: float
    box_xywh: BoxXYWH


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
    def box_xywh(self) -> BoxXYWH:
        """The smallest box that holds all digits'; zeros without a digit."""
        if not self.digits:
            return 0.0, 0.0, 0.0, 0.0
        left, top, width, height = self.digits[0].box_xywh
        right, bottom = left + width, top + height
        for _, _, (x, y, width, height) in self.digits[1:]:
            # Not by min and max, see `_gathered`.
            left, top = x if x < left else left, y if y < top else top
            right = x + width if x + width > right else right
            bottom = y + height if y + height > bottom else bottom
        return left, top, right - left, bottom - top

    def mapped(self, to: Callable[[BoxXYWH], BoxXYWH]) -> Line:
        """Return the line with its digits' boxes mapped."""
        return Line(tuple(digit._replace(box_xywh=to(digit.box_xywh)) for digit in self.digits))


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


def cell_box(raw: Sequence[float], row: int, column: int, stride: int) -> BoxXYWH:
    """Turn the box output of a grid's cell into a box in input pixels.

    The output holds, in strides, the way from the cell's centre to the digit's (x, y), and the natural logarithm of its
    width and height.
    """
    x, y, log_width, log_height = raw
    # Not by min and max: calls take longer than comparing.
    width = math.exp(-4 if log_width < -4 else 6 if log_width > 6 else log_width) * stride
    height = math.exp(-4 if log_height < -4 else 6 if log_height > 6 else log_height) * stride
    return (column + 0.5 + x) * stride - width / 2, (row + 0.5 + y) * stride - height / 2, width, height


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
        [rows, columns, 4], see `cell_box`.
    """
    columns, classes = logits.shape[1:]
    flat = logits.reshape(-1, classes)
    places = _likely(flat, thresholds.digit)
    found = flat.take(places, axis=0)
    # The softmax by the odds against none. e^80 has ten times its like within float32's range.
    odds = np.exp(np.minimum(found[:, :-1] - found[:, -1:], 80))
    total = np.add.reduce(odds, axis=1)
    raws = boxes.reshape(-1, 4).take(places, axis=0)
    columns_of = (places, total / (1 + total), raws)
    cells = [
        (sure, *cell_box(raw, place // columns, place % columns, head.stride), index)
        for index, (place, sure, raw) in enumerate(zip(*(column.tolist() for column in columns_of), strict=True))
        if sure >= thresholds.digit
    ]
    # Of cells as sure as each other the first stays first.
    cells.sort(key=itemgetter(0), reverse=True)
    gathered = []
    while cells:
        digit, cells = _gathered(cells)
        gathered.append(digit)
    # Each cell's probabilities, weighted by how sure it is: of every digit the row of those that speak of it.
    speaks = np.zeros((len(gathered), len(odds)), odds.dtype)
    for row, (_, _, members) in enumerate(gathered):
        for sure, index in members:
            speaks[row, index] = sure
    votes = (speaks / (1 + total) @ odds).tolist()
    return [_voted(sure, box, their, head.alphabet) for (sure, box, _), their in zip(gathered, votes, strict=True)]


Cell = tuple[float, float, float, float, float, int]
"""A cell that is heard: its probability of being any digit, its box x, y, width, height, and where its odds stand."""

Gathered = tuple[float, BoxXYWH, list[tuple[float, int]]]
"""Cells that speak of one digit: the probability of the surest, their box, and of each cell its own and its place."""


def _likely(logits: FloatArray, threshold: float) -> npt.NDArray[np.intp]:
    """Return which cells of logits [cells, classes] may reach the threshold, and some that just do not."""
    # One whose likeliest digit stays more than this below none, in logits, cannot.
    odds = threshold / (1 - threshold + 1e-6) / (logits.shape[1] - 1)
    least = math.log(odds) - 1e-3 if odds else -math.inf
    # To turn the array round costs less than to take the maxima of many short rows.
    by_class = np.ascontiguousarray(logits.T)
    places: npt.NDArray[np.intp] = (np.maximum.reduce(by_class[:-1]) - by_class[-1] >= least).nonzero()[0]
    return places


def _gathered(cells: list[Cell]) -> tuple[Gathered, list[Cell]]:
    """Return the first of the cells with those that speak of the same digit, and the others."""
    first, x, y, width, height, index = cells[0]
    right, bottom, area = x + width, y + height, width * height
    weight, all_x, all_y, all_width, all_height = first, first * x, first * y, first * width, first * height
    members, others = [(first, index)], []
    for cell in cells[1:]:
        sure, left, top, wide, high, index = cell
        end, low = left + wide, top + high
        # Most are beside it: they are told first.
        if left < right and x < end and top < bottom and y < low:
            # Not by min and max: calls take longer than comparing.
            across = (end if end < right else right) - (left if left > x else x)
            shared = across * ((low if low < bottom else bottom) - (top if top > y else y))
            if shared >= SAME_DIGIT_IOU * (area + wide * high - shared):
                weight += sure
                all_x += sure * left
                all_y += sure * top
                all_width += sure * wide
                all_height += sure * high
                members.append((sure, index))
                continue
        others.append(cell)
    return (first, (all_x / weight, all_y / weight, all_width / weight, all_height / weight), members), others


def _voted(sure: float, box: BoxXYWH, votes: list[float], alphabet: str) -> Digit:
    best = max(votes)
    # There are no votes at all only where the threshold is 0.
    return Digit(alphabet[votes.index(best)], sure * best / (sum(votes) or 1.0), box)


def group(digits: list[Digit]) -> list[Line]:
    """Join digits into numbers, the surest and longest number first.

    Going from left to right, a digit continues the nearest line whose last digit is of like height (within a
    factor 1.6), is at most 1.5 heights away, and stands level with it: higher or lower by at most 0.3 of the height and
    of the way between their centres, as a number may be turned by 15°.
    """
    lines: list[list[Digit]] = []
    for digit in sorted(digits, key=lambda one: one.box_xywh[0] + one.box_xywh[2] / 2):
        x, y, width, height = digit.box_xywh
        best, nearest = None, math.inf
        for line in lines:
            last_x, last_y, last_width, last_height = line[-1].box_xywh
            gap, size = x - (last_x + last_width), max(height, last_height)
            way = (x + width / 2) - (last_x + last_width / 2)
            level = abs((y + height / 2) - (last_y + last_height / 2)) <= 0.3 * (size + way)
            like = size <= 1.6 * min(height, last_height)
            if level and like and gap <= 1.5 * size and gap < nearest:
                best, nearest = line, gap
        if best is None:
            lines.append([digit])
        else:
            best.append(digit)
    numbers = [Line(tuple(line)) for line in lines]
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
    x, y, height, width = box.tolist()
    step = width / length
    digits = [
        Digit(
            head.alphabet[best[i]],
            float(probabilities[i, best[i]]),
            (x - width / 2 + i * step, y - height / 2, step, height),
        )
        for i in range(length)
    ]
    return [Line(tuple(digits))]
