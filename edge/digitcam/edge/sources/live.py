"""A camera that never ends: its newest frame only, watched for stalls, closed and opened again when it is lost.

A thread takes frames as fast as they come and keeps the last, so nothing queues up behind a slow reader. Who iterates
watches that thread. One that hangs in a driver's C code cannot be stopped: it is left behind, another takes its place
after a pause, and should it ever come back, it closes its camera and ends. Until then it may hold the device, so that
opening it again fails and is tried again. Where STUCK of them hang, only a new process helps: the source ends in an
error.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timezone
from types import TracebackType
from typing import Annotated, Literal, NamedTuple, Protocol

import msgspec

from digitcam.core.arrays import UInt8Array
from digitcam.core.errors import ConfigError, SourceError
from digitcam.edge.log import log
from digitcam.edge.sources import Frame

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""The pause before a camera is opened again: twice as long each time that fails, up to the longest."""
WAIT_S = 0.25
"""How long the iterator waits for a frame before it looks whether it is to stop, or the camera stalls."""
CLOSE_S = 2.0
"""How long closing waits for a frame being taken, before the thread is left to end with the process."""
STUCK = 3
"""How many threads may hang at once."""


class Camera(Protocol):
    """What the capture thread reads from; one thread opens it, reads it and closes it."""

    def read(self) -> UInt8Array | None:
        """Wait for the next frame, uint8 [height, width] or [height, width, 3] BGR; None when no more come."""
        ...

    def close(self) -> None:
        """Let go of the device or connection."""
        ...


