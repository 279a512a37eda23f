"""Measuring a torch network on a named data set, with the same decoding as on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from digitcam.core import closeup
from digitcam.core.arrays import FloatArray, UInt8Array
from digitcam.core.boxes import BoxXYWH
from digitcam.core.canvas import Sample
from digitcam.core.card import GridHead, Thresholds
from digitcam.core.decode import Line, decode
from digitcam.core.measure import measure
from digitcam.core.metrics import Metrics
from digitcam.core.preprocess import Letterbox, letterbox
from digitcam.train.data import samples
from digitcam.train.mnist import Split
from digitcam.train.recipe import Recipe

BATCH = 50


class Blank(NamedTuple):
    """What a slots head answers where it reads no digit: it says where the number stands all the same."""

    box_xywh: BoxXYWH
    number: str = ""
    confidence: float = 0.0


Read = Callable[[list[UInt8Array]], Sequence[Sequence[Line | Blank]]]
"""Reads a batch of images uint8 [height, width], or [height, width, 3] BGR, of the input's size."""


class Results(NamedTuple):
    """The best reading of each of N images beside its truth; boxes [N, 4] in pixels of the network's input.

    An image on which nothing is read, or which has no number, has an empty string, and a box of zeros unless a slots
    head answered with one.
    """

    numbers: list[str]
    boxes_xywh: FloatArray
    confidences: FloatArray
    truths: list[str]
    truth_boxes_xywh: FloatArray

    def metrics(self) -> Metrics:
        """Measure them."""
        return measure(self.numbers, self.boxes_xywh, self.truths, self.truth_boxes_xywh)


def joined(parts: Sequence[Results]) -> Results:
    """Return the results on several runs of images as one."""
    numbers, boxes, confidences, truths, truth_boxes = zip(*parts, strict=True)
    return Results(
        list(chain.from_iterable(numbers)),
        np.concatenate(boxes),
        np.concatenate(confidences),
        list(chain.from_iterable(truths)),
        np.concatenate(truth_boxes),
    )


def collect(drawn: Iterable[Sample], read: Read, batch: int = 1) -> Results:
    """Read images of the input's size in batches, keeping none of them."""
    numbers, boxes, confidences, truths, truth_boxes = [], [], [], [], []
    source = iter(drawn)
    while chunk := list(islice(source, batch)):
        for sample, lines in zip(chunk, read([sample.image for sample in chunk]), strict=True):
            best = lines[0] if lines else Blank((0.0, 0.0, 0.0, 0.0))
            numbers.append(best.number)
            boxes.append(best.box_xywh)
            confidences.append(best.confidence)
            truths.append(sample.number)
            truth_boxes.append(sample.box_xywh)
    return Results(numbers, np.stack(boxes), np.array(confidences), truths, np.stack(truth_boxes))


def reader(network: nn.Module, recipe: Recipe) -> Read:
    """Return a function that reads a batch of images with a torch network, wherever its weights are.

    The images are uint8 [height, width], or [height, width, 3] BGR; grey and colour are turned as on the device.
    """
    where, head = next(network.parameters()).device, recipe.head

    @torch.no_grad()
    def run(images: Sequence[UInt8Array]) -> Iterable[tuple[FloatArray, FloatArray, Letterbox]]:
        tensors, placements = zip(*(letterbox(image, recipe.input) for image in images), strict=True)
        x = torch.from_numpy(np.concatenate(tensors)).to(where).permute(0, 3, 1, 2).to(torch.float32) / 255
        logits, boxes = network(x.to(memory_format=torch.channels_last))
        return zip(logits.float().cpu().numpy(), boxes.float().cpu().numpy(), placements, strict=True)

    def look(images: Sequence[UInt8Array]) -> list[list[Line]]:
        return [
            [line.mapped(placement.to_frame) for line in decode(logits, boxes, head, Thresholds())]
            for logits, boxes, placement in run(images)
        ]

    def slots(images: Sequence[UInt8Array]) -> Sequence[Sequence[Line | Blank]]:
        return [decode(logits, box, head, Thresholds()) or [_blank(box)] for logits, box, _ in run(images)]

    if isinstance(head, GridHead):
        return lambda images: closeup.read(images, look, recipe.input, head)
    return slots


def _blank(box: FloatArray) -> Blank:
    x, y, height, width = box.tolist()
    return Blank((x - width / 2, y - height / 2, width, height))


def read_network(network: nn.Module, recipe: Recipe, name: str, split: Split, count: int | None = None) -> Results:
    """Read the first `count` images of a data set's split with a network in evaluation mode."""
    return collect(samples(name, split, count), reader(network, recipe), BATCH)


def evaluate_network(network: nn.Module, recipe: Recipe, name: str, split: Split, count: int | None = None) -> Metrics:
    """Measure a network in evaluation mode on the first `count` images of a data set's split."""
    return read_network(network, recipe, name, split, count).metrics()
