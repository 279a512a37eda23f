import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digitcam.core.card import GridHead, SlotsHead, Thresholds
from digitcam.core.decode import Digit, Line, cell_box, decode, decode_grid, decode_slots, group, softmax

HEAD, ROWS, COLUMNS = GridHead(stride=8), 16, 32
SURE = 20.0


def empty_grid() -> tuple[np.ndarray, np.ndarray]:
    logits = np.zeros((ROWS, COLUMNS, 11), np.float32)
    logits[..., 10] = SURE
    return logits, np.zeros((ROWS, COLUMNS, 4), np.float32)


def put(grid: tuple[np.ndarray, np.ndarray], digit: int, box: list[float], row: int, column: int) -> None:
    """Let one cell speak of a digit, with the box written as `cell_box` reads it."""
    x, y, width, height = box
    grid[0][row, column] = 0
    grid[0][row, column, digit] = SURE
    grid[1][row, column] = [
        (x + width / 2) / 8 - column - 0.5,
        (y + height / 2) / 8 - row - 0.5,
        np.log(width / 8),
        np.log(height / 8),
    ]


def numbers_of(grid: tuple[np.ndarray, np.ndarray]) -> list[str]:
    return [line.number for line in decode(*grid, HEAD, Thresholds())]


def test_softmax_by_hand() -> None:
    np.testing.assert_allclose(softmax(np.log([[1.0, 3.0]])), [[0.25, 0.75]])


def test_a_cells_box_by_hand() -> None:
    # The cell's centre is (20, 12); the digit's (24, 10); its size 16x24.
    assert cell_box([0.5, -0.25, np.log(2), np.log(3)], 1, 2, 8) == pytest.approx((16, -2, 16, 24))
    # Sizes have bounds: e^6 and e^-4 strides.
    assert cell_box([0, 0, 99, -99], 0, 0, 8)[2:] == pytest.approx((8 * np.exp(6), 8 * np.exp(-4)))


def test_nothing_gives_nothing() -> None:
    assert numbers_of(empty_grid()) == []


def test_cells_on_one_digit_vote() -> None:
    grid = empty_grid()
    box = [40.0, 40.0, 28.0, 28.0]
    for row, column, digit in [(6, 6, 3), (6, 7, 3), (7, 6, 5)]:
        put(grid, digit, box, row, column)
    (digit,) = decode_grid(*grid, HEAD, Thresholds())
    assert digit.value == "3"
    assert digit.confidence == pytest.approx(2 / 3, abs=1e-3)
    np.testing.assert_allclose(digit.box_xywh, box, atol=1e-3)


def test_unsure_cells_at_the_edge_do_not_lower_the_confidence() -> None:
    grid = empty_grid()
    box = [40.0, 40.0, 28.0, 28.0]
    put(grid, 3, box, 6, 6)
    put(grid, 3, box, 6, 7)
    # The one is sure to 0.9 that there is a digit, the other to 0.6; of their votes 3 has 0.88 of 0.9 and 0.6 of 0.6,
    # weighted 3 : 2, that is 0.768 of 0.78.
    grid[0][6, 6] = np.log([0.02, 1e-9, 1e-9, 0.88] + [1e-9] * 6 + [0.1])
    grid[0][6, 7] = np.log([1e-9] * 3 + [0.6] + [1e-9] * 6 + [0.4])
    (digit,) = decode_grid(*grid, HEAD, Thresholds())
    assert digit.value == "3"
    assert digit.confidence == pytest.approx(0.9 * 0.768 / 0.78, abs=1e-6)


def test_the_threshold_counts() -> None:
    grid = empty_grid()
    put(grid, 4, [40, 40, 28, 28], 6, 6)
    grid[0][6, 6] = np.log([0.001] * 4 + [0.391] + [0.001] * 5 + [0.6])
    assert decode_grid(*grid, HEAD, Thresholds(digit=0.5)) == []
    assert [d.value for d in decode_grid(*grid, HEAD, Thresholds(digit=0.3))] == ["4"]


@settings(max_examples=60, deadline=None)
@given(
    st.text("0123456789", min_size=1, max_size=5),
    st.integers(20, 40),
    st.integers(0, 128 - 40),
    st.integers(0, 256 - 5 * 40),
)
def test_a_drawn_number_is_read_back(number: str, side: int, y: int, x: int) -> None:
    grid = empty_grid()
    for i, character in enumerate(number):
        left = x + i * side
        put(grid, int(character), [left, y, side, side], int((y + side / 2) / 8), int((left + side / 2) / 8))
    (line,) = decode(*grid, HEAD, Thresholds())
    assert line.number == number
    assert line.confidence == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(line.box_xywh, [x, y, side * len(number), side], atol=0.01)


def digit(value: str, x: float, y: float, size: float = 20, confidence: float = 1.0) -> Digit:
    return Digit(value, confidence, (x, y, size, size))


def test_two_lines_and_two_columns_are_four_numbers_longest_first() -> None:
    digits = [digit("1", 0, 0), digit("2", 20, 2), digit("3", 40, 0), digit("4", 0, 40), digit("5", 20, 40)]
    digits += [digit("6", 120, 0), digit("7", 0, 80, size=60)]
    assert [line.number for line in group(digits)] == ["123", "45", "7", "6"]


def test_digits_come_from_left_to_right() -> None:
    assert [line.number for line in group([digit("2", 20, 0), digit("1", 0, 0)])] == ["12"]


def test_windows_wide_apart_and_turned_are_one_number() -> None:
    # 20 px high, 1.4 heights between two, so 48 px from centre to centre; at 15° that is 12.9 px up or down.
    assert [line.number for line in group([digit("1", 0, 0), digit("2", 48, 12.9), digit("3", 96, 25.8)])] == ["123"]
    # 1.6 heights are too far, and beside each other (0.3 of 20 and of 24 px) 13.3 px are too much.
    assert len(group([digit("1", 0, 0), digit("2", 52, 0)])) == 2
    assert len(group([digit("1", 0, 0), digit("2", 24, 13.3)])) == 2


def test_a_lines_confidence_is_the_product() -> None:
    (line,) = group([digit("1", 0, 0, confidence=0.5), digit("2", 20, 0, confidence=0.8)])
    assert line.confidence == pytest.approx(0.4)


def test_a_lines_box_holds_its_digits() -> None:
    assert Line((digit("1", 10, 20, 5), digit("2", 30, 10, 4))).box_xywh == (10, 10, 24, 15)
    assert Line(()).box_xywh == (0, 0, 0, 0)


def test_slots_by_hand() -> None:
    logits = np.zeros((5, 11), np.float32)
    for position, best in enumerate([0, 7, 10, 10, 10]):
        logits[position, best] = SURE
    (line,) = decode_slots(logits, np.float32([100, 50, 28, 56]), SlotsHead(positions=5))
    assert line.number == "07"
    assert line.digits[1].box_xywh == (100, 36, 28, 28)
    assert line.box_xywh == (72, 36, 56, 28)


def test_slots_without_a_digit() -> None:
    logits = np.zeros((5, 11), np.float32)
    logits[:, 10] = SURE
    assert decode(logits, np.zeros(4, np.float32), SlotsHead(positions=5), Thresholds()) == []


def test_full_slots() -> None:
    logits = np.zeros((2, 11), np.float32)
    logits[:, 9] = SURE
    assert decode_slots(logits, np.float32([10, 10, 4, 8]), SlotsHead(positions=2))[0].number == "99"
