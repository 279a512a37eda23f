"""What a board does while something is measured on it: clock, heat, throttling, load by others, energy.

It is looked at between the timed blocks, from the same thread: a thread of its own would take time from them.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Collection
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from digitcam.benchmarks.results import Conditions
from digitcam.edge.board import Board, CpuTimes, energy_spent_j, throttle_words

EVERY_S = 1.0
"""How often a board is looked at, at most: on a Raspberry Pi that starts tools."""
STRETCH_S = 10.0
"""For how long at least the load by others is averaged: over a whole run a burst would be hidden."""
STICKY = 0xF0000
"""The bits of a Raspberry Pi's `throttled` that stay set from then on."""

Clock = Callable[[], float]


def processor_s() -> float:
    """Return the processor time of this process and its children in seconds, with those children that still run."""
    # The kernel adds a child's time to its parent's only when it has ended.
    running = (
        Path(f"/proc/{child.pid}/stat").read_text(encoding="ascii") for child in multiprocessing.active_children()
    )
    ticks = sum(int(field) for text in running for field in text.rpartition(")")[2].split()[11:13])
    return sum(os.times()[:4]) + ticks / os.sysconf("SC_CLK_TCK")


def listed_mhz(board: Board, cpus: Collection[int]) -> float | None:
    """Return the highest clock that the kernel lists for some CPUs; None where it lists none, as on many a PC."""
    listed = (board.root / f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_available_frequencies" for cpu in cpus)
    clocks = [int(khz) / 1e3 for path in listed if path.exists() for khz in path.read_text(encoding="ascii").split()]
    return max(clocks, default=None)


class _Mark(NamedTuple):
    """How much processor time there was, and how much of it was ours."""

    at_s: float
    own_s: float
    cpu: CpuTimes


class Watch:
    """Watches a board from its making on."""

    def __init__(
        self,
        board: Board,
        cpus: Collection[int],
        clock: Clock = time.monotonic,
        own_s: Clock = processor_s,
    ) -> None:
        """Begin.

        Parameters
        ----------
        board
            The board.
        cpus
            The CPUs that what is measured may run on.
        clock, own_s
            The time, and the processor time of this process and its children, in seconds.
        """
        self._board, self._cpus, self._clock, self._own_s = board, cpus, clock, own_s
        self._began_s, self._next_s, self._samples = clock(), float("-inf"), 0
        self._marks = self._marked()
        self._events, self._bits = board.throttle_events(), [board.throttled()]
        self._governors: list[str] = []
        self._clocks: list[float] = []
        self._temperatures: list[float] = []

    def look(self) -> None:
        """Look at the board, unless that was less than `EVERY_S` ago."""
        if self._clock() < self._next_s:
            return
        self._samples += 1
        self._bits.append(self._board.throttled())
        if (governor := self._board.governor()) and governor not in self._governors:
            self._governors.append(governor)
        for found, kept in (
            (self._board.clock_mhz(self._cpus), self._clocks),
            (self._board.temperature_c(), self._temperatures),
        ):
            if found is not None:
                kept.append(found)
        if self._marks and self._clock() - self._marks[-1].at_s >= STRETCH_S:
            self._marks += self._marked()
        self._next_s = self._clock() + EVERY_S

    def found(self) -> Conditions:
        """Look once more and return what there was."""
        self._next_s = float("-inf")
        self.look()
        seconds = self._clock() - self._began_s
        during, before = self._throttling()
        last = self._marked()
        others, stolen = _most([*self._marks[:1], *last])
        # What is left after the last stretch is too short for one of its own.
        others_most, stolen_most = _most([*(self._marks[:-1] or self._marks), *last])
        return Conditions(
            seconds=round(seconds, 1),
            samples=self._samples,
            governors=self._governors,
            clock_mhz=(min(self._clocks), max(self._clocks)) if self._clocks else None,
            temperature_c=(self._temperatures[0], max(self._temperatures)) if self._temperatures else None,
            throttled=during,
            throttled_before=before,
            others=others,
            stolen=stolen,
            clock_listed_mhz=listed_mhz(self._board, self._cpus),
            others_most=others_most,
            stolen_most=stolen_most,
        )

    def _throttling(self) -> tuple[list[str] | None, list[str] | None]:
        """Return what slowed the board down since the beginning, and what did before that alone."""
        bits = [one for one in self._bits if one is not None]
        events = self._board.throttle_events()
        if not bits and events is None:
            return None, None
        now = new = 0
        for one in bits:
            now |= one
            # What came and went between two looks has left its mark.
            new |= one & STICKY & ~bits[0]
        during = throttle_words(now & ~STICKY | new >> 16)[0]
        if events is not None and self._events is not None and events > self._events:
            during.append("throttled by heat")
        before = throttle_words(bits[0] & STICKY)[1] if bits else []
        return during, [word for word in before if word not in during]

    def _marked(self) -> list[_Mark]:
        """Return a mark; nothing where the machine does not tell its processors' times."""
        cpu = self._board.cpu_times(self._cpus)
        return [] if cpu is None else [_Mark(self._clock(), self._own_s(), cpu)]


def _most(marks: list[_Mark]) -> tuple[float | None, float | None]:
    """Return the largest shares between two marks of the time that other processes had, and that the host took."""
    others, stolen = [], []
    for a, b in pairwise(marks):
        if (total_s := b.cpu.total_s - a.cpu.total_s) > 0:
            # The kernel counts in steps, each its own way.
            others.append(max(0.0, (b.cpu.busy_s - a.cpu.busy_s - (b.own_s - a.own_s)) / total_s))
            stolen.append((b.cpu.stolen_s - a.cpu.stolen_s) / total_s)
    return (round(max(others), 4), round(max(stolen), 4)) if others else (None, None)


class EnergyMeter:
    """The energy that a board spends from its making on: by RAPL's counters, else by a Raspberry Pi 5's power chip."""

    def __init__(self, board: Board, clock: Clock = time.monotonic) -> None:
        self._board, self._clock = board, clock
        self._began_s, self._before = clock(), board.energy()
        self._next_s = float("-inf")
        self._powers_w: list[float] = []

    def look(self) -> None:
        """Ask the power chip where there are no counters, unless that was less than `EVERY_S` ago."""
        if self._before or self._clock() < self._next_s:
            return
        if (power := self._board.power_w()) is not None:
            self._powers_w.append(power)
        self._next_s = self._clock() + EVERY_S

    def spent_j(self) -> float | None:
        """Return it in joules; None where the board tells nothing."""
        if self._before:
            return energy_spent_j(self._before, self._board.energy())
        if not self._powers_w:
            return None
        return sum(self._powers_w) / len(self._powers_w) * (self._clock() - self._began_s)
