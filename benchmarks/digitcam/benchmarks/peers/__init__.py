"""`bench peers`: the same frames through what a user would take instead, each at its best, in one run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from digitcam.benchmarks.environment import environment
from digitcam.benchmarks.peers.compare import compare, present
from digitcam.benchmarks.peers.ours import Digitcam, Seed
from digitcam.benchmarks.peers.rapidocr import RapidOcr
from digitcam.benchmarks.peers.scenes import from_data, from_source
from digitcam.benchmarks.peers.tesseract import Tesseract
from digitcam.benchmarks.results.peers import PeersResult
from digitcam.benchmarks.subject import subject
from digitcam.benchmarks.validity import objections
from digitcam.benchmarks.watch import Watch
from digitcam.core.bundle import Bundle
from digitcam.edge import engines
from digitcam.edge.board import Board


def peers(
    bundle: Bundle,
    source: str,
    frames: int,
    *,
    data: str | None = None,
    split: str = "test",
    only: Sequence[str] = (),
    seed: Path | None = None,
    format: str | None = None,
    tune: int = 10,
    say: Callable[[str], None] = print,
) -> PeersResult:
    """Read `frames` frames with a bundle's network, by default the int8 one of the engine at hand, and with the peers.

    Parameters
    ----------
    source
        A source that knows its truth; not looked at when there is `data`, a data set's name, and its `split`.
    only
        Names of peers; by default all that are installed, and the result lists the others.
    seed
        A checkpoint of one of the seed's recipes.
    tune
        How many frames, the next ones after those measured, the peers' settings are chosen on.

    Raises
    ------
    ConfigError
        When a peer in `only` is not known or not installed, or there is none at all; when the bundle lacks the format.
    ModelError
        When digitcam's own engine is not installed.
    BenchmarkInvalidError
        When the frames' truth is not known, there are too few, or a peer fails on one.
    """
    format = format or engines.default_format()
    described = subject(bundle, [format])
    engines.load(bundle, format)  # a missing engine is told before a missing peer
    ready, left_out = present([RapidOcr(), Tesseract(), Seed(seed)], only)
    wanted = frames + tune
    scenes = from_data(data, split, wanted) if data else from_source(source, wanted)
    for name, why in left_out.items():
        say(f"{name:14} left out: {why}")
    board = Board()
    watch = Watch(board, os.sched_getaffinity(0))
    if bundle.card.looks_twice:
        ready.insert(0, Digitcam(bundle.path, format, "digitcam-one-look", close_up=False))
    found = compare(Digitcam(bundle.path, format), ready, scenes[:frames], scenes[frames:], say, look=watch.look)
    conditions = watch.found()
    reasons = objections(conditions, board.model())
    return PeersResult(
        subject=described,
        environment=environment(),
        source=data or source,
        frames=frames,
        peers=found,
        split=split if data else None,
        tuned=tune,
        left_out=left_out,
        conditions=conditions,
        valid=not reasons,
        reasons=reasons,
    )
