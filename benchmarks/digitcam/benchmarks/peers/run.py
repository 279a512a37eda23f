"""Choosing a reader's setting, reading the frames with all readers in turn, and what is told of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from digitcam.benchmarks.peers.protocol import PeerReader, Scene
from digitcam.benchmarks.results.peers import Peer
from digitcam.benchmarks.statistics import paired_interval, wilson

Clock = Callable[[], float]
"""Seconds."""


class Readings(NamedTuple):
    """What a reader made of the frames: whether each was right, and what it took in milliseconds."""

    right: list[bool]
    times_ms: list[float]


def read_in_turn(
    readers: Mapping[str, PeerReader],
    scenes: Sequence[Scene],
    clock: Clock = time.perf_counter,
    look: Callable[[], None] = lambda: None,
) -> dict[str, Readings]:
    """Read every frame with every reader before the next frame, each frame beginning with another reader.

    A machine that drifts favours none, and none always comes after the same other. `look` is called between frames.
    """
    found = {name: Readings([], []) for name in readers}
    names = list(readers)
    for index, scene in enumerate(scenes):
        first = index % len(names)
        for name in names[first:] + names[:first]:
            start = clock()
            number = readers[name].read(scene.image, scene.box_xywh)
            found[name].times_ms.append((clock() - start) * 1e3)
            found[name].right.append(number == scene.number)
        look()
    return found


def best_setting(readers: Sequence[PeerReader], scenes: Sequence[Scene], clock: Clock = time.perf_counter) -> int:
    """Return the place of the reader that reads most frames right, of equally good ones the quickest.

    The frames must not be those of the measurement, where the best of many would look better than it is.
    """
    if len(readers) < 2:
        return 0
    for reader in readers:
        # What loads at the first image.
        reader.read(scenes[0].image, scenes[0].box_xywh)
    by_place = {str(place): reader for place, reader in enumerate(readers)}
    found = list(read_in_turn(by_place, scenes, clock).values())
    return min(range(len(found)), key=lambda place: (-sum(found[place].right), float(np.median(found[place].times_ms))))


def told(reader: PeerReader, found: Readings, reference: Readings, memory_mb: float, install_mb: float) -> Peer:
    """Return what is told of a reader's readings; `reference` are digitcam's on the same frames."""
    count = len(found.right)
    pairs = list(zip(found.right, reference.right, strict=True))
    low, high = wilson(sum(found.right), count)
    both, alone, not_it = pairs.count((True, True)), pairs.count((True, False)), pairs.count((False, True))
    ahead = paired_interval(both, alone, not_it, count - both - alone - not_it)
    p50, p90 = (float(value) for value in np.percentile(found.times_ms, [50, 90]))
    return Peer(
        version=reader.version,
        setting=reader.setting,
        sequence_accuracy=round(sum(found.right) / count, 4),
        p50_ms=round(p50, 3),
        crop=reader.crop,
        interval=(round(low, 4), round(high, 4)),
        difference_interval=(round(100 * ahead[0], 2), round(100 * ahead[1], 2)),
        p90_ms=round(p90, 3),
        times=round(p50 / float(np.median(reference.times_ms)), 1),
        memory_mb=memory_mb,
        install_mb=install_mb,
    )
