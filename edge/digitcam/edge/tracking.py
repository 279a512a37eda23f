"""Which number stands: the one on which most of the last accepted readings agree."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from digitcam.edge.config import Tracking


class Tracker(NamedTuple):
    """The last accepted numbers, oldest first, at most a window of them, and the number that stands, None at first."""

    rule: Tracking
    recent: tuple[str, ...] = ()
    stable: str | None = None

    def after(self, number: str) -> Tracker:
        """Return the tracker after one more accepted number.

        The stable number is the one at least `rule.needed` of the last `rule.window` accepted numbers agree on; while
        there is none, it stays what it was. `edge.config.Tracking` sees to it that there are never two.
        """
        recent = (*self.recent, number)[-self.rule.window :]
        commonest, votes = Counter(recent).most_common(1)[0]
        return Tracker(self.rule, recent, commonest if votes >= self.rule.needed else self.stable)
