"""The camera runner: frames in, readings out, until the source ends or somebody asks to stop."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import msgspec

from digitcam.core import draw
from digitcam.core.arrays import UInt8Array
from digitcam.core.bundle import open_bundle
from digitcam.core.errors import ConfigError, DigitcamError, SourceError
from digitcam.core.every import every
from digitcam.core.reading import Reading
from digitcam.edge import health_file, service
from digitcam.edge.config import ConfigFile, RunConfig
from digitcam.edge.config.rules import Rules
from digitcam.edge.control import Control, SetNumber
from digitcam.edge.folders import check_folders
from digitcam.edge.health import Health
from digitcam.edge.log import log, write_as
from digitcam.edge.outcome import Outcome, readings_of
from digitcam.edge.parts import Parts
from digitcam.edge.pipeline import Reader
from digitcam.edge.regions import cut, views
from digitcam.edge.secret import CREDENTIALS, handed, read_secret
from digitcam.edge.sinks import Desk, Sink, plan_sinks
from digitcam.edge.sinks.notices import Notices
from digitcam.edge.sources import Frame, Source, Waiting, frames_until, is_recording, open_source
from digitcam.edge.trust import Trust

if TYPE_CHECKING:
    from digitcam.edge.sinks.history import HistorySink

SHEET_FRAMES = 12
"""How many frames a sheet shows."""
IDLE_S = 5.0
"""How often the run is looked after while no frame comes, and how long that is no news."""
JUMP_S = 1.0
"""From how many seconds on a step of the clock is one: what drifts within the time between two frames is less."""
HELD_AFTER_S = Rules().held_after_s
"""After how long without an accepted reading a region without rules counts as not read for long."""
STATUS_S = 10.0
"""How often the service manager is told how it goes."""
OF_TODAY = ("mqtt", "webhook", "history", "hard_frames")
"""The tables of a configuration that pass on or keep numbers as those of now."""


def run(
    config: RunConfig,
    frames: int | None = None,
    sheet: Path | None = None,
    file: ConfigFile | None = None,
    record: Path | None = None,
) -> int:
    """Read a source's frames and send their readings; sum up on standard error at the end.

    Parameters
    ----------
    config
        What to read, how, and where to send it.
    frames
        Stop after so many; None for as long as the source gives any.
    sheet
        A picture to write of the first frames with what was read in them.
    file
        Where the configuration came from: SIGHUP has it read anew from there. None if it is never to change.
    record
        A file to keep the frames in, see `sinks.recording`.

    Returns
    -------
    exit_code
        0; 1 when no reading was accepted; 4 when the source skipped frames that it could not read.

    Raises
    ------
    DigitcamError
        When the configuration, model, source or a sink fails.
    """
    control = Control()
    tally = _Tally(SHEET_FRAMES if sheet else 0)
    # For what has to be seen to though no frame comes. The event is another one each time.
    waking = every(IDLE_S, lambda: control.wake.set(), "clock")
    with service.heeding_signals(control), waking, Parts() as parts:
        runner = Runner(config, file or ConfigFile(), control, parts, record)
        with health_file.written(runner.health):
            for frame in islice(runner.frames(), frames):
                tally.count(frame, runner.read(frame))
                # Only fresh frames feed the watchdog: a camera that stalls must look dead, so that it is started anew.
                service.notify("READY=1" if tally.frames == 1 else "WATCHDOG=1")
                if control.stop:
                    break
        service.notify("STOPPING=1")
        failed = runner.source.failed
    log.info(tally.summary())
    if sheet and tally.pictures:
        draw.write_image(sheet, draw.sheet(tally.pictures))
    if failed:
        return SourceError.exit_code
    return 0 if tally.accepted else 1


def check(config: RunConfig, file: ConfigFile) -> None:
    """See whether all that a configuration names can be made; nothing is opened.

    Raises
    ------
    DigitcamError
        As `run`, when the model, the source's URI or a sink cannot be used.
    """
    _reader(config)
    open_source(config.source)
    check_folders(config)
    for table, what in (("mqtt", "password"), ("web", "token"), ("webhook", "token")):
        part = getattr(config, table)
        path = getattr(part, f"{what}_file", None)
        if path and not path.startswith(CREDENTIALS):
            read_secret(table, what, path, None)
    for sink in plan_sinks(config, Desk(Health(), Control(), file)):
        sink.make()


class Runner:
    """What is open while a run goes: the source, the network, the sinks; and what is trusted of each region."""

    def __init__(
        self, config: RunConfig, file: ConfigFile, control: Control, parts: Parts, record: Path | None = None
    ) -> None:
        """Open all that a configuration names; what is opened is closed with `parts`."""
        self.health = Health()
        self._control, self._parts, self._record = control, parts, record
        self._desk = Desk(self.health, control, file)
        self._engine: tuple[object, ...] | None = None
        self._previous: dict[str, str] = {}
        # Width and height, in pixels: of the last frame, and of those that the regions are for.
        self._size: tuple[int, int] | None = None
        self._usual: tuple[int, int] | None = None
        self._odd = Notices("regions")
        self._proven: RunConfig | None = None  # the last that a frame was read with
        self._trusts: dict[str, Trust] = {}
        self._clock: tuple[datetime, float] | None = None  # the calendar's time and the steady one, at the last look
        self._read_s: dict[str, float] = {}  # of each region, when a reading was accepted last, or it began
        self._status_at_s = self._frame_at_s = 0.0
        self._open(config)

    def frames(self) -> Iterator[Frame]:
        """Yield the source's frames until it ends or is asked to stop; do in between what is asked for."""
        source: Source | None = None
        frames: Iterator[Frame] = iter(())
        while not self._control.stop:
            if source is not self.source or isinstance(source, Waiting):
                source = self.source
                frames = frames_until(source, self._control.wake)
            try:
                for frame in frames:
                    yield frame
                    if self._control.wake.is_set():
                        break
                else:
                    if not self._control.wake.is_set():
                        return
            except ConfigError as error:
                # What only the camera itself refuses is seen after the reload that brought it.
                if self._proven is None or self._proven.source == self.config.source:
                    raise
                log.warning(f"{error}: back to the configuration before")
                self._open(self._proven)
            self._attend()

    def read(self, frame: Frame) -> list[Outcome]:
        """Read a frame, send what was read to the sinks, and return it."""
        outcomes = []
        self._proven = self.config
        self._look_at_clock(frame.ts, frame.steady_s)
        for region, readings in self._readings(frame):
            number, trust = self._reader.previous.get(region), self._trusts.get(region)
            if trust:
                after, readings = trust.after(readings)
                self._trust(region, after)
                number, trust = after.number, after
            outcomes.append(Outcome(region, readings, number, trust))
        self._frame_at_s = time.monotonic()
        self._read_s |= {outcome.region: self._frame_at_s for outcome in outcomes if outcome.best.accepted}
        self._note_held()
        self.health.count(outcomes)
        for sink in self._sinks:
            sink.send(frame, outcomes)
        self._tell_status(outcomes)
        return outcomes

    def _readings(self, frame: Frame) -> list[tuple[str, list[Reading]]]:
        """Return each region's name and readings.

        In frames of another size than those before, regions in pixels lie elsewhere: they give no number, nor does any
        region where one reaches out of the frame.

        Raises
        ------
        ConfigError
            When one reaches out of a file's first frame: then the region is wrong. A camera may give others yet.
        """
        height, width = frame.image.shape[:2]
        before, self._size = self._size, (width, height)
        regions = fitting = self.config.regions
        odd = ""
        if regions and self._usual and self._size != self._usual:
            fitting = tuple(region for region in regions if not region.in_pixels)
            odd = f"the frames are {width}x{height} now, and were {self._usual[0]}x{self._usual[1]}"
            odd += ": regions in pixels are rejected: draw them anew" if fitting != regions else ""
        try:
            seen = {view.region: view for view in views(frame.image, fitting)} if fitting or not regions else {}
            self._usual = self._usual or self._size
        except ConfigError as error:
            if before is None and not isinstance(self.source, Waiting):
                raise
            seen, odd = {}, f"{str(error).removeprefix('regions: ')}: such frames are rejected"
        if odd:
            self._odd.tell(odd)
        else:
            self._odd.clear(f"frames of {width}x{height} fit again")
        read, unread = self._reader.read_view, self._reader.unread
        return [
            (name, read(frame, seen[name]) if name in seen else [unread(frame, name, "frame_size")])
            for name in self.config.numbers
        ]

    def _open(self, config: RunConfig, anew: bool = False) -> None:
        """Open what a configuration names and is not open yet, or the network `anew`; close what it does not name."""
        write_as(config.log)
        config = _replayed(config) if is_recording(config.source) else config
        engine = (config.bundle, config.format, config.threads, config.accept, config.close_up)
        reader = None
        # To share a small frame among threads costs OpenCV more than it saves.
        cv2.setNumThreads(config.threads)
        if anew or engine != self._engine:
            reader = _reader(config)
        history = self._open_history(config)
        planned = plan_sinks(config, self._desk._replace(history=history), self._record)
        for name in self._parts.names():
            if name not in ("source", "history", *(sink.name for sink in planned)):
                self._parts.drop(name)
        self._sinks: list[Sink] = [self._parts.keep(sink.name, sink.settings, sink.make) for sink in planned]
        if history:
            self._sinks.append(history)
        self.source = self._parts.keep("source", config.source, lambda: open_source(config.source))
        self.health.source = self.source
        # Nothing can fail from here on.
        if reader:
            reader.previous = self._previous
            self._reader, self._engine = reader, engine
        self.config = config
        self._trusts = {
            name: trust if (trust := self._trusts.get(name)) and trust.rules == rules else _begun(name, rules, history)
            for name in config.numbers
            if (rules := config.rules_of(name))
        }
        now_s = time.monotonic()
        self._read_s = {name: self._read_s.get(name, now_s) for name in config.numbers}
        self._note_held()

    def _open_history(self, config: RunConfig) -> HistorySink | None:
        if config.history is None:
            self._parts.drop("history")
            return None
        # SQLite is loaded only where it is needed.
        from digitcam.edge.sinks.history import HistorySink

        return self._parts.keep("history", config.history, lambda: HistorySink(config.history))

    def _attend(self) -> None:
        """Do what signals and other threads asked for."""
        reload, numbers = self._control.taken()
        for asked in numbers:
            self._set(asked)
        if reload:
            self._reload()
        if isinstance(self.source, Waiting) and time.monotonic() - self._frame_at_s > IDLE_S:
            self._wait()

    def _wait(self) -> None:
        """See to what changes while no frame comes."""
        now = datetime.now(timezone.utc)
        self._look_at_clock(now, time.monotonic())
        for name, trust in self._trusts.items():
            self._trust(name, trust.unread(now))
        self._note_held()
        if self.health.fresh():
            # A source that gives a frame a minute is alive in between.
            service.notify("READY=1\nWATCHDOG=1")

    def _look_at_clock(self, ts: datetime, steady_s: float | None) -> None:
        """Have the rules go on with the time that has passed where the clock was set since the last look."""
        before, self._clock = self._clock, None if steady_s is None else (ts, steady_s)
        if before is None or steady_s is None:
            return
        jump = ts - before[0] - timedelta(seconds=steady_s - before[1])
        if abs(jump.total_seconds()) > JUMP_S:
            self._trusts = {name: trust.clock_set(jump) for name, trust in self._trusts.items()}

    def _note_held(self) -> None:
        """Note which regions were not read for long: where no trusted number stands, by the last accepted reading."""
        now_s, held = time.monotonic(), {}
        for name in self.config.numbers:
            trust, unread_s = self._trusts.get(name), now_s - self._read_s[name]
            if trust and trust.standing:
                held[name] = trust.held
                continue
            held[name] = unread_s > (trust.rules.held_after_s if trust else HELD_AFTER_S)
            if held[name] and not self.health.held.get(name):
                log.warning(f"{name + ': ' if name else ''}no reading was accepted for {unread_s:.0f} s")
        self.health.held = held

    def _reload(self) -> None:
        """Read the configuration anew; one that cannot be used changes nothing."""
        before = self.config
        try:
            config = self._desk.file.load()
            if self._size and config.source == before.source:
                # Better now than with the next frame, when there would be no way back.
                for region in config.regions:
                    cut(region, *self._size)
            # Another network may have come under the same name.
            self._open(config, anew=True)
            self._usual = self._size if config.source == before.source else None
            log.info("the configuration was read anew")
        except DigitcamError as error:
            log.warning(f"{error}: the configuration stays as it was")
            self._open(before)

    def _set(self, asked: SetNumber) -> None:
        trust = self._trusts.get(asked.region)
        try:
            if trust is None:
                raise ValueError(f"{asked.region or 'the number'} has no rules")
            self._trust(asked.region, trust.told(asked.number, datetime.now(timezone.utc)))
            self.health.refused = None
        except ValueError as error:
            # Who asked is not at the log.
            self.health.refused = f"cannot set {asked.number!r}: {error}"
            log.warning(self.health.refused)

    def _trust(self, region: str, after: Trust) -> None:
        """Keep what is trusted now; what became of the number is logged."""
        before, self._trusts[region] = self._trusts[region], after
        if after.history != before.history:
            event = after.history[-1]
            of = f"{region}: " if region else ""
            log.info(f"{event.ts.isoformat(timespec='seconds')} {of}{event.kind}: {event.line}")

    def _tell_status(self, outcomes: list[Outcome]) -> None:
        now_s = time.monotonic()
        if now_s >= self._status_at_s:
            self._status_at_s = now_s + STATUS_S
            stands = ", ".join(f"{o.region + ' ' if o.region else ''}{o.number or 'nothing yet'}" for o in outcomes)
            service.notify(f"STATUS=reads {stands}")


