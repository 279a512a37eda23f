"""From a frame to readings: preprocess, network, decode, each timed."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

from digitcam.core.arrays import UInt8Array
from digitcam.core.boxes import BoxXYWH
from digitcam.core.bundle import Bundle
from digitcam.core.decode import Line, decode
from digitcam.core.errors import ConfigError
from digitcam.core.preprocess import letterbox
from digitcam.core.reading import Latency, Model, Reading, describe
from digitcam.edge import engines
from digitcam.edge.regions import View, views
from digitcam.edge.sources import Frame


def image_reader(bundle: Bundle, format: str) -> Callable[[Sequence[UInt8Array]], list[list[Line]]]:
    """Load a format; return what reads images already of the input's size, one at a time.

    It takes images uint8 [H, W] or [H, W, 3] BGR, grey and colour turned as on the device, and gives for each its
    numbers, best first, boxes in its pixels. For an image of another size it raises ConfigError.
    """
    engine, card = engines.load(bundle, format), bundle.card
    size = card.input.height, card.input.width

    def tensor(image: UInt8Array) -> UInt8Array:
        if image.shape[:2] != size:
            raise ConfigError(
                f"{bundle.path}: reads images of {size[1]}x{size[0]}, these are of {image.shape[1]}x{image.shape[0]}: "
                "name a data set or a bundle of the other's size"
            )
        return letterbox(image, card.input)[0]

    def read(images: Sequence[UInt8Array]) -> list[list[Line]]:
        every = (engine.run(tensor(image)) for image in images)
        return [decode(found["logits"][0], found["boxes"][0], card.head, card.thresholds) for found in every]

    return read


class Reader:
    """Reads frames with one network of a bundle; remembers the last accepted number of each region."""

    def __init__(
        self, bundle: Bundle, format: str | None = None, threads: int = 1, accept: float | None = None
    ) -> None:
        format = format or engines.default_format()
        self.engine = engines.load(bundle, format, threads)
        self.card = bundle.card
        self.accept = bundle.card.thresholds.accept if accept is None else accept
        self.model = Model(bundle.card.name, format, bundle.card.files[f"model.{format}"])
        self.previous: dict[str, str] = {}

    def read(self, frame: Frame) -> list[Reading]:
        """Return the numbers in a frame, best first; one reading with an empty number when there is none."""
        return self.read_view(frame, views(frame.image, ())[0])

    def read_view(self, frame: Frame, view: View) -> list[Reading]:
        """Return the numbers in a part of a frame, as `read` does."""
        start = time.perf_counter()
        tensor, placement = letterbox(view.image, self.card.input)
        prepared = time.perf_counter()
        outputs = self.engine.run(tensor)
        inferred = time.perf_counter()
        head, thresholds = self.card.head, self.card.thresholds

        def placed(box_xywh: BoxXYWH) -> BoxXYWH:
            return view.to_frame(placement.to_frame(box_xywh))

        lines = decode(outputs["logits"][0], outputs["boxes"][0], head, thresholds)
        described = [(line, *describe(line, placed)) for line in lines or [Line(())]]
        marks = (start, prepared, inferred, time.perf_counter())
        times = [frame.capture_ms, *((b - a) * 1e3 for a, b in itertools.pairwise(marks))]
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
