import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from digitcam.benchmarks.statistics import independent_interval, mcnemar, paired_interval, wilson

COUNT = st.integers(0, 10_000)


def test_wilson_by_hand() -> None:
    # 5 of 10: the middle stays, half of the width is z * sqrt(0.025 + z²/400) / (1 + z²/10).
    z = 1.959964
    half = z * math.sqrt(0.025 + z * z / 400) / (1 + z * z / 10)
    assert wilson(5, 10) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-6)
    # None of 10: up to z² / (10 + z²).
    assert wilson(0, 10) == pytest.approx((0, 0.27753), abs=1e-5)
    assert wilson(10, 10) == pytest.approx((0.72247, 1), abs=1e-5)


@pytest.mark.parametrize(
    ("table", "interval"),
    [
        # Airway hyper-responsiveness, in M. Fagerland, S. Lydersen and P. Laake (2017), Statistical Analysis of
        # Contingency Tables, chapter 8.
        ((1, 1, 7, 12), (-0.507, -0.026)),
        # Complete response to consolidation therapy, ibid.
        ((59, 6, 16, 80), (-0.1186, -0.0046)),
    ],
)
def test_published_paired_intervals(table: tuple[int, int, int, int], interval: tuple[float, float]) -> None:
    assert paired_interval(*table) == pytest.approx(interval, abs=6e-4 if interval[0] < -0.5 else 6e-5)


def test_a_published_independent_interval() -> None:
    # 56 of 70 and 48 of 80, in Newcombe (1998), Statist. Med. 17, 873-890, table II.
    assert independent_interval(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_mcnemar_by_hand() -> None:
    # Of 8 pairs at most one on a side: 2 * (1 + 8) / 256.
    assert mcnemar(1, 7) == pytest.approx(18 / 256)
    assert mcnemar(0, 0) == mcnemar(3, 3) == 1
    assert mcnemar(0, 3_000) == 0 or mcnemar(0, 3_000) < 1e-300


@given(COUNT, COUNT, COUNT, COUNT)
def test_a_paired_interval_holds_the_difference_and_turns_with_the_networks(a: int, b: int, c: int, d: int) -> None:
    assume(a + b + c + d > 0)
    low, high = paired_interval(a, b, c, d)
    assert -1 <= low <= high <= 1
    assert low - 1e-12 <= (b - c) / (a + b + c + d) <= high + 1e-12
    assert paired_interval(a, c, b, d) == pytest.approx((-high, -low))
    assert 0 <= mcnemar(b % 50, c % 50) == mcnemar(c % 50, b % 50) <= 1


@given(COUNT, COUNT)
def test_images_that_agree_make_it_surer(both: int, first: int) -> None:
    assume(both + first > 0)
    low, high = paired_interval(both, first, 0, 0)
    more_low, more_high = paired_interval(10 * both, 10 * first, 0, 0)
    assert more_high - more_low < high - low


def test_no_images_are_no_share() -> None:
    with pytest.raises(ValueError, match="no share"):
        paired_interval(0, 0, 0, 0)
