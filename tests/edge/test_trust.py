from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import pytest
import readings
from hypothesis import given, settings
from hypothesis import strategies as st

from digitcam.core.reading import Reading
from digitcam.edge.config import Rules
from digitcam.edge.trust import HISTORY, Trust
from digitcam.edge.voting import agreed, standings, turning

START = datetime(2026, 3, 1, 22, 0, tzinfo=timezone.utc)
few = settings(max_examples=60, deadline=None)
METER = Rules(digits=6, decimals=1, pattern=r"\d{5}\.\d", rising=True, wheels=True, per_minute=0.5)


def reading(number: str, at_s: float = 0, confidences: Sequence[float] | None = None) -> Reading:
    return readings.reading(number, confidences, ts=START + timedelta(seconds=at_s))


def feed(trust: Trust, numbers: Sequence[str], start_s: float = 0, step_s: float = 1) -> Trust:
    for i, number in enumerate(numbers):
        trust, _ = trust.after([reading(number, start_s + i * step_s)])
    return trust


def replay(rules: Rules, lines: str) -> Trust:
    """Feed recorded frames and check each line's expectations.

    s: seconds; n: number read; c: its digits' confidences, 9 for 0.95, 8 for 0.85; x: so many such frames, d seconds
    apart; then, after the last of them, is: the number trusted; why: the reason its reading is not accepted for, "" if
    it is.
    """
    trust = Trust(rules)
    for text in lines.split("\n"):
        if not text.strip():
            continue
        line = json.loads(text)
        confidences = [int(c) / 10 + 0.05 for c in line["c"]] if "c" in line else None
        for i in range(line.get("x", 1)):
            at_s = line["s"] + i * line.get("d", 10)
            trust, (judged,) = trust.after([reading(line["n"], at_s, confidences)])
        assert (trust.number, judged.reason) == (line["is"], line["why"]), text
        assert judged.accepted == (not judged.reason)
    return trust


def kinds(trust: Trust) -> list[str]:
    return [event.kind for event in trust.history]


# Voting


@pytest.mark.parametrize(
    ("votes", "needed", "number"),
    [
        ([], 1, None),
        (["7"], 1, "7"),
        (["1", "2"], 2, None),
        # Each digit has its own majority; no frame need be right as a whole.
        (["174", "274", "184", "175", "174"], 3, "174"),
        (["794", "184", "195"], 2, "194"),
        # Of another length: not compared, and so not counted.
        (["07", "7", "07", "07", "7"], 3, "07"),
        (["07", "7", "07", "17", "7"], 3, None),
    ],
)
def test_agreed_by_hand(votes: list[str], needed: int, number: str | None) -> None:
    assert agreed(votes, needed) == number


@few
@given(st.data(), st.integers(1, 9))
def test_noise_below_half_never_matters_in_whichever_order(data: st.DataObject, window: int) -> None:
    needed = window // 2 + 1
    true = data.draw(st.text("0123456789", min_size=1, max_size=6))
    noise = data.draw(st.lists(st.text("0123456789", min_size=1, max_size=7), max_size=window - needed))
    votes = data.draw(st.permutations([*noise, *[true] * (window - len(noise))]))
    assert agreed(votes, needed) == true
    rules = Rules(window=window, needed=needed)
    assert feed(Trust(rules), votes).number == true


# Wheels


@pytest.mark.parametrize(("number", "wheels"), [("1234", 1), ("1239", 2), ("1290", 3), ("2009", 4), ("9000", 4)])
def test_a_wheel_may_turn_while_all_to_its_right_pass_from_9_to_0(number: str, wheels: int) -> None:
    assert turning(number) == wheels


