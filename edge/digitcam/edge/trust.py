"""Which number is trusted: what most of the last frames read, where that is plausible after what stood before.

Pure functions over a state that never changes; the time is that of the readings, and `Trust.clock_set` says when their
clock has jumped. `edge.config.Rules` says what is plausible. A number that is not, but stays, takes over in the end: a
false one cannot stand for ever.

Why a reading is not accepted: `no_number`, `low_confidence`, `frame_size` (not the rules' own reasons); `pattern`, it
is no number of this display; `not_steady`, too few of the last frames agree; `outvoted`, they agree on another;
`between_digits`, the wheels turn and stand for another; `falls` and `too_fast`, they agree, but the counter cannot have
got there; `other_number`, it stands beside the one that is judged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec.structs import replace

from digitcam.core.reading import Reading
from digitcam.edge.config.rules import Rules
from digitcam.edge.voting import agreed, standings, turning

HISTORY = 50
"""How many events are remembered."""
_NOTHING = {"no_number": "no number in the frame", "frame_size": "the frame has another size than those before"}
"""Why a reading has no number, for people."""
LONGEST = 20
"""Digits of a number at most."""


class Objection(NamedTuple):
    """Why a reading is not accepted: a word for machines and a line for people."""

    reason: str
    line: str


class Event(NamedTuple):
    """What became of the trusted number.

    `kind` is `trusted` (the first), `takeover` (after a jump it should not make), `held` (not read for long), `back`,
    `set` (somebody said so) or `resumed` (it stood when the last run ended). `number` is the one trusted then.
    """

    ts: datetime
    kind: str
    line: str
    number: str


class Mark(NamedTuple):
    """A number that stands or would: its digits, the times since when and when last read, and in how many frames."""

    digits: str
    since: datetime
    seen: datetime
    frames: int = 1

    def moved(self, by: timedelta) -> Mark:
        """Return it with other times."""
        return self._replace(since=self.since + by, seen=self.seen + by)


class Trust(NamedTuple):
    """What is known after some frames.

    votes
        The numbers of the last usable frames, oldest first, at most a window of them.
    standing
        The trusted number, None at first.
    rival
        What the frames agree on instead, though it is not plausible.
    held
        Whether the trusted number has not been read for longer than `rules.held_after_s`.
    objection
        Why the last frame's reading was not accepted, None if it was.
    history
        The last events, oldest first; a frame adds one at most.
    """

    rules: Rules
    votes: tuple[str, ...] = ()
    standing: Mark | None = None
    rival: Mark | None = None
    held: bool = False
    objection: Objection | None = None
    history: tuple[Event, ...] = ()

    @property
    def number(self) -> str | None:
        """The trusted number as it is published, None while there is none."""
        if not self.standing:
            return None
        number = written(self.standing.digits, self.rules)
        return re.sub(r"^0+(?=\d)", "", number) if self.rules.leading_zeros == "strip" else number

    def told(self, number: str, ts: datetime) -> Trust:
        """Return the state once somebody has said what number stands, as it is published: 99 is 99.0.

        Raises
        ------
        ValueError
            When it cannot be a number of this display.
        """
        return self._put(number, ts, "set", "is trusted, for somebody said so")

    def resumed(self, number: str, ts: datetime) -> Trust:
        """Return the state of a new run, when a number stood at the end of the last one, at `ts`.

        Raises
        ------
        ValueError
            When it cannot be a number of this display, any more.
        """
        return self._put(number, ts, "resumed", "stood when the last run ended")

    def unread(self, ts: datetime) -> Trust:
        """Return the state at a time when no frame came: the number may have to be told to be held."""
        return _note(self, self._replace(objection=None), ts)

    def clock_set(self, by: timedelta) -> Trust:
        """Return the state once the clock has been set: the times noted by the old one become those of the new.

        Else a false number would seem to have stayed for as long as the clock jumped, and a true one to have had so
        long to change.
        """
        return self._replace(
            standing=self.standing and self.standing.moved(by), rival=self.rival and self.rival.moved(by)
        )

    def _put(self, number: str, ts: datetime, kind: str, line: str) -> Trust:
        if not re.fullmatch(r"[0-9]+([.][0-9]+)?", number):
            raise ValueError(f"{number!r} is no number: write digits, and a point if there is one")
        whole, _, part = number.partition(".")
        if len(part) > self.rules.decimals:
            raise ValueError(f"{number} has more digits behind the point than rules.decimals = {self.rules.decimals}")
        digits = (whole + part.ljust(self.rules.decimals, "0")).zfill(self.rules.digits or 0)
        if len(digits) > LONGEST:
            raise ValueError(f"{number[:LONGEST]}... has more than {LONGEST} digits")
        if wrong := misfit(digits, self.rules):
            raise ValueError(wrong)
        trust = self._replace(votes=(), standing=Mark(digits, ts, ts), rival=None, held=False)
        event = Event(ts, kind, f"{trust.number} {line}", trust.number or "")
        return trust._replace(history=(*self.history, event)[-HISTORY:])

    def after(self, readings: Sequence[Reading]) -> tuple[Trust, list[Reading]]:
        """Return the state after one more frame, and the frame's readings with what the rules say of them.

        The first reading that fits `rules.digits` and `rules.pattern` is judged and comes first. It stays accepted
        only when it is the number trusted now. Every `previous` is the number trusted before, without its point.
        """
        best = next((r for r in readings if r.number and not misfit(r.number, self.rules)), readings[0])
        ts, previous = best.ts, self.standing.digits if self.standing else None
        heard = _heard(self, best)
        if isinstance(heard, Objection):
            trust = self._replace(objection=heard)
        else:
            votes = (*self.votes, heard)[-self.rules.window :]
            trust = _weigh(self, votes, heard, ts)
            if not best.accepted:
                trust = trust._replace(objection=_unsure(best))
            elif trust.objection is None and best.number != heard:
                line = f"{written(best.number, self.rules)} with wheels between digits stands for {trust.number}"
                trust = trust._replace(objection=Objection("between_digits", line))
        reason = trust.objection.reason if trust.objection else ""
        judged = replace(best, accepted=not reason, reason=reason, previous=previous)
        others = [
            replace(reading, previous=previous, accepted=False, reason=reading.reason or "other_number")
            for reading in readings
            if reading is not best
        ]
        return _note(self, trust, ts), [judged, *others]


def written(digits: str, rules: Rules) -> str:
    """Return digits with their decimal point."""
    return f"{digits[: -rules.decimals]}.{digits[-rules.decimals :]}" if rules.decimals else digits


def misfit(digits: str, rules: Rules) -> str:
    """Return why digits cannot be a number of this display, in words; empty when they can."""
    if rules.digits and len(digits) != rules.digits:
        return f"{digits} has {len(digits)} digits, rules.digits is {rules.digits}"
    if len(digits) <= rules.decimals:
        return f"{digits} has too few digits for rules.decimals = {rules.decimals}"
    if rules.pattern and not re.fullmatch(rules.pattern, written(digits, rules)):
        return f"{written(digits, rules)} does not fit rules.pattern, {rules.pattern}"
    return ""


def implausible(standing: Mark, digits: str, ts: datetime, rules: Rules) -> Objection | None:
    """Return why a display that showed one number cannot show another at a time, None when it can."""
    change = int(digits) - int(standing.digits)
    new, old = written(digits, rules), written(standing.digits, rules)
    if rules.rising and change < 0:
        return Objection("falls", f"{new} is less than {old}, and rules.rising lets it only rise")
    elapsed_s = max((ts - standing.seen).total_seconds(), 0)
    # One step of the last digit may be due at any moment.
    if rules.per_minute and abs(change) > 1 + rules.per_minute * 10**rules.decimals * elapsed_s / 60 + 1e-6:
        line = f"{new} is too far from {old}, {elapsed_s:.0f} s ago, for rules.per_minute = {rules.per_minute:g}"
        return Objection("too_fast", line)
    return None


def _heard(trust: Trust, reading: Reading) -> str | Objection:
    """Return the number a reading votes for, or why it has no vote."""
    rules, number, standing = trust.rules, reading.number, trust.standing
    if not number:
        return Objection(reading.reason, _NOTHING[reading.reason])
    wheels = rules.wheels and standing is not None
    if not (reading.accepted or wheels):
        return _unsure(reading)
    if wrong := misfit(number, rules):
        return Objection("pattern", wrong) if reading.accepted else _unsure(reading)
    if not (wheels and standing):
        return number
    # Of all that the wheels may stand for, the counter has gone no further than it must have.
    sure = [digit.confidence >= rules.sure for digit in reading.digits]
    others = (o for o in standings(number, sure) if not implausible(standing, o, reading.ts, rules))
    found = min(others, key=int, default=None)
    if reading.accepted:
        return found or number
    # What is unsure for other reasons than a turn has no vote, and a turn leads to the next number at most.
    turn = all(sure[: -turning(number)]) and found and int(found) - int(standing.digits) <= 1
    return found if found and turn else _unsure(reading)


def _unsure(reading: Reading) -> Objection:
    return Objection("low_confidence", f"{reading.number} is read with a confidence of {reading.confidence:.0%} only")


def _weigh(trust: Trust, votes: tuple[str, ...], heard: str, ts: datetime) -> Trust:
    """Return the state after a vote: what stands, what rivals it, and what there is to object to in the vote.

    votes
        Those of the window, with this one, `heard`.
    """
    rules, standing, rival, number = trust.rules, trust.standing, trust.rival, agreed(votes, trust.rules.needed)
    objection = None
    if standing and heard == standing.digits:
        standing = standing._replace(seen=ts, frames=standing.frames + 1)
    if standing and number == standing.digits:
        rival = None
    elif number:
        objection = implausible(standing, number, ts, rules) if standing else None
        rival = _grown(rival, number, heard, ts, rules) if objection else Mark(number, ts, ts)
        if not objection or (heard == number and _ripe(rival, ts, rules)):
            standing, rival = rival._replace(seen=ts), None
    if standing and heard == standing.digits:
        objection = None
    elif number is None:
        line = f"{written(heard, rules)}: fewer than {rules.needed} of the last {rules.window} readings agree"
        objection = Objection("not_steady", line)
    elif heard != number or not objection:
        line = f"{written(heard, rules)}: most of the last {rules.window} readings say {written(number, rules)}"
        objection = Objection("outvoted", line)
    return trust._replace(votes=votes, standing=standing, rival=rival, objection=objection)


def _grown(rival: Mark | None, number: str, heard: str, ts: datetime, rules: Rules) -> Mark:
    """Return the rival after one more frame: the same, going on as a number should, or a new one."""
    if rival is None or implausible(rival, number, ts, rules):
        return Mark(number, ts, ts)
    # A clock set back must not make it wait for the time it had before.
    return Mark(number, min(rival.since, ts), ts, rival.frames + (heard == number))


def _ripe(rival: Mark, ts: datetime, rules: Rules) -> bool:
    return rival.frames >= rules.window and (ts - rival.since).total_seconds() >= rules.takeover_s


def _note(before: Trust, trust: Trust, ts: datetime) -> Trust:
    """Return the state with its `held` brought up to date and what happened to the trusted number in its history."""
    old, new = before.standing, trust.standing
    if new is None:
        return trust
    unread_s, kind = abs((ts - new.seen).total_seconds()), ""
    held = (before.held and new.seen != ts) or unread_s > trust.rules.held_after_s
    if old is None:
        kind, line = "trusted", f"{trust.number} is the first number trusted"
    elif new.digits != old.digits and (told := implausible(old, new.digits, ts, trust.rules)):
        kind, line = "takeover", f"{trust.number} is trusted after {before.number}: it stayed although {told.line}"
    elif held and not before.held:
        why = trust.objection.line if trust.objection else "no frame came"
        kind, line = "held", f"{trust.number} is held: not read for {unread_s:.0f} s: {why}"
    elif before.held and not held:
        kind, line = "back", f"{trust.number} is read again"
    if not kind and held == trust.held:
        return trust
    history = (*trust.history, Event(ts, kind, line, trust.number or ""))[-HISTORY:] if kind else trust.history
    return trust._replace(held=held, history=history)
