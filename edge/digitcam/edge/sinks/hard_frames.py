"""Frames that were hard to read, kept in a folder with what was read of them, to be labelled and learned from.

Of each frame there are `hard-TIME-SEQ.png`, all of it without loss, and `hard-TIME-SEQ.json`, one line: `schema`, `ts`,
`seq`, `source`, `truth`, and `regions`, a list of `region`, `reason`, `number` (the one that stood), `label` and
`readings`. The label is null: put the right number there. A picture appears after its line, and both at once, whole.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from digitcam.core.errors import SinkError
from digitcam.core.whole import write_file
from digitcam.edge.config.outputs import DISAGREES, HardFrames
from digitcam.edge.outcome import Outcome
from digitcam.edge.recorded import png_of
from digitcam.edge.sinks.notices import Notices
from digitcam.edge.sources import Frame

SCHEMA = 1
_OURS = re.compile(r"hard-\d{8}T\d{12}Z-\d+\.(png|json)(\.part)?")


def hard(outcome: Outcome, reasons: Sequence[str]) -> str:
    """Return for which of the reasons a frame was hard to read in a region; empty when it was not.

    reasons
        See `HardFrames.reasons`.
    """
    best, trust = outcome.best, outcome.trust
    if best.reason in reasons:
        return best.reason
    stands = trust.standing.digits if trust and trust.standing else None if trust else outcome.number
    differs = best.number and stands and best.number != stands
    return DISAGREES if differs and DISAGREES in reasons else ""


class HardFramesSink:
    """A folder of hard frames, the oldest removed when they are too many or too large."""

    def __init__(self, config: HardFrames) -> None:
        self.config, self.folder = config, Path(config.folder)
        self._last: datetime | None = None
        self._notices = Notices(config.folder)

    def __enter__(self) -> HardFramesSink:
        """Make the folder and remove what an earlier run left half written; SinkError when that fails."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in self._list("part"):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise SinkError(f"{self.folder}: cannot keep hard frames here: {error.strerror}") from None
        if not os.access(self.folder, os.W_OK):
            raise SinkError(f"{self.folder}: no leave to write here: change hard_frames.folder")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""

    def send(self, frame: Frame, outcomes: Sequence[Outcome]) -> None:
        """Keep the frame if it was hard and the last is long enough ago.

        A disk that is full is told once on standard error, and tried again with the next hard frame.
        """
        reasons = [hard(outcome, self.config.reasons) for outcome in outcomes]
        if not any(reasons):
            return
        # A clock that is set back must not end it for long.
        if self._last and abs((frame.ts - self._last).total_seconds()) < self.config.pause_s:
            return
        self._last = frame.ts
        try:
            self._keep(frame, _line(frame, outcomes, reasons))
        except OSError as error:
            self._notices.tell(f"cannot keep hard frames here: {error.strerror}: reading goes on")
        else:
            self._notices.clear("hard frames are kept again")

    def _keep(self, frame: Frame, line: bytes) -> None:
        """Write a frame and its line, and remove the oldest; OSError when that fails, and then neither is there."""
        name = f"hard-{frame.ts.astimezone(timezone.utc):%Y%m%dT%H%M%S%f}Z-{frame.seq:06}"
        json = self.folder / f"{name}.json"
        try:
            write_file(json, line)
            write_file(json.with_suffix(".png"), png_of(frame.image))
        except OSError:
            with suppress(OSError):
                json.unlink(missing_ok=True)
            raise
        # Called later than the newest: older, from before the clock was set back.
        newest_first = sorted(self._list("png"), key=lambda path: (path.stem <= name, path.stem), reverse=True)
        total = 0
        for place, picture in enumerate(newest_first):
            pair = (picture, picture.with_suffix(".json"))
            total += sum(path.stat().st_size for path in pair if path.exists())
            if place and (place >= self.config.keep or total > 1e6 * self.config.keep_mb):
                for path in pair:
                    path.unlink(missing_ok=True)

    def _list(self, ending: str) -> list[Path]:
        """Return our files of an ending; those of others are left alone."""
        names = (path for path in self.folder.iterdir() if _OURS.fullmatch(path.name))
        return [path for path in names if path.suffix == f".{ending}"]


def _line(frame: Frame, outcomes: Sequence[Outcome], reasons: Sequence[str]) -> bytes:
    regions: list[dict[str, Any]] = [
        {
            "region": outcome.region,
            "reason": reason,
            "number": outcome.number,
            "label": None,
            "readings": outcome.readings,
        }
        for outcome, reason in zip(outcomes, reasons, strict=True)
    ]
    about = {"schema": SCHEMA, "ts": frame.ts, "seq": frame.seq, "source": frame.source, "truth": frame.truth}
    return msgspec.json.encode({**about, "regions": regions}) + b"\n"