@pytest.mark.parametrize(
    ("number", "sure", "expected"),
    [
        ("1234", "1111", {"1234"}),
        ("1234", "1110", {"1233", "1234", "1235"}),
        # Only the last wheel may turn here, however unsure the others.
        ("1234", "0001", {"1234"}),
        # The last passes from 9 to 0; the tens read 3 before or after the turn.
        ("1239", "1101", {"1239", "1229"}),
        ("1230", "1101", {"1230", "1240"}),
        ("1239", "1110", {"1238", "1239", "1230"}),
        # Between 1999 and 2000.
        ("2009", "0000", {"2009", "2008", "2010", "2099", "2100", "1999", "2000", "2999", "3000"}),
        ("2009", "1110", {"2008", "2009", "2000"}),
        ("0", "0", {"0", "1"}),
        ("9", "0", {"8", "9"}),
    ],
)
def test_standings_by_hand(number: str, sure: str, expected: set[str]) -> None:
    assert standings(number, [flag == "1" for flag in sure]) == expected


@few
@given(st.integers(0, 99998), st.data())
def test_each_mixture_of_before_and_after_may_stand_for_both(before: int, data: st.DataObject) -> None:
    low, high = f"{before:05d}", f"{before + 1:05d}"
    mixed = "".join(data.draw(st.sampled_from(pair)) for pair in zip(low, high, strict=True))
    assert {low, high, mixed} <= standings(mixed, [False] * 5)


# Recorded sequences


def test_a_gas_meter_rolls_over_with_wheels_between_digits() -> None:
    trust = replay(
        METER,
        """
        {"s": 0, "n": "001998", "x": 2, "is": null, "why": "not_steady"}
        {"s": 20, "n": "001998", "is": "00199.8", "why": ""}
        {"s": 90, "n": "001999", "x": 2, "is": "00199.8", "why": "outvoted"}
        {"s": 110, "n": "001999", "is": "00199.9", "why": ""}
        {"s": 200, "n": "002009", "c": "998883", "is": "00199.9", "why": "low_confidence"}
        {"s": 210, "n": "002009", "c": "998886", "x": 9, "is": "00199.9", "why": "between_digits"}
        {"s": 300, "n": "001990", "c": "998886", "x": 3, "is": "00199.9", "why": "between_digits"}
        {"s": 340, "n": "002000", "x": 2, "is": "00199.9", "why": "outvoted"}
        {"s": 360, "n": "002000", "is": "00200.0", "why": ""}
        {"s": 370, "n": "001990", "c": "998889", "x": 5, "is": "00200.0", "why": "between_digits"}
        """,
    )
    assert kinds(trust) == ["trusted"]


def test_a_wheel_that_stays_between_digits_is_no_failure() -> None:
    # The last wheel stands between 3 and 4 all night: read as either, surely as neither.
    trust = feed(Trust(METER), ["001993"] * 3)
    for i in range(1000):
        number = ("001994", "001993", "001998")[i % 3]
        trust, _ = trust.after([reading(number, 3 + i, [0.99] * 5 + [0.25 + i % 2 / 2])])
    assert (trust.number, trust.held, kinds(trust)) == ("00199.3", False, ["trusted"])


def test_what_is_unsure_without_a_turn_has_no_vote() -> None:
    trust = feed(Trust(METER), ["001993"] * 3)
    for i in range(9):
        # The tens cannot turn beside a 3; and no turn leads from 199.3 to 200.3.
        trust, _ = trust.after([reading("001983", 3 + i, [0.99] * 4 + [0.3, 0.99])])
        trust, (judged,) = trust.after([reading("002003", 3 + i, [0.99] * 5 + [0.3])])
        assert judged.reason == "low_confidence"
    assert trust.number == "00199.3"
    assert trust.votes == ("001993",) * 3


def test_a_reflection_reads_8_as_3() -> None:
    trust = replay(
        METER,
        """
        {"s": 0, "n": "048211", "x": 5, "is": "04821.1", "why": ""}
        {"s": 50, "n": "043211", "x": 2, "is": "04821.1", "why": "outvoted"}
        {"s": 70, "n": "043211", "is": "04821.1", "why": "falls"}
        {"s": 80, "n": "043211", "x": 20, "is": "04821.1", "why": "falls"}
        {"s": 280, "n": "048211", "is": "04821.1", "why": ""}
        {"s": 290, "n": "048212", "x": 3, "is": "04821.2", "why": ""}
        {"s": 400, "n": "098212", "x": 2, "is": "04821.2", "why": "outvoted"}
        {"s": 420, "n": "098212", "is": "04821.2", "why": "too_fast"}
        """,
    )
    assert kinds(trust) == ["trusted"]
    assert trust.objection is not None
    assert trust.objection.line == "09821.2 is too far from 04821.2, 110 s ago, for rules.per_minute = 0.5"


