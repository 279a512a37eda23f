"""What one frame gave for one number's place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from digitcam.core.reading import Reading
from digitcam.edge.trust import Trust


class Outcome(NamedTuple):
    """What sinks are sent for each region of a frame.

    region
        Its name, empty where the whole frame is read.
    readings
        What was read, best first; one with an empty number when there was none.
    number
        What stands now: the trusted number where there are rules, else the last accepted one; None while there is none.
    trust
        What is behind it, None without rules.
    """

    region: str
    readings: list[Reading]
    number: str | None
    trust: Trust | None

    @property
    def best(self) -> Reading:
        """The reading that was judged."""
        return self.readings[0]

    @property
    def why(self) -> str:
        """Why the best reading is not accepted, in words; empty when it is."""
        if self.trust and self.trust.objection:
            return self.trust.objection.line
        return "" if self.best.accepted else self.best.reason


def readings_of(outcomes: Sequence[Outcome]) -> list[Reading]:
    """Return all that was read of a frame, region by region, in each the best first."""
    return [reading for outcome in outcomes for reading in outcome.readings]