class Watch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a camera counts as lost.

    stall_s
        Seconds without a frame, or spent on opening, after which it is closed and opened again.
    tries
        How many failures in a row end the source; None to go on for ever.
    """

    stall_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 10.0
    tries: Annotated[int, msgspec.Meta(ge=1)] | None = None


class Health(msgspec.Struct, frozen=True):
    """How a camera does, for a page, a broker or a log.

    state
        `opening` until the first frame, `live`, `waiting` before it is opened again, `closed`.
    frames, dropped
        How many came, and how many of these were replaced by newer ones before anybody took them.
    reopened
        How often frames came again after the camera was lost.
    since_frame_s
        Seconds since the last frame, None before the first.
    problem
        Why it was lost last; empty while it is live.
    """

    state: Literal["opening", "live", "waiting", "closed"]
    frames: int
    dropped: int
    reopened: int
    since_frame_s: float | None
    problem: str


class _Shot(NamedTuple):
    """A frame uint8 [height, width(, 3)] and when it came, by the calendar and by time.monotonic."""

    image: UInt8Array
    ts: datetime
    at_s: float


def pause_s(losses: int, first_s: float, longest_s: float) -> float:
    """Return the pause after so many losses in a row: none after none, then doubled each time up to the longest."""
    return min(longest_s, first_s * 2.0 ** min(losses - 1, 64)) if losses else 0.0


class LiveSource:
    """The newest frames of a camera.

    A frame's `capture_ms` is how old it was when it was taken from here, its `seq` counts the frames that were taken.
    """

    def __init__(
        self,
        uri: str,
        open: Callable[[], Camera],
        watch: Watch | None = None,
        pauses_s: tuple[float, float] | None = None,
    ) -> None:
        """Prepare a source.

        Parameters
        ----------
        uri
            What it is called in readings and messages, without secrets.
        open
            Opens the camera, in the capture thread. A SourceError means that it may go better later, and so does a
            ConfigError once frames have come; any other error ends the source.
        watch
            When it counts as lost.
        pauses_s
            The first and the longest pause, in seconds; None for FIRST_PAUSE_S and LONGEST_PAUSE_S.
        """
        self.uri, self.failed, self._seq = uri, 0, 0
        self._open, self._watch = open, watch or Watch()
        self.fresh_s: float | None = self._watch.stall_s
        self._pauses_s = pauses_s or (FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._changed = threading.Condition()  # guards all that follows
        self._state: Literal["opening", "live", "waiting", "closed"] = "closed"
        self._since_s = 0.0  # when the state began
        self._shot: _Shot | None = None
        self._last_s: float | None = None
        self._frames = self._dropped = self._reopened = self._losses = 0
        self._problem = ""
        self._fault: Exception | None = None
        self._over = threading.Event()  # of the thread at work; set once it is not wanted any more
        self._thread: threading.Thread | None = None
        self._stuck: list[threading.Thread] = []

    def __enter__(self) -> LiveSource:
        """Start capturing; a camera that cannot be opened is tried again like one that is lost."""
        with self._changed:
            self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop capturing and close the camera; one that hangs is left to the end of the process."""
        with self._changed:
            self._over.set()
            self._enter("closed")
        if self._thread:
            self._thread.join(CLOSE_S)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the newest frame whenever there is one, for ever; see `until`."""
        return self.until(threading.Event())

    def until(self, stop: threading.Event) -> Iterator[Frame]:
        """Yield the newest frame whenever there is one, until `stop` is set.

        Raises
        ------
        SourceError
            When the camera was lost for as many times in a row as it may be, or too many reads of it hang.
        """
        while not stop.is_set():
            if (shot := self._take()) is not None:
                seq, self._seq = self._seq, self._seq + 1
                age_ms = (time.monotonic() - shot.at_s) * 1e3
                yield Frame(shot.image, shot.ts, seq, self.uri, age_ms, steady_s=shot.at_s)

    def health(self) -> Health:
        """Return how the camera does; to be called from any thread."""
        with self._changed:
            since_s = None if self._last_s is None else time.monotonic() - self._last_s
            return Health(self._state, self._frames, self._dropped, self._reopened, since_s, self._problem)

    def _take(self) -> _Shot | None:
        """Wait a moment for a frame; see to it that a camera that stalls is opened again."""
        wait_s = min(WAIT_S, self._watch.stall_s / 4)
        with self._changed:
            self._changed.wait_for(lambda: self._shot or self._fault, wait_s)
            if self._fault:
                raise self._fault
            shot, self._shot = self._shot, None
            if shot is None and self._state in ("opening", "live"):
                heard_s = self._since_s if self._state == "opening" else self._last_s or 0.0
                if time.monotonic() - heard_s > self._watch.stall_s:
                    self._abandon()
            return shot

    # With the lock held.

    def _start(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._capture, args=(self._over,), name="capture", daemon=True)
        self._thread.start()

    def _enter(self, state: Literal["opening", "live", "waiting", "closed"]) -> None:
        self._state, self._since_s = state, time.monotonic()

    def _abandon(self) -> None:
        """Leave the thread at work to itself and start another."""
        self._over.set()
        self._stuck = [thread for thread in (*self._stuck, self._thread) if thread and thread.is_alive()]
        self._lost(f"{self.uri}: no frame for {self._watch.stall_s:g} s")
        if len(self._stuck) >= STUCK:
            self._fault = SourceError(f"{self._problem}: {STUCK} reads of it hang: plug it in anew, or start anew")
        if self._fault is None:
            self._start()

    def _lost(self, problem: str) -> None:
        """Count a loss, and say it where it is news."""
        # Only frames for longer than the pause before them start the pauses anew: a camera that dies at its first
        # frame each time must not be opened every second, for every opening takes memory of a Pi's camera.
        if self._state == "live" and time.monotonic() - self._since_s > pause_s(self._losses, *self._pauses_s):
            self._losses = 0
        self._losses += 1
        self._enter("waiting")
        news, self._problem = problem != self._problem, problem
        if self._watch.tries is not None and self._losses >= self._watch.tries:
            self._fault = SourceError(f"{problem}: gave up after {self._losses} tries")
            self._changed.notify_all()
        elif news:
            log.warning(f"{problem}; trying again")

    # The rest runs in the capture thread, which may have been left behind: then `over` is set.

    def _capture(self, over: threading.Event) -> None:
        try:
            while not over.wait(pause_s(self._losses, *self._pauses_s)):
                self._session(over)
        except Exception as error:
            with self._changed:
                if not over.is_set():
                    over.set()
                    self._fault = error
                    self._changed.notify_all()

    def _session(self, over: threading.Event) -> None:
        """Open the camera and take its frames until no more come, or this thread is over."""
        with self._changed:
            if over.is_set():
                return
            self._enter("opening")
        problem = f"{self.uri}: no more frames come"
        try:
            with closing(self._open()) as camera:
                while not over.is_set() and (image := camera.read()) is not None:
                    self._put(over, _Shot(image, datetime.now(timezone.utc), time.monotonic()))
        except SourceError as error:
            problem = str(error)
        except ConfigError as error:
            # It has taken these settings before: another camera may stand in its place, or it has not woken up yet.
            if not self._frames:
                raise
            problem = str(error)
        with self._changed:
            if not over.is_set():
                self._lost(problem)
                if self._fault:
                    over.set()

    def _put(self, over: threading.Event, shot: _Shot) -> None:
        with self._changed:
            if over.is_set():
                return
            if self._state != "live":
                self._enter("live")
                self._reopened += self._frames > 0
                if self._problem:
                    log.info(f"{self.uri}: frames come again")
                self._problem = ""
            self._frames += 1
            self._dropped += self._shot is not None
            self._shot, self._last_s = shot, shot.at_s
            self._changed.notify_all()
