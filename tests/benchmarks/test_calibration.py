import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digitcam.benchmarks.calibration import calibration
from digitcam.benchmarks.results import Bin

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


@settings(deadline=None)
@given(READINGS)
def test_calibration_counts_every_reading(readings: list[tuple[float, bool]]) -> None:
    sure, right = zip(*readings, strict=True)
    found = calibration(np.array(sure), list(right))
    assert 0 <= found.error <= 1
    assert sum(one.readings for one in found.curve) == len(readings)
    assert sum(one.readings * one.accuracy for one in found.curve) == pytest.approx(sum(right))
