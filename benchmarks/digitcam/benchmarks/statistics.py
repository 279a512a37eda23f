"""How sure a difference of two shares is: intervals and tests for the same images read twice, and for others."""

from __future__ import annotations

import math

Z95 = 1.959963984540054
"""Two-sided 95 % point of the normal distribution."""


def wilson(successes: int, count: int, z: float = Z95) -> tuple[float, float]:
    """Return Wilson's score interval of a share: E. B. Wilson (1927), J. Am. Stat. Assoc. 22, 209-212.

    Raises
    ------
    ValueError
        When `count` is not positive or smaller than `successes`.
    """
    if not 0 <= successes <= count or count == 0:
        raise ValueError(f"{successes} of {count} is no share")
    share, wide = successes / count, z * z / count
    middle = share + wide / 2
    half = z * math.sqrt((share * (1 - share) + wide / 4) / count)
    # What rounding leaves of 0 and 1 at the ends.
    low = 0.0 if successes == 0 else (middle - half) / (1 + wide)
    high = 1.0 if successes == count else (middle + half) / (1 + wide)
    return low, high


def paired_interval(both: int, first: int, second: int, neither: int) -> tuple[float, float]:
    """Return the 95 % interval of how much larger the first share is, the same images read by two networks.

    Method 10 ("square and add", with the corrected phi) of R. G. Newcombe (1998), Improved confidence intervals for
    the difference between binomial proportions based on paired data, Statist. Med. 17, 2635-2650.

    Parameters
    ----------
    both, first, second, neither
        Images that both read right, the first alone, the second alone, none of them.

    Raises
    ------
    ValueError
        When there are no images.
    """
    count = both + first + second + neither
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    product = float(both * neither - first * second)
    if product > 0:
        product = max(0.0, product - count / 2)
    phi = product / math.sqrt(margins) if margins else 0.0
    return _square_and_add(both + first, count, both + second, count, phi)


def independent_interval(successes: int, count: int, other_successes: int, other_count: int) -> tuple[float, float]:
    """Return the 95 % interval of how much larger the first of two shares of different images is.

    Method 10 of R. G. Newcombe (1998), Interval estimation for the difference between independent proportions,
    Statist. Med. 17, 873-890: the paired one with phi 0. Of the same images it is too wide, never too narrow, as
    long as what one network reads the other rather reads too.
    """
    return _square_and_add(successes, count, other_successes, other_count, 0.0)


def mcnemar(first: int, second: int) -> float:
    """Return McNemar's exact two-sided p-value: how likely as uneven a split is where both are equally good.

    Binomial in the discordant pairs, see Q. McNemar (1947), Psychometrika 12, 153-157.
    """
    count = first + second
    tail = sum(math.comb(count, k) for k in range(min(first, second) + 1))
    # Integers throughout: 2 to the power of thousands is no float.
    return min(1.0, 2 * tail / (1 << count))


def _square_and_add(a: int, n: int, b: int, m: int, phi: float) -> tuple[float, float]:
    (low_a, high_a), (low_b, high_b) = wilson(a, n), wilson(b, m)
    p, q = a / n, b / m
    down = _joined(p - low_a, high_b - q, phi)
    up = _joined(high_a - p, q - low_b, phi)
    return max(-1.0, p - q - down), min(1.0, p - q + up)


def _joined(one: float, other: float, phi: float) -> float:
    # Never negative but for rounding, as phi is at most 1.
    return math.sqrt(max(0.0, one * one - 2 * phi * one * other + other * other))
