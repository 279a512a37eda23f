"""Frames that all readers are given: of a source that knows its truth, or of a data set."""

from __future__ import annotations

from itertools import islice
from typing import Any

from digitcam.benchmarks.peers.protocol import Scene
from digitcam.core.errors import BenchmarkInvalidError
from digitcam.edge.sources import open_source


def from_source(uri: str, count: int) -> list[Scene]:
    """Return the first frames of a source; where the number stands is not known.

    Raises
    ------
    BenchmarkInvalidError
        When the source does not say what its frames show, or has too few.
    """
    with open_source(uri) as opened:
        frames = list(islice(opened, count))
    scenes = [Scene(frame.image, frame.truth, None) for frame in frames if frame.truth is not None]
    if len(scenes) < len(frames):
        raise BenchmarkInvalidError(f"{uri}: does not say what its frames show: use demo:, or --data NAME")
    _check(uri, len(scenes), count)
    return scenes


def from_data(name: str, split: Any, count: int) -> list[Scene]:
    """Return the first images of a data set's split.

    Raises
    ------
    ConfigError
        When there is no such data set.
    BenchmarkInvalidError
        When it has too few images of the split.
    """
    # Drawing them needs the training extra; reading drawn demo frames must not.
    from digitcam.train.data import data_set

    data = data_set(name)
    _check(f"{name}/{split}", data.size(split), count)
    samples = (data.sample(split, index) for index in range(count))
    return [Scene(one.image, one.number, one.box_xywh if one.box_xywh[2] > 0 else None) for one in samples]


def _check(source: str, there: int, wanted: int) -> None:
    if there < wanted:
        raise BenchmarkInvalidError(
            f"{source}: has {there} frames and {wanted} are wanted, those to choose settings on with them: "
            "lower --frames"
        )
