import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from digitcam.benchmarks.calibration import calibration, coverage
from digitcam.benchmarks.results import Bin, Coverage

READINGS = st.lists(st.tuples(st.integers(0, 100).map(lambda n: n / 100), st.booleans()), min_size=1, max_size=60)


def test_the_expected_calibration_error_by_hand() -> None:
    # Two bins: {0.2, 0.4} half right, off by 0.2; {0.8, 0.9, 1.0} two of three right, off by 0.9 - 2/3.
    found = calibration(np.array([0.2, 0.4, 0.8, 0.9, 1.0]), [True, False, True, False, True], bins=2)
    assert found.error == pytest.approx((2 * 0.2 + 3 * (0.9 - 2 / 3)) / 5)
    assert found.curve == [Bin(2, pytest.approx(0.3), 0.5), Bin(3, pytest.approx(0.9), pytest.approx(2 / 3))]


def test_a_bin_holds_its_upper_end_and_the_first_0() -> None:
    found = calibration(np.array([0.0, 0.1, 0.11, 1.0]), [True] * 4)
    assert [one.readings for one in found.curve] == [2, 1, 1]


def test_nothing_read_is_calibrated() -> None:
    assert calibration(np.array([]), []).error == 0
    assert coverage(np.array([]), [], 5, 0.98) == Coverage(0.98, None, 0.0)


@given(READINGS)
def test_calibration_counts_every_reading(readings: list[tuple[float, bool]]) -> None:
    sure, right = zip(*readings, strict=True)
    found = calibration(np.array(sure), list(right))
    assert 0 <= found.error <= 1
    assert sum(one.readings for one in found.curve) == len(readings)
    assert sum(one.readings * one.accuracy for one in found.curve) == pytest.approx(sum(right))


def test_coverage_by_hand() -> None:
    sure, right = np.array([0.9, 0.8, 0.7, 0.6, 0.5]), [True, True, False, True, True]
    # Of all five 4 are right, of the surest two both; ten images, on half of which nothing was read.
    assert coverage(sure, right, 10, 0.8) == Coverage(0.8, 0.5, 0.5)
    assert coverage(sure, right, 10, 0.99) == Coverage(0.99, 0.8, 0.2)
    assert coverage(sure, [False] * 5, 10, 0.5) == Coverage(0.5, None, 0.0)


def test_readings_as_sure_as_each_other_stay_together() -> None:
    assert coverage(np.array([0.9, 0.9]), [True, False], 2, 0.98) == Coverage(0.98, None, 0.0)


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
