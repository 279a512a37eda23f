"""The camera runner: frames in, readings out, until the source ends or somebody asks to stop."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from digitcam.core import draw
from digitcam.core.arrays import UInt8Array
from digitcam.core.bundle import open_bundle
from digitcam.core.errors import ConfigError, SourceError
from digitcam.core.reading import Reading
from digitcam.edge import service
from digitcam.edge.config import RunConfig, Web
from digitcam.edge.pipeline import Reader
from digitcam.edge.sinks import open_sinks
from digitcam.edge.sources import Frame, frames_until, open_source
from digitcam.edge.trust import Trust

if TYPE_CHECKING:
    from digitcam.edge.web import Page

SHEET_FRAMES = 12
"""How many frames a sheet shows."""


def run(config: RunConfig, frames: int | None = None, sheet: Path | None = None) -> int:
    """Read a source's frames and send their readings; sum up on standard error at the end.

    Parameters
    ----------
    config
        What to read, how, and where to send it.
    frames
        Stop after so many; None for as long as the source gives any.
    sheet
        A picture to write of the first frames with what was read in them.

    Returns
    -------
    exit_code
        0; 1 when no reading was accepted; 4 when the source skipped frames that it could not read.

    Raises
    ------
    DigitcamError
        When the configuration, model, source or a sink fails.
    """
    reader = Reader(open_bundle(config.model), config.format, config.threads, config.accept)
    trust = Trust(config.rules) if config.rules else None
    tally = _Tally(SHEET_FRAMES if sheet else 0)
    with ExitStack() as stack:
        stop = stack.enter_context(service.stopping())
        sinks = [stack.enter_context(sink) for sink in open_sinks(config)]
        page = stack.enter_context(_open_page(config.web)) if config.web else None
        source = stack.enter_context(open_source(config.source))
        for frame in islice(frames_until(source, stop), frames):
            readings = reader.read(frame)
            if trust:
                trust, readings = _judge(trust, readings)
            number = trust.number if trust else reader.previous
            for sink in sinks:
                sink.send(readings, number)
            if page:
                page.show(frame, readings, number)
            tally.count(frame, readings)
            # Only frames feed the watchdog: a camera that stalls must look dead, so that it is started anew.
            service.notify("READY=1" if tally.frames == 1 else "WATCHDOG=1")
            if stop.is_set():
                break
        service.notify("STOPPING=1")
    print(tally.summary(), file=sys.stderr)
    if sheet and tally.pictures:
        draw.write_image(sheet, draw.sheet(tally.pictures))
    if source.failed:
        return SourceError.exit_code
    return 0 if tally.accepted else 1


def _judge(trust: Trust, readings: list[Reading]) -> tuple[Trust, list[Reading]]:
    """Return what the rules make of a frame; what becomes of the trusted number is told on standard error."""
    after, judged = trust.after(readings)
    if after.history != trust.history:
        event = after.history[-1]
        print(f"{event.ts.isoformat(timespec='seconds')} {event.kind}: {event.line}", file=sys.stderr)
    return after, judged


def _open_page(config: Web) -> Page:
    try:
        from digitcam.edge.web import Page
    except ModuleNotFoundError as error:
        raise ConfigError(f"[web] needs {error.name}: pip install 'digitcam[web]'") from None
    return Page(config)


@dataclass
class _Tally:
    """What a run has seen; `pictures` keeps the first `keep` frames, annotated, uint8 [height, width, 3]."""

    keep: int
    frames: int = 0
    accepted: int = 0
    known: int = 0
    right: int = 0
    pictures: list[UInt8Array] = field(default_factory=list)

    def count(self, frame: Frame, readings: list[Reading]) -> None:
        """Add a frame; what counts is its best reading."""
        self.frames += 1
        self.accepted += readings[0].accepted
        if frame.truth is not None:
            self.known += 1
            self.right += readings[0].number == frame.truth
        if len(self.pictures) < self.keep:
            self.pictures.append(draw.annotate(frame.image, readings))

    def summary(self) -> str:
        """Return one line for people."""
        text = f"read {self.frames} frames, {self.accepted} accepted"
        if self.known:
            text += f"; right: {self.right} of {self.known} ({self.right / self.known:.1%})"
        return text