@pytest.mark.parametrize("first", ["903117", "003017"])
def test_a_wrong_first_value_does_not_poison_what_follows(first: str) -> None:
    # It rises meanwhile by 0.1 a minute from 311.7, once a minute read as another number.
    trust = feed(Trust(METER), [first] * 4)
    assert trust.number == f"{first[:5]}.{first[5]}"
    for i in range(120):
        number = "703117" if i % 6 == 5 else f"{3117 + i // 6:06d}"
        trust, _ = trust.after([reading(number, 10 * (i + 1))])
        if i == 60:
            assert trust.number == f"{first[:5]}.{first[5]}"
    assert trust.number == "00313.6"
    assert kinds(trust) == ["trusted", "held", "takeover"]
    told = trust.history[-1]
    assert told.line.startswith(f"00312.7 is trusted after {first[:5]}.{first[5]}: it stayed although 00312.7 is ")
    # The third frame that said otherwise is where the ten minutes begin.
    assert told.ts == START + timedelta(seconds=30 + 600)


def test_a_meter_is_replaced() -> None:
    trust = replay(
        METER,
        """
        {"s": 0, "n": "051234", "x": 5, "is": "05123.4", "why": ""}
        {"s": 50, "n": "", "x": 60, "is": "05123.4", "why": "no_number"}
        {"s": 700, "n": "000000", "x": 2, "is": "05123.4", "why": "outvoted"}
        {"s": 720, "n": "000000", "x": 60, "is": "05123.4", "why": "falls"}
        {"s": 1320, "n": "000000", "is": "00000.0", "why": ""}
        {"s": 1330, "n": "000001", "x": 3, "is": "00000.1", "why": ""}
        """,
    )
    assert kinds(trust) == ["trusted", "held", "takeover"]


def test_a_night_without_light() -> None:
    trust = replay(
        METER,
        """
        {"s": 0, "n": "001999", "x": 5, "is": "00199.9", "why": ""}
        {"s": 50, "n": "001999", "c": "333333", "is": "00199.9", "why": "low_confidence"}
        {"s": 60, "n": "", "x": 288, "d": 100, "is": "00199.9", "why": "no_number"}
        {"s": 29000, "n": "1111", "is": "00199.9", "why": "pattern"}
        {"s": 29010, "n": "002031", "x": 2, "is": "00199.9", "why": "outvoted"}
        {"s": 29030, "n": "002031", "is": "00203.1", "why": ""}
        """,
    )
    assert kinds(trust) == ["trusted", "held", "back"]
    held, back = trust.history[1:]
    # Last read at 40 s; the frame of 360 s is the first after 300 s more.
    assert held.ts == START + timedelta(seconds=360)
    assert held.line == "00199.9 is held: not read for 320 s: no number in the frame"
    assert (back.line, trust.held) == ("00203.1 is read again", False)


# Details


def test_the_number_of_the_display_is_found_among_others() -> None:
    trust = Trust(Rules(window=1, needed=1, digits=5))
    serial, meter, blank = reading("87654321"), reading("00417"), reading("")
    trust, judged = trust.after([serial, meter])
    assert [r.number for r in judged] == ["00417", "87654321"]
    assert [r.previous for r in judged] == [None, None]
    trust, judged = trust.after([serial])
    assert (judged[0].reason, judged[0].previous) == ("pattern", "00417")
    assert trust.objection is not None
    assert trust.objection.line == "87654321 has 8 digits, rules.digits is 5"
    trust, judged = trust.after([blank])
    assert (judged[0].reason, trust.number) == ("no_number", "00417")


