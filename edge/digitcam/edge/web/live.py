"""What the page shows now: the last frame and its readings, packed once for all who look."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

from digitcam.core.draw import annotate, jpeg
from digitcam.core.reading import Reading
from digitcam.edge.outcome import Outcome, readings_of
from digitcam.edge.sources import Frame
from digitcam.edge.sources.uris import redact

PACK_S = 0.2
"""A picture stays the one that is shown for at least so long: five a second, however many look."""


class Shown(NamedTuple):
    """A frame, what its regions gave, and when it came (time.monotonic, s)."""

    frame: Frame
    outcomes: Sequence[Outcome]
    at_s: float

    @property
    def readings(self) -> list[Reading]:
        """All regions' readings."""
        return readings_of(self.outcomes)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frame."""
        height, width = self.frame.image.shape[:2]
        return width, height


class Packed:
    """A frame as the page gets it; each form is made when somebody first asks for it."""

    def __init__(self, shown: Shown) -> None:
        self.shown = shown
        self.id = f"{shown.frame.ts.timestamp():.6f}-{shown.frame.seq}"
        self.at_s = time.monotonic()

    @cached_property
    def boxed_jpeg(self) -> bytes:
        """The picture with its boxes drawn in."""
        return jpeg(annotate(self.shown.frame.image, self.shown.readings))

    @cached_property
    def state(self) -> dict[str, Any]:
        """What belongs to the picture: its size, and of each region the number, the readings and the trust."""
        frame = self.shown.frame
        return {
            "id": self.id,
            "seq": frame.seq,
            "ts": frame.ts,
            "source": redact(frame.source),
            "size": self.shown.size,
            "regions": [_region(outcome) for outcome in self.shown.outcomes],
        }

    @cached_property
    def live(self) -> bytes:
        """State and picture as one JSON text: they can never be of different frames."""
        picture = base64.b64encode(jpeg(self.shown.frame.image)).decode("ascii")
        return msgspec.json.encode({**self.state, "jpeg": picture})


class Live:
    """Takes frames from the runner's thread, which only notes them; the page's thread packs some of them."""

    def __init__(self) -> None:
        self.shown: Shown | None = None
        self._packed: Packed | None = None

    def show(self, frame: Frame, outcomes: Sequence[Outcome]) -> None:
        """Note a frame."""
        self.shown = Shown(frame, outcomes, time.monotonic())

    def packed(self) -> Packed | None:
        """Return what to show now, None before the first frame."""
        shown, packed = self.shown, self._packed
        if shown and (packed is None or (shown is not packed.shown and time.monotonic() - packed.at_s >= PACK_S)):
            packed = self._packed = Packed(shown)
        return packed


def _region(outcome: Outcome) -> dict[str, Any]:
    best, trust = outcome.best, outcome.trust
    return {
        "region": outcome.region,
        "number": outcome.number,
        "read": best.number,
        "confidence": best.confidence,
        "accepted": best.accepted,
        "reason": best.reason,
        "why": outcome.why,
        "trust": trust and {"held": trust.held, "since": trust.standing.since if trust.standing else None},
        "boxes": [
            {
                "number": reading.number,
                "confidence": reading.confidence,
                "accepted": reading.accepted,
                "box": reading.box,
                "digits": [digit.box for digit in reading.digits],
            }
            for reading in outcome.readings
            if reading.number
        ],
    }
