import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digitcam.core.measure import coverage, localisation_errors, matching_characters, measure
from digitcam.core.metrics import Coverage


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


def test_images_without_a_number() -> None:
    box, nothing = [0, 0, 10, 10], [0, 0, 0, 0]
    # Right to read nothing; a phantom; a miss (see above: 250 / 4 px²); a number read where it is.
    read = np.float32([nothing, [3, 0, 50, 50], nothing, box])
    found = measure(["", "4", "", "12"], read, ["", "", "12", "12"], np.float32([nothing, nothing, box, box]))
    assert found.sequence_accuracy == 0.5
    # 2 positions an image: 2 + 1 + 0 + 2 of 8 agree.
    assert found.character_accuracy == pytest.approx(5 / 8)
    assert found.localisation_error_px2 == pytest.approx(250 / 4 / 2)
    assert found.iou == 0.5
    assert found.sequence_by_length == {"0": 0.5, "2": 0.5}


def test_a_set_without_any_number_has_nothing_to_locate() -> None:
    found = measure(["", "4"], np.float32([[0] * 4, [3, 0, 50, 50]]), ["", ""], np.zeros((2, 4)))
    assert (found.sequence_accuracy, found.localisation_error_px2, found.iou) == (0.5, 0.0, 1.0)


READINGS = st.lists(st.tuples(st.integers(0, 100).map(lambda n: n / 100), st.booleans()), min_size=1, max_size=60)


def test_coverage_by_hand() -> None:
    sure, right = np.array([0.9, 0.8, 0.7, 0.6, 0.5]), [True, True, False, True, True]
    # Of all five 4 are right, of the surest two both; ten images, on half of which nothing was read.
    assert coverage(sure, right, 10, 0.8) == Coverage(0.8, 0.5, 0.5)
    assert coverage(sure, right, 10, 0.99) == Coverage(0.99, 0.8, 0.2)
    assert coverage(sure, [False] * 5, 10, 0.5) == Coverage(0.5, None, 0.0)


def test_where_nothing_is_read_nothing_is_covered() -> None:
    assert coverage(np.array([]), [], 5, 0.98) == Coverage(0.98, None, 0.0)


def test_readings_as_sure_as_each_other_stay_together() -> None:
    assert coverage(np.array([0.9, 0.9]), [True, False], 2, 0.98) == Coverage(0.98, None, 0.0)


@settings(deadline=None)
@given(READINGS, st.sampled_from([0.5, 0.9, 0.98, 0.99]))
def test_the_threshold_gives_what_is_told(readings: list[tuple[float, bool]], target: float) -> None:
    sure, right = (np.array(values) for values in zip(*readings, strict=True))
    found = coverage(sure, right.tolist(), len(sure), target)
    if found.threshold is None:
        assert found.share == 0
        return
    accepted = sure >= found.threshold
    assert accepted.mean() == pytest.approx(found.share)
    assert right[accepted].mean() >= target - 1e-9
    # No lower threshold does.
    for lower in set(sure[sure < found.threshold].tolist()):
        assert right[sure >= lower].mean() < target