@pytest.mark.parametrize(
    ("digits", "decimals", "keep", "strip"),
    [("00199", 1, "0019.9", "19.9"), ("0005", 1, "000.5", "0.5"), ("000", 0, "000", "0"), ("120", 2, "1.20", "1.20")],
)
def test_the_point_and_leading_zeros(digits: str, decimals: int, keep: str, strip: str) -> None:
    for policy, number in (("keep", keep), ("strip", strip)):
        rules = Rules(window=1, needed=1, decimals=decimals, leading_zeros=policy)  # type: ignore[arg-type]
        assert feed(Trust(rules), [digits]).number == number


def test_a_number_without_a_digit_before_its_point_is_none() -> None:
    trust, (judged,) = Trust(Rules(decimals=2)).after([reading("12")])
    assert (judged.reason, trust.votes) == ("pattern", ())


def test_the_largest_change_grows_with_the_time_and_a_step_is_always_due() -> None:
    # 0.6 a minute is 6 of the last digit: after 10 s one more than the step that is due.
    rules = Rules(window=1, needed=1, decimals=1, per_minute=0.6)
    first = feed(Trust(rules), ["100"])
    for number, at_s, trusted in [("101", 0, True), ("102", 9, False), ("102", 10, True), ("098", 10, True)]:
        after, _ = first.after([reading(number, at_s)])
        assert (after.number != first.number) == trusted, (number, at_s)


def test_a_clock_set_back_delays_the_takeover_by_no_more_than_itself() -> None:
    rules = Rules(window=3, needed=2, rising=True, takeover_s=60)
    trust = feed(Trust(rules), ["500"] * 3)
    trust = feed(trust, ["400"] * 30, start_s=3)
    assert trust.number == "500"
    trust = feed(trust, ["400"] * 60, start_s=-86400)
    assert trust.number == "500"
    assert feed(trust, ["400"], start_s=-86400 + 60).number == "400"


def test_a_disagreement_that_goes_away_is_forgotten() -> None:
    rules = Rules(window=1, needed=1, rising=True, takeover_s=60)
    trust = feed(Trust(rules), ["500", *["400"] * 50, "500", *["400"] * 50])
    assert (trust.number, kinds(trust)) == ("500", ["trusted"])


# What somebody says


def test_what_is_told_stands_at_once_and_the_frames_begin_anew() -> None:
    trust = feed(Trust(METER), ["903117"] * 4)
    # Another number has half of what it takes to take over.
    trust = feed(trust, ["003117"] * 4, start_s=4)
    assert trust.rival is not None
    now = START + timedelta(seconds=20)
    told = trust.told("00311.7", now)
    assert (told.number, told.votes, told.rival, told.held) == ("00311.7", (), None, False)
    assert told.history[:-1] == trust.history
    assert told.history[-1] == (now, "set", "00311.7 is trusted, for somebody said so", "00311.7")
    # Frames that say the same are accepted as soon as enough of them do, and none is a takeover.
    told = feed(told, ["003117"] * 4, start_s=21)
    assert (told.number, told.objection, kinds(told)) == ("00311.7", None, ["trusted", "set"])


def test_what_is_told_is_no_longer_held() -> None:
    trust = feed(Trust(METER), [*["003117"] * 3, ""], step_s=400)
    assert (trust.held, kinds(trust)) == (True, ["trusted", "held"])
    trust = trust.told("312.5", START + timedelta(seconds=1300))
    assert (trust.number, trust.held) == ("00312.5", False)
    assert kinds(feed(trust, [""], start_s=1310)) == ["trusted", "held", "set"]


@pytest.mark.parametrize(
    ("rules", "said", "number"),
    [
        (METER, "00311.7", "00311.7"),
        (METER, "311.7", "00311.7"),
        # Without the point it is the same number as with zeros behind it.
        (METER, "311", "00311.0"),
        (METER, "7", "00007.0"),
        (Rules(decimals=2), "0.5", "0.50"),
        (Rules(decimals=2), "12", "12.00"),
        (Rules(digits=5), "42", "00042"),
        (Rules(), "0042", "0042"),
        (Rules(leading_zeros="strip"), "0042", "42"),
        (Rules(decimals=2), "0.05", "0.05"),
    ],
)
def test_a_number_told_is_filled_with_zeros(rules: Rules, said: str, number: str) -> None:
    assert Trust(rules).told(said, START).number == number


