"""What the last frames say: each digit's majority, and where a counter stands whose wheels turn. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def agreed(votes: Sequence[str], needed: int) -> str | None:
    """Return the number on which at least `needed` votes agree digit by digit, None while there is none.

    Only numbers of the commonest length are compared: which digit the others lack or have too many is not known.
    `needed` is more than half of the votes, so there are never two, and of a number that differs in two digits from
    another never a mixture.
    """
    if votes and votes.count(votes[-1]) == len(votes):
        # Mostly they all agree, and to count digit by digit is slow.
        return votes[-1] if votes[-1] and len(votes) >= needed else None
    length = Counter(map(len, votes)).most_common(1)[0][0] if votes else 0
    places = zip(*(vote for vote in votes if len(vote) == length), strict=True)
    winners = [Counter(place).most_common(1)[0] for place in places]
    return "".join(digit for digit, _ in winners) if winners and min(n for _, n in winners) >= needed else None


def turning(number: str) -> int:
    """Return how many of a counter's wheels, from the right, may stand between two digits when they are read so.

    The last wheel may at any time; another only while every wheel to its right passes from 9 to 0.
    """
    return min(len(number) - len(number.rstrip("90")) + 1, len(number))


def standings(number: str, sure: Sequence[bool]) -> set[str]:
    """Return where a counter may stand whose wheels are read as `number`, that number included.

    While wheels turn, each shows a digit of the number before the turn or of the one after it: between 1999 and 2000
    a frame may read 2009 or 1990. Only digits that are not `sure` (one flag a digit) are taken for another.
    """
    found = {number}
    for last in range(turning(number)):
        # This is the leftmost wheel that turns; all to its right go from 9 to 0.
        place = len(number) - 1 - last
        digit = int(number[place])
        for before in range(max(digit - 1, 0), min(digit, 8) + 1):
            low = int(f"{number[:place]}{before}{'9' * last}")
            found |= {f"{low:0{len(number)}d}", f"{low + 1:0{len(number)}d}"}
    return {other for other in found if all(a == b or not s for a, b, s in zip(other, number, sure, strict=True))}
