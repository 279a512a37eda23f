"""Measuring a torch network on a named data set, with the same decoding as on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch

from digitcam.core.arrays import UInt8Array
from digitcam.core.canvas import Sample
from digitcam.core.card import GridHead, SlotsHead, Thresholds
from digitcam.core.decode import Line, decode
from digitcam.core.errors import ConfigError
from digitcam.core.metrics import Metrics, measure
from digitcam.train.canvas import DATA_SETS, SIZES, CanvasData
from digitcam.train.mnist import Split
from digitcam.train.model import Network
from digitcam.train.recipe import Recipe

BATCH = 50


def data_set(name: str) -> CanvasData:
    """Return a data set by its name.

    Raises
    ------
    ConfigError
        With the known names.
    """
    if name not in DATA_SETS:
        raise ConfigError(f"data set {name!r} is not known: choose from {', '.join(DATA_SETS)}")
    return DATA_SETS[name]


def samples(name: str, split: Split, count: int | None = None) -> Iterable[Sample]:
    """Draw the first `count` images of a named data set's split, all of them by default."""
    data = data_set(name)
    return (data.sample(split, index) for index in range(SIZES[split] if count is None else count))


def score(drawn: Iterable[Sample], read: Callable[[list[UInt8Array]], list[list[Line]]], batch: int = 1) -> Metrics:
    """Read images [height, width] of the input's size in batches and compare the best reading of each with the truth."""
    lines: list[list[Line]] = []
    truths: list[Sample] = []
    pending: list[Sample] = []
    for sample in drawn:
        pending.append(sample)
        if len(pending) == batch:
            lines += read([sample.image for sample in pending])
            truths += [sample._replace(image=sample.image[:0]) for sample in pending]
            pending = []
    if pending:
        lines += read([sample.image for sample in pending])
        truths += pending
    best = [found[0] if found else Line(()) for found in lines]
    return measure(
        [line.number for line in best],
        np.stack([line.box_xywh for line in best]),
        [sample.number for sample in truths],
        np.stack([sample.box_xywh for sample in truths]),
    )


def reader(
    network: Network, head: GridHead | SlotsHead, thresholds: Thresholds | None = None
) -> Callable[[list[UInt8Array]], list[list[Line]]]:
    """Return a function that reads a batch of images uint8 [height, width] with a torch network."""
    limits = thresholds or Thresholds()

    @torch.no_grad()
    def read(images: list[UInt8Array]) -> list[list[Line]]:
        x = torch.from_numpy(np.stack(images))[:, None].to(torch.float32) / 255
        logits, boxes = network(x.to(memory_format=torch.channels_last))
        pairs = zip(logits.float().numpy(), boxes.float().numpy(), strict=True)
        return [decode(logit, box, head, limits) for logit, box in pairs]

    return read


def evaluate_network(network: Network, recipe: Recipe, name: str, split: Split, count: int | None = None) -> Metrics:
    """Measure a network in evaluation mode on the first `count` images of a data set's split."""
    return score(samples(name, split, count), reader(network, recipe.head), BATCH)
