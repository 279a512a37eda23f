"""From a frame to readings: preprocess, network, decode, each timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from digitcam.core import closeup
from digitcam.core.arrays import UInt8Array
from digitcam.core.bundle import Bundle
from digitcam.core.card import Card
from digitcam.core.decode import Line, decode
from digitcam.core.errors import ConfigError
from digitcam.core.preprocess import letterbox
from digitcam.core.reading import Latency, Model, Reading, describe
from digitcam.edge import engines
from digitcam.edge.regions import View, views
from digitcam.edge.sources import Frame


class TimedLook:
    """One network's look at images of any size, one after another; adds up what its parts took."""

    def __init__(self, engine: engines.Engine, card: Card) -> None:
        self.engine, self.card = engine, card
        self.preprocess_s = self.inference_s = 0.0

    def __call__(self, images: Sequence[UInt8Array]) -> list[list[Line]]:
        """As `closeup.Look`."""
        return list(map(self._lines, images))

    def _lines(self, image: UInt8Array) -> list[Line]:
        start = time.perf_counter()
        tensor, placement = letterbox(image, self.card.input)
        prepared = time.perf_counter()
        outputs = self.engine.run(tensor)
        self.preprocess_s += prepared - start
        self.inference_s += time.perf_counter() - prepared
        lines = decode(outputs["logits"][0], outputs["boxes"][0], self.card.head, self.card.thresholds)
        return [line.mapped(placement.to_frame) for line in lines]


def image_reader(bundle: Bundle, format: str) -> Callable[[Sequence[UInt8Array]], list[list[Line]]]:
    """Load a format; return what reads images of the input's size, one at a time.

    It takes images uint8 [H, W] or [H, W, 3] BGR, grey and colour turned as on the device, and gives for each its
    numbers, best first, boxes in its pixels. For an image of another size it raises ConfigError.
    """
    card = bundle.card
    look, (height, width) = TimedLook(engines.load(bundle, format), card), (card.input.height, card.input.width)

    def read(images: Sequence[UInt8Array]) -> list[list[Line]]:
        for image in images:
            if image.shape[:2] != (height, width):
                raise ConfigError(
                    f"{bundle.path}: reads images of {width}x{height}, these are of {image.shape[1]}x{image.shape[0]}: "
                    "name a data set or a bundle of the other's size"
                )
        return closeup.read(images, look, card.input, card.head)

    return read


class Reader:
    """Reads frames with one network of a bundle; remembers the last accepted number of each region."""

    def __init__(
        self,
        bundle: Bundle,
        format: str | None = None,
        threads: int = 1,
        accept: float | None = None,
        close_up: bool = True,
    ) -> None:
        format = format or engines.default_format()
        self.engine = engines.load(bundle, format, threads)
        self.card = bundle.card if close_up else bundle.card.once()
        self.accept = bundle.card.thresholds.accept if accept is None else accept
        self.model = Model(bundle.card.name, format, bundle.card.files[f"model.{format}"])
        self.previous: dict[str, str] = {}

    def read(self, frame: Frame) -> list[Reading]:
        """Return the numbers in a frame, best first; one reading with an empty number when there is none."""
        return self.read_view(frame, views(frame.image, ())[0])

    def read_view(self, frame: Frame, view: View) -> list[Reading]:
        """Return the numbers in a part of a frame, as `read` does."""
        start, look = time.perf_counter(), TimedLook(self.engine, self.card)
        (lines,) = closeup.read([view.image], look, self.card.input, self.card.head)
        described = [(line, *describe(line, view.to_frame)) for line in lines or [Line(())]]
        decode_s = time.perf_counter() - start - look.preprocess_s - look.inference_s
        times = [frame.capture_ms, *(1e3 * s for s in (look.preprocess_s, look.inference_s, decode_s))]
        latency = Latency(*(round(ms, 3) for ms in (*times, sum(times))))
        readings = []
        for line, digits, box in described:
            confidence = line.confidence if digits else 0.0
            reason = "" if confidence >= self.accept and digits else "low_confidence" if digits else "no_number"
            found = {"number": line.number, "digits": digits, "box": box, "confidence": round(confidence, 4)}
            readings.append(self._reading(frame, view.region, latency, reason, **found))
        if readings[0].accepted:
            self.previous[view.region] = readings[0].number
        return readings

    def unread(self, frame: Frame, region: str, reason: str) -> Reading:
        """Return what stands for a part of a frame that was not looked at: a reading without a number."""
        capture_ms = round(frame.capture_ms, 3)
        latency = Latency(capture_ms, 0.0, 0.0, 0.0, capture_ms)
        nothing = {"number": "", "digits": (), "box": (0.0, 0.0, 0.0, 0.0), "confidence": 0.0}
        return self._reading(frame, region, latency, reason, **nothing)

    def _reading(self, frame: Frame, region: str, latency: Latency, reason: str, **found: Any) -> Reading:
        return Reading(
            ts=frame.ts,
            seq=frame.seq,
            source=frame.source,
            region=region,
            accepted=not reason,
            reason=reason,
            previous=self.previous.get(region),
            model=self.model,
            latency_ms=latency,
            **found,
        )
