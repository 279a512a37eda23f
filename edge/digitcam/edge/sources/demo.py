"""Frames drawn from fonts, with a truth to compare with: `demo:` or `demo:SEED`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timezone
from types import TracebackType

import cv2

from digitcam.core.arrays import UInt8Array
from digitcam.core.canvas import draw_glyphs, random_number, rng_for
from digitcam.core.errors import ConfigError
from digitcam.edge.sources import Frame

FRAME_SIZE = (640, 320)
"""Width and height of a frame: the canvas, two and a half times as large."""
_STREAM = 1000


class DemoSource:
    """Endless frames of one number each, one to five digits, in many fonts, sizes and lights."""

    def __init__(self, uri: str) -> None:
        seed = uri.removeprefix("demo:") or "0"
        if not seed.isdecimal():
            raise ConfigError(f"{uri}: after 'demo:' comes a number that seeds the drawing, or nothing")
        self.uri, self.seed, self.failed = uri, int(seed), 0

    def __enter__(self) -> DemoSource:
        """Nothing to open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames for ever."""
        seq = 0
        while True:
            start = time.perf_counter()
            image, number = self.draw(seq)
            elapsed_ms = (time.perf_counter() - start) * 1e3
            yield Frame(image, datetime.now(timezone.utc), seq, self.uri, elapsed_ms, number)
            seq += 1

    def draw(self, seq: int) -> tuple[UInt8Array, str]:
        """Return frame `seq`, uint8 [320, 640, 3], and its number."""
        rng = rng_for(self.seed, _STREAM, seq)
        sample = draw_glyphs(random_number((1, 5), rng), rng)
        scene = cv2.resize(sample.image, FRAME_SIZE, interpolation=cv2.INTER_CUBIC)
        return cv2.cvtColor(scene, cv2.COLOR_GRAY2BGR), sample.number  # type: ignore[return-value]
