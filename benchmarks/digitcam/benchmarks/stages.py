"""Whole runs taken apart: capture, preprocess, network, decode, and what follows until a reading is sent."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from digitcam.benchmarks.results import FormatStages, Quantiles, Stages
from digitcam.core.bundle import Bundle
from digitcam.core.errors import SourceError
from digitcam.edge.config import ConfigFile, RunConfig
from digitcam.edge.config.rules import Rules
from digitcam.edge.control import Control
from digitcam.edge.parts import Parts
from digitcam.edge.runner import Runner
from digitcam.edge.sources import Frame, open_source
from digitcam.edge.sources.uris import redact

BLOCK = 16
"""Frames that one format reads before the next has its turn."""


class FrameTimes(NamedTuple):
    """What the stages of one frame took, in milliseconds."""

    capture: float
    preprocess: float
    inference: float
    decode: float
    publish: float

    @property
    def in_hand(self) -> float:
        """From the frame at hand to the reading sent."""
        return sum(self[1:])


@contextmanager
def open_runners(bundle: Bundle, formats: Sequence[str], threads: int = 1) -> Iterator[dict[str, Runner]]:
    """Give a runner for each format. They judge by rules and write JSON lines, to nowhere: as for a fast reader."""
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(stack.enter_context(Path(os.devnull).open("w"))))
        runners = {}
        for format in formats:
            rules = Rules(window=1, needed=1)
            config = RunConfig(model=str(bundle.path), format=format, threads=threads, rules=rules)
            runners[format] = Runner(config, ConfigFile(), Control(), stack.enter_context(Parts()))
        yield runners


def read_timed(runner: Runner, frames: Iterable[Frame]) -> list[FrameTimes]:
    """Read frames, each timed."""
    times = []
    for frame in frames:
        start = time.perf_counter()
        outcomes = runner.read(frame)
        in_hand_ms = (time.perf_counter() - start) * 1e3
        of = outcomes[0].best.latency_ms
        publish_ms = in_hand_ms - of.preprocess - of.inference - of.decode
        times.append(FrameTimes(frame.capture_ms, of.preprocess, of.inference, of.decode, publish_ms))
    return times


def stages(
    bundle: Bundle,
    formats: Sequence[str],
    threads: int,
    uri: str,
    count: int,
    look: Callable[[], None] = lambda: None,
) -> Stages:
    """Read `count` frames of a source with each format, in blocks that take turns; `look` is called between them.

    Raises
    ------
    SourceError
        When the source gives fewer.
    """
    found: dict[str, list[FrameTimes]] = {format: [] for format in formats}
    with open_source(uri) as source, open_runners(bundle, formats, threads) as runners:
        frames = iter(source)
        first = _next(frames, uri, count * len(formats))
        for runner in runners.values():  # the first run of all is another matter
            read_timed(runner, [first])
        while any(len(times) < count for times in found.values()):
            for format, runner in runners.items():
                wanted = min(BLOCK, count - len(found[format]))
                block = read_timed(runner, islice(frames, wanted))
                if len(block) < wanted:
                    raise _short(uri, count * len(formats))
                found[format] += block
                look()
    height, width = first.image.shape[:2]
    return Stages(redact(uri), (width, height), count, {format: summarised(times) for format, times in found.items()})


def summarised(times: Sequence[FrameTimes]) -> FormatStages:
    """Return the quantiles of every stage."""
    columns = dict(zip(FrameTimes._fields, zip(*times, strict=True), strict=True))
    return FormatStages(
        **{stage: _quantiles(column) for stage, column in columns.items()},
        camera_to_publish=_quantiles([sum(one) for one in times]),
    )


def _quantiles(values: Sequence[float]) -> Quantiles:
    return Quantiles(*(round(float(value), 4) for value in np.percentile(values, [50, 90, 99])))


def _next(frames: Iterator[Frame], uri: str, wanted: int) -> Frame:
    try:
        return next(frames)
    except StopIteration:
        raise _short(uri, wanted) from None


def _short(uri: str, wanted: int) -> SourceError:
    return SourceError(f"{redact(uri)}: gives too few frames: {wanted + 1} are needed: name a camera, or leave it out")
