import numpy as np
import pytest

from digitcam.core.metrics import localisation_errors, matching_characters, measure


@pytest.mark.parametrize(
    ("number", "truth", "expected"),
    [("123", "123", 5), ("12", "123", 4), ("124", "123", 4), ("", "12345", 0), ("", "", 5), ("1234567", "12345", 3)],
)
def test_characters_of_five_positions(number: str, truth: str, expected: int) -> None:
    assert matching_characters(number, truth, 5) == expected


def test_localisation_error_by_hand() -> None:
    # Moved by 3 px in x: centre x differs by 3, all else by 0: 9 / 4.
    # Wider by 4 px at the right: centre x by 2, width by 4: (4 + 16) / 4.
    found = localisation_errors(np.float32([[3, 0, 10, 10], [0, 0, 14, 10]]), np.float32([[0, 0, 10, 10]] * 2))
    assert found.tolist() == [2.25, 5.0]


def test_measure_by_hand() -> None:
    box = np.float32([[0, 0, 10, 10]] * 4)
    read = box.copy()
    read[3] = 0  # nothing read: centre, height and width are off by 5, 5, 10 and 10
    found = measure(["12", "7", "123", ""], read, ["12", "8", "124", "99"], box)
    assert found.images == 4
    assert found.sequence_accuracy == 0.25
    # 3 positions an image: 3 + 2 + 2 + 1 of 12 agree.
    assert found.character_accuracy == pytest.approx(8 / 12)
    assert found.localisation_error_px2 == pytest.approx((25 + 25 + 100 + 100) / 4 / 4)
    assert found.iou == pytest.approx(0.75)
    assert found.sequence_by_length == {"1": 0.0, "2": 0.5, "3": 0.0}


def test_measuring_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        measure([], np.zeros((0, 4)), [], np.zeros((0, 4)))


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="as many"):
        measure(["1"], np.zeros((1, 4)), ["1", "2"], np.zeros((2, 4)))