@pytest.mark.parametrize(
    ("rules", "said", "why"),
    [
        (METER, "311.75", r"311\.75 has more digits behind the point than rules\.decimals = 1"),
        (METER, "311.", r"'311\.' is no number: write digits, and a point if there is one"),
        (Rules(), "4.2", r"4\.2 has more digits behind the point than rules\.decimals = 0"),
        (METER, "1234567", r"12345670 has 8 digits, rules\.digits is 6"),
        (Rules(pattern="[1-3]+"), "124", r"124 does not fit rules\.pattern, \[1-3\]\+"),
        (Rules(), "", r"'' is no number: write digits"),
        (Rules(), ".", r"'\.' is no number"),
        (Rules(), "-5", r"'-5' is no number"),
        (Rules(), "1.2.3", r"'1\.2\.3' is no number"),
        (Rules(), "٣", r"is no number"),
        (Rules(), "1\n", r"'1\\n' is no number"),
        # Python refuses to make an int of so many, frames later.
        (Rules(), "9" * 5000, r"9{20}\.\.\. has more than 20 digits"),
    ],
)
def test_what_cannot_be_told(rules: Rules, said: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        Trust(rules).told(said, START)
    assert "\n" not in str(caught.value)


def test_a_new_run_goes_on_from_what_stood() -> None:
    trust = Trust(METER).resumed("311.7", START)
    assert (trust.number, kinds(trust)) == ("00311.7", ["resumed"])
    # An hour at half a unit a minute: 30 units are plausible, a fall is not.
    trust = feed(trust, ["003410"] * 3, start_s=3600)
    assert trust.number == "00341.0"
    trust = feed(trust, ["003117"] * 3, start_s=3700)
    assert (trust.number, trust.objection and trust.objection.reason) == ("00341.0", "falls")


def test_a_number_is_held_also_while_no_frame_comes() -> None:
    trust = feed(Trust(METER), ["003117"] * 3)
    assert trust.unread(START + timedelta(seconds=290)).history == trust.history
    held = trust.unread(START + timedelta(seconds=303))
    assert (held.number, held.held, kinds(held)) == ("00311.7", True, ["trusted", "held"])
    assert held.history[-1].line == "00311.7 is held: not read for 301 s: no frame came"
    assert kinds(feed(held, ["003117"], start_s=310)) == ["trusted", "held", "back"]
    assert Trust(METER).unread(START) == Trust(METER)


def test_the_oldest_events_are_forgotten() -> None:
    trust = Trust(Rules())
    for number in range(HISTORY + 3):
        trust = trust.told(str(number), START)
    assert len(trust.history) == HISTORY
    assert trust.history[0].line.startswith("3 is trusted")


# The clock jumps


@pytest.mark.parametrize("years", [-1, 1])
def test_a_clock_that_jumps_by_a_year_neither_loses_the_number_nor_freezes_it(years: int) -> None:
    rules = Rules(window=3, needed=2, digits=5, rising=True, per_minute=6, takeover_s=600)
    trust = feed(Trust(rules), ["00417"] * 3)
    jump_s = years * 365 * 86400
    # Every frame says what stands, whatever the clock says.
    for i in range(3):
        trust, (judged,) = trust.after([reading("00417", jump_s + i)])
        assert (trust.number, judged.accepted, trust.held) == ("00417", True, False)
    # And it goes on by one each ten seconds.
    for i in range(1, 10):
        trust = feed(trust, [f"{417 + i:05d}"] * 3, jump_s + 10 * i)
        assert trust.number == f"{417 + i:05d}"
    assert kinds(trust) == ["trusted"]


@pytest.mark.parametrize("years", [-1, 1])
def test_a_number_that_changes_while_the_clock_jumps_is_trusted_within_the_takeover(years: int) -> None:
    rules = Rules(window=3, needed=2, digits=5, rising=True, per_minute=6, takeover_s=600)
    trust = feed(Trust(rules), ["00417"] * 3)
    jump_s = years * 365 * 86400
    for i in range(63):
        trust = feed(trust, ["00422"], jump_s + 10 * i)
    assert (trust.number, trust.held) == ("00422", False)


# Whatever is read


FRAMES = st.lists(
    st.tuples(
        st.sampled_from(["", "0100", "0101", "0110", "0109", "0200", "0190", "9100", "12"]),
        st.sampled_from([0.2, 0.8, 0.99]),
        st.floats(-5, 90),
    ),
    max_size=60,
)
RULES = st.builds(
    lambda window, spare, **rest: Rules(window=window, needed=window - spare % ((window + 1) // 2), **rest),
    st.integers(1, 6),
    st.integers(0, 5),
    rising=st.just(True),
    wheels=st.booleans(),
    per_minute=st.sampled_from([None, 1.0, 50.0]),
    takeover_s=st.sampled_from([0.0, 60.0, 1e6]),
)


def watch(rules: Rules, frames: list[tuple[str, float, float]]) -> list[tuple[Trust, Reading]]:
    trust, at_s, seen = Trust(rules), 0.0, []
    for number, last, step_s in frames:
        at_s += step_s
        confidences = [0.99] * (len(number) - 1) + [last] if number else None
        trust, (judged,) = trust.after([reading(number, at_s, confidences)])
        seen.append((trust, judged))
    return seen


@few
@given(RULES, FRAMES)
def test_what_rises_never_falls_but_by_a_told_takeover(rules: Rules, frames: list[tuple[str, float, float]]) -> None:
    before = Trust(rules)
    for trust, judged in watch(rules, frames):
        if before.standing and trust.standing and int(trust.standing.digits) < int(before.standing.digits):
            assert trust.history[-1] == (judged.ts, "takeover", trust.history[-1].line, trust.number)
            assert trust.history != before.history
        before = trust


@few
@given(RULES, FRAMES)
def test_accepted_is_what_is_trusted_and_all_else_says_why(
    rules: Rules, frames: list[tuple[str, float, float]]
) -> None:
    previous = None
    for trust, judged in watch(rules, frames):
        standing = trust.standing.digits if trust.standing else None
        assert judged.accepted == (not judged.reason)
        assert judged.previous == previous
        if judged.accepted:
            assert judged.number == standing
        else:
            assert trust.objection is not None
            assert trust.objection.reason == judged.reason
            assert "\n" not in trust.objection.line
        previous = standing
        assert len(trust.votes) <= rules.window
        assert len(trust.history) <= HISTORY


@few
@given(RULES, FRAMES, st.sampled_from(["0100", "0123", "9999"]))
def test_a_steady_number_is_trusted_in_the_end_whatever_came_before(
    rules: Rules, frames: list[tuple[str, float, float]], true: str
) -> None:
    trust = ([Trust(rules)] + [t for t, _ in watch(rules, frames)])[-1]
    start_s = 90 * len(frames)
    trust = feed(trust, [true] * (2 * rules.window), start_s)
    trust = feed(trust, [true], start_s + 2 * rules.window + rules.takeover_s)
    assert trust.standing is not None
    assert trust.standing.digits == true


@few
@given(st.integers(1, 9), st.data(), st.booleans())
def test_a_steady_number_is_trusted_within_a_window(window: int, data: st.DataObject, rising: bool) -> None:
    needed = data.draw(st.integers(window // 2 + 1, window))
    noise = data.draw(st.lists(st.sampled_from(["", "17", "071"]), max_size=20))
    trust = feed(Trust(Rules(window=window, needed=needed, rising=rising)), [*noise, *["999"] * needed])
    assert trust.number == "999"


@few
@given(RULES, FRAMES)
def test_a_state_never_changes(rules: Rules, frames: list[tuple[str, float, float]]) -> None:
    first = watch(rules, frames)
    kept = [repr(trust) for trust, _ in first]
    again = watch(rules, frames)
    assert again == first
    assert [repr(trust) for trust, _ in first] == kept
