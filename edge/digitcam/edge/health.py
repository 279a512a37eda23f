"""How a run goes: written by the runner, read by the page, the broker's diagnostics and the service manager."""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import msgspec

from digitcam.edge.outcome import Outcome
from digitcam.edge.sources import Source, Waiting
from digitcam.edge.sources.live import Health as SourceHealth
from digitcam.edge.sources.live import LiveSource

RATE_FRAMES = 100
"""Over how many of the last frames their rate is taken, at most."""
REJECTIONS = 20
"""How many of the last rejected readings are remembered."""
FRESH_S = 10.0
"""After how many seconds without a frame something is wrong with a source that never waits for one."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Rejection(NamedTuple):
    """A reading that did not count: when, of which region, what it read, a word for machines and a line for people."""

    ts: datetime
    region: str
    number: str
    reason: str
    line: str


class Report(msgspec.Struct, frozen=True):
    """How a run goes at one moment.

    started
        When the run began.
    frames, accepted, rejected
        Frames read; readings that counted, and those that did not, by reason. A frame gives one of each region.
    frames_per_second
        Over the last frames; 0 once the last is older than `fresh_s`, None before the second.
    since_frame_s
        Seconds since the last frame, None before the first.
    confidence, last_accepted
        The last best reading's, 0..1, and when the last accepted one was taken; None before the first.
    memory_mb
        What the process holds of the machine's memory, in 10^6 bytes.
    source
        Of a camera, see `sources.live.Health`; None of files.
    held
        Of each region whether it has not been read for long, also where no number stands yet, or none is trusted.
    refused
        Why the last number that somebody wanted to set was not; None when it was, or nobody wanted to.
    fresh_s
        After how many seconds without a frame something is wrong; None where none need ever come, as in a folder.
    """

    started: datetime
    frames: int
    accepted: int
    rejected: dict[str, int]
    frames_per_second: float | None
    since_frame_s: float | None
    confidence: float | None
    last_accepted: datetime | None
    memory_mb: float
    source: SourceHealth | None
    held: dict[str, bool] = {}
    refused: str | None = None
    fresh_s: float | None = FRESH_S


class Health:
    """Counts what comes by; the runner alone writes.

    number
        The last accepted, as it was read; None before the first.
    broker
        Says whether the broker is connected; None where there is none.
    """

    def __init__(self) -> None:
        self.started = datetime.now(timezone.utc)
        self.source: Source | None = None
        self.held: dict[str, bool] = {}
        self.refused: str | None = None
        self.number: str | None = None
        self.broker: Callable[[], bool] | None = None
        self._times_s: deque[float] = deque(maxlen=RATE_FRAMES)
        self._frames = self._accepted = 0
        self._rejected: Counter[str] = Counter()
        self._rejections: deque[Rejection] = deque(maxlen=REJECTIONS)
        self._confidence: float | None = None
        self._last_accepted: datetime | None = None

    def count(self, outcomes: Sequence[Outcome]) -> None:
        """Add a frame."""
        self._frames += 1
        self._times_s.append(time.monotonic())
        for outcome in outcomes:
            best = outcome.best
            self._confidence = best.confidence
            if best.accepted:
                self._accepted += 1
                self._last_accepted = best.ts
                self.number = best.number
            else:
                self._rejected[best.reason] += 1
                self._rejections.append(Rejection(best.ts, outcome.region, best.number, best.reason, outcome.why))

    def fresh(self) -> bool:
        """Return whether frames come as the source promises them; to be called from any thread."""
        report = self.report()
        return _fresh(report.since_frame_s, report.fresh_s)

    def report(self) -> Report:
        """Return how it goes now; to be called from any thread."""
        times_s = tuple(self._times_s)
        span_s = times_s[-1] - times_s[0] if len(times_s) > 1 else 0.0
        rate = round((len(times_s) - 1) / span_s, 2) if span_s > 0 else None
        since_s = round(time.monotonic() - times_s[-1], 3) if times_s else None
        fresh_s = self.source.fresh_s if isinstance(self.source, Waiting) else FRESH_S
        return Report(
            started=self.started,
            frames=self._frames,
            accepted=self._accepted,
            rejected=dict(self._rejected),
            # What was read before an outage is no rate of now.
            frames_per_second=rate if _fresh(since_s, fresh_s) or not times_s else 0.0,
            since_frame_s=since_s,
            fresh_s=fresh_s,
            confidence=self._confidence,
            last_accepted=self._last_accepted,
            memory_mb=round(resident_bytes() / 1e6, 1),
            source=self.source.health() if isinstance(self.source, LiveSource) else None,
            held=self.held,
            refused=self.refused,
        )

    def rejections(self) -> list[Rejection]:
        """Return the last readings that did not count, oldest first; to be called from any thread."""
        return list(self._rejections)


def resident_bytes() -> int:
    """Return what this process holds of the machine's memory (proc(5), statm)."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES


def _fresh(since_frame_s: float | None, fresh_s: float | None) -> bool:
    return fresh_s is None or (since_frame_s is not None and since_frame_s < fresh_s)
