"""What a comparison of two results tells, whatever their kind."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from digitcam.benchmarks.environment import Environment
from digitcam.benchmarks.gather import machine
from digitcam.benchmarks.results import (
    AccuracyResult,
    DebugResult,
    LatencyResult,
    OverheadResult,
    PeersResult,
    SweepResult,
)

Compared: TypeAlias = AccuracyResult | LatencyResult | PeersResult | OverheadResult | SweepResult | DebugResult
NOISE = 1.1
"""Two runs of the same benchmark of times differ by up to this factor."""


class Comparison(NamedTuple):
    """Two results side by side.

    remarks
        What differs about how they were made.
    table
        Rows of cells, the header first.
    drops
        What is worse in the second by more than noise.
    """

    remarks: list[str]
    table: list[list[str]]
    drops: list[str]

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(*self.table, strict=True)]
        rows = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in self.table]
        drops = [f"worse: {drop}" for drop in self.drops] or ["nothing is worse by more than noise"]
        return "\n".join([*(f"note: {note}" for note in self.remarks), *rows, *drops])


def notes_on(a: Compared, b: Compared) -> list[str]:
    """Return what differs about the networks, the machines and the versions."""
    notes = []
    if a.subject.name != b.subject.name:
        notes.append(f"networks: {a.subject.name} and {b.subject.name}")
    elif changed := [f for f, sha in a.subject.sha256.items() if b.subject.sha256.get(f, sha) != sha]:
        notes.append(f"{a.subject.name} has changed: {', '.join(changed)}")
    for name, found, other in (("only in the first", a, b), ("only in the second", b, a)):
        if missing := [format for format in found.subject.sha256 if format not in other.subject.sha256]:
            notes.append(f"formats {name}: {', '.join(missing)}")
    return notes + _machines(a.environment, b.environment)


def same_machine(a: Compared, b: Compared) -> bool:
    """Return whether times of two results can be held against each other: by what `gather.machine` tells apart."""
    return machine(a.environment) == machine(b.environment)


def _machines(a: Environment, b: Environment) -> list[str]:
    notes = []
    if machine(a) != machine(b):
        notes.append(f"different machines: {machine(a)} and {machine(b)}")
    versions = [
        f"{name} {a.packages.get(name, 'none')} and {b.packages.get(name, 'none')}"
        for name in sorted({*a.packages, *b.packages})
        if a.packages.get(name) != b.packages.get(name)
    ]
    return notes + ([f"versions: {', '.join(versions)}"] if versions else [])