def _reader(config: RunConfig) -> Reader:
    """Return what reads with a configuration's network, once its bundle is signed as the configuration asks."""
    bundle = open_bundle(config.bundle)
    if config.signers:
        from digitcam.edge.signature import signer_of

        signer_of(bundle, Path(handed(config.signers)))
    return Reader(bundle, config.format, config.threads, config.accept, config.close_up)


def _replayed(config: RunConfig) -> RunConfig:
    """Return a configuration without what would take a recording's numbers for those of now, or begin with these."""
    if left_out := [table for table in OF_TODAY if getattr(config, table)]:
        log.info(f"{config.source} is a recording: {', '.join(left_out)} of the configuration are left out")
    return msgspec.structs.replace(config, **dict.fromkeys(OF_TODAY))


def _begun(region: str, rules: Rules, history: HistorySink | None) -> Trust:
    """Return what is trusted of a region at first: what stood last, where that was kept and can still be."""
    trust = Trust(rules)
    row = history.last(region) if history else None
    if row and row.number:
        try:
            return trust.resumed(row.number, row.ts)
        except ValueError as error:
            log.warning(f"the number in the history is not resumed: {error}")
    return trust


@dataclass
class _Tally:
    """What a run has seen; `pictures` keeps the first `keep` frames, annotated, uint8 [height, width, 3]."""

    keep: int
    frames: int = 0
    accepted: int = 0
    known: int = 0
    right: int = 0
    pictures: list[UInt8Array] = field(default_factory=list)

    def count(self, frame: Frame, outcomes: list[Outcome]) -> None:
        """Add a frame; it is accepted when one of its regions is, and right when one shows its known number."""
        self.frames += 1
        self.accepted += any(outcome.best.accepted for outcome in outcomes)
        if frame.truth is not None:
            self.known += 1
            self.right += any(outcome.best.number == frame.truth for outcome in outcomes)
        if len(self.pictures) < self.keep:
            self.pictures.append(draw.annotate(frame.image, readings_of(outcomes)))

    def summary(self) -> str:
        """Return one line for people."""
        text = f"read {self.frames} frames, {self.accepted} accepted"
        if self.known:
            text += f"; right: {self.right} of {self.known} ({self.right / self.known:.1%})"
        return text
