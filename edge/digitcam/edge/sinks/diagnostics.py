"""How the reading goes, in a few numbers that are published now and then and not with every frame."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from digitcam.core.reading import Reading


class Tally(NamedTuple):
    """What was seen so far; `frames` since `since_s` (time.monotonic), all else since the start.

    confidence, last_accepted
        Of the last frame's best reading, 0..1, and when the last accepted one was taken; None before the first.
    """

    since_s: float
    frames: int = 0
    rejected: int = 0
    confidence: float | None = None
    last_accepted: datetime | None = None

    def after(self, readings: list[Reading]) -> Tally:
        """Return the tally after one more frame with these readings, best first."""
        best = readings[0]
        return Tally(
            self.since_s,
            self.frames + 1,
            self.rejected + (not best.accepted),
            best.confidence,
            best.ts if best.accepted else self.last_accepted,
        )

    def report(self, now_s: float, dropped: int) -> dict[str, Any]:
        """Return what is published; `dropped` is how many messages were lost while the broker was away."""
        elapsed_s = now_s - self.since_s
        return {
            "confidence": self.confidence,
            "last_accepted": self.last_accepted,
            "frames_per_second": round(self.frames / elapsed_s, 2) if elapsed_s > 0 else None,
            "rejected": self.rejected,
            "dropped": dropped,
        }

    def anew(self, now_s: float) -> Tally:
        """Return the tally with frames counted from now on."""
        return self._replace(since_s=now_s, frames=0)
