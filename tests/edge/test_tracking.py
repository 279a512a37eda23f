from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digitcam.edge.config import Tracking
from digitcam.edge.tracking import Tracker

RULES = st.integers(1, 9).flatmap(lambda w: st.builds(Tracking, st.just(w), st.integers(w // 2 + 1, w)))
NUMBERS = st.lists(st.sampled_from(["0", "00", "17", "71"]), max_size=40)


def stables(rule: Tracking, numbers: list[str]) -> list[str | None]:
    tracker, found = Tracker(rule), []
    for number in numbers:
        tracker = tracker.after(number)
        found.append(tracker.stable)
    return found


@pytest.mark.parametrize(
    ("window", "needed", "numbers", "expected"),
    [
        (1, 1, ["1", "2"], ["1", "2"]),
        (3, 2, ["1", "2", "1", "2", "2"], [None, None, "1", "2", "2"]),
        (3, 3, ["7", "7", "7", "8", "8", "8"], [None, None, "7", "7", "7", "8"]),
        # One misreading among many changes nothing; leading zeros count.
        (5, 3, ["07", "07", "07", "7", "07"], [None, None, "07", "07", "07"]),
        # The three that agreed have left the window: what they agreed on still stands.
        (3, 3, ["5", "5", "5", "1", "2", "3"], [None, None, "5", "5", "5", "5"]),
    ],
)
def test_by_hand(window: int, needed: int, numbers: list[str], expected: list[str | None]) -> None:
    assert stables(Tracking(window, needed), numbers) == expected


@given(RULES, NUMBERS)
def test_stable_is_what_enough_agree_on_else_what_it_was(rule: Tracking, numbers: list[str]) -> None:
    before: str | None = None
    for end, stable in enumerate(stables(rule, numbers), start=1):
        last = numbers[:end][-rule.window :]
        agreed = {number for number in last if last.count(number) >= rule.needed}
        assert len(agreed) <= 1
        assert stable == (agreed.pop() if agreed else before)
        before = stable


@given(RULES, NUMBERS)
def test_fewer_than_needed_never_move_it(rule: Tracking, numbers: list[str]) -> None:
    settled = ["17"] * rule.needed
    assert stables(rule, [*settled, *["9"] * (rule.needed - 1)])[-1] == "17"
    assert stables(rule, [*numbers, *settled])[-1] == "17"


@given(RULES, NUMBERS)
def test_memory_is_bounded(rule: Tracking, numbers: list[str]) -> None:
    tracker = Tracker(rule)
    for number in numbers:
        tracker = tracker.after(number)
    assert tracker.recent == tuple(numbers[-rule.window :])


def test_a_step_leaves_the_tracker_it_came_from() -> None:
    first = Tracker(Tracking(1, 1)).after("4")
    assert first.after("5").stable == "5"
    assert first.stable == "4"


@pytest.mark.parametrize(("window", "needed"), [(0, 0), (2, 1), (4, 2), (3, 4), (5, -1)])
def test_a_rule_two_numbers_could_meet_is_refused(window: int, needed: int) -> None:
    with pytest.raises(ValueError, match="more than half of window"):
        Tracking(window, needed)
