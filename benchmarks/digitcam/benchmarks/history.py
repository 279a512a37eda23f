"""`bench history`: what was measured, commit by commit, and what fell beyond noise from one to the next."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeAlias

import msgspec

from digitcam.benchmarks.comparison import NOISE
from digitcam.benchmarks.environment import Environment
from digitcam.benchmarks.gather import gather, machine, threads
from digitcam.benchmarks.images import others
from digitcam.benchmarks.results import (
    AccuracyResult,
    Entry,
    Judged,
    LatencyResult,
    OverheadResult,
    PeersResult,
    Result,
    SeedResult,
)
from digitcam.benchmarks.results.history import Kind
from digitcam.benchmarks.statistics import independent_interval, wilson
from digitcam.core.errors import BenchmarkInvalidError, SinkError
from digitcam.core.strict_json import decode_json

FILE = "history.jsonl"
Series: TypeAlias = tuple[str, ...]
"""What lines of the same measured thing have in common."""


class Drop(NamedTuple):
    """A line that is worse than the one before it of the same series by more than noise, and how much in words."""

    before: Entry
    after: Entry
    told: str


def append_new(folder: Path) -> int:
    """Append to `history.jsonl` what the folder's results hold and its last lines do not; return how many lines.

    Raises
    ------
    BenchmarkInvalidError
        When there is no result, or a result or a line of the history is none.
    SinkError
        When the history cannot be written.
    """
    path = folder / FILE
    commit, date = _commit(folder), datetime.now(timezone.utc).date().isoformat()
    made = [entry for result in gather(folder).values() for entry in entries(result, commit, date)]
    new = unseen(read_history(path), made)
    try:
        with path.open("ab") as file:
            file.write(b"".join(msgspec.json.encode(entry) + b"\n" for entry in new))
    except OSError as error:
        raise SinkError(f"{path}: cannot write the history: {error.strerror}") from None
    return len(new)


def read_history(path: Path) -> list[Entry]:
    """Read a history, in the order it was written; one that does not exist is empty.

    Raises
    ------
    BenchmarkInvalidError
        With the line that cannot be read.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BenchmarkInvalidError(f"{path}: cannot read the history: {error.strerror}") from None
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(decode_json(line, Entry))
        except msgspec.MsgspecError as error:
            raise BenchmarkInvalidError(f"{path}: line {number}: {error}: take the line out") from None
    return found


def entries(result: Result, commit: str, date: str) -> list[Entry]:
    """Return what of a result a history keeps: shares and ratios, for times of different runs do not compare.

    A measurement that calls itself invalid gives none, nor does one whose kind has no such figure. `commit` stands for
    that of results from before they told theirs.
    """
    found = []
    for kind, bundle, format, data, value, images, on, read in _measured(result):
        interval = None
        if images:
            low, high = wilson(round(value * images), images)
            interval = round(low, 6), round(high, 6)
        of = on.commit or commit
        found.append(Entry(of, date, kind, bundle, format, data, round(value, 6), interval, images, machine(on), read))
    return found


_Measured: TypeAlias = tuple[Kind, str, str, str, float, int | None, Environment, str | None]


def _measured(result: Result) -> Iterator[_Measured]:
    """Yield kind, bundle, format, data, value, images (None of a ratio), environment and fingerprint, see `Entry`."""
    if isinstance(result, Judged) and not result.holds:
        return
    match result:
        case AccuracyResult():
            name, on = result.subject.name, result.environment
            for data in result.data_sets:
                for format, found in data.formats.items():
                    share = found.metrics.sequence_accuracy
                    read = f"{data.data}, {data.split}"
                    yield "accuracy", name, format, read, share, data.images, on, data.fingerprint
        case LatencyResult():
            name, on = result.subject.name, result.environment
            for count, formats in result.by_threads.items():
                for format, times in formats.items():
                    if format != result.reference:
                        than = f"times {result.reference}, {threads(count)}"
                        yield "latency", name, format, than, times.ratio, None, on, None
        case OverheadResult():
            name, on = result.subject.name, result.environment
            frame = "frames of {}x{}".format(*result.frame)
            yield "overhead", name, result.format, frame, result.run_fps / result.bare_fps, None, on, None
        case PeersResult():
            # So many frames are another thing than the first of them, which other results are of.
            read = ", ".join(filter(None, (result.source, result.split, f"{result.frames} frames")))
            for name, peer in result.peers.items():
                yield "peers", name, peer.setting, read, peer.sequence_accuracy, result.frames, result.environment, None
        case SeedResult():
            for name, run in result.runs.items():
                right = run.metrics.sequence_accuracy
                yield "seed", name, "torch", run.test_data, right, run.metrics.images, run.environment, None


def unseen(known: Iterable[Entry], made: Iterable[Entry]) -> list[Entry]:
    """Return those that do not say the same as the last line of the same thing on the same machine."""
    last = {(series(entry), entry.environment): _content(entry) for entry in known}
    new = []
    for entry in made:
        key = series(entry), entry.environment
        if last.get(key) != _content(entry):
            last[key] = _content(entry)
            new.append(entry)
    return new


def series(entry: Entry) -> Series:
    """Return what is followed over commits: of ratios of times on one kind of machine, of shares on any."""
    timed = (entry.environment,) if entry.interval is None else ()
    return (entry.kind, entry.bundle, entry.format, entry.data, *timed)


def by_series(known: Iterable[Entry]) -> dict[Series, list[Entry]]:
    """Return the lines of each series, in order."""
    found: dict[Series, list[Entry]] = {}
    for entry in known:
        found.setdefault(series(entry), []).append(entry)
    return found


def on_same_images(lines: Iterable[Entry]) -> list[list[Entry]]:
    """Split the lines of a series where the images became others."""
    parts: list[list[Entry]] = []
    known: str | None = None
    for entry in lines:
        if not parts or others(known, entry.fingerprint):
            parts.append([])
        parts[-1].append(entry)
        known = entry.fingerprint or known
    return parts


def drops(known: Iterable[Entry]) -> list[Drop]:
    """Return each line that is worse than the one before it of its series, on the same images, by more than noise.

    Shares by their 95 % interval, the images taken for others; ratios of times by the factor `comparison.NOISE`.
    """
    found = []
    for lines in by_series(known).values():
        for part in on_same_images(lines):
            for before, after in pairwise(part):
                if told := _worse(before, after):
                    found.append(Drop(before, after, told))
    return found


def _worse(before: Entry, after: Entry) -> str:
    if before.images and after.images:
        now, was = round(after.value * after.images), round(before.value * before.images)
        low, high = independent_interval(now, after.images, was, before.images)
        points = 100 * (after.value - before.value)
        return f"{points:+.2f} points ({100 * low:+.2f} to {100 * high:+.2f})" if high < 0 else ""
    return f"{after.value:.2f}, was {before.value:.2f}" if before.value > NOISE * after.value else ""


def _content(entry: Entry) -> Entry:
    return msgspec.structs.replace(entry, commit="", date="")


def _commit(folder: Path) -> str:
    """Return the commit of the working tree that holds the folder; `unknown` outside of one, as on a device."""
    command = ["git", "-C", str(folder), "rev-parse", "--short=12", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
