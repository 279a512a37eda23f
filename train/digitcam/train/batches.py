"""Drawing a recipe's batches, ahead of training."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from digitcam.core.arrays import FloatArray
from digitcam.core.canvas import Sample
from digitcam.core.errors import SourceError
from digitcam.train.closer import closer
from digitcam.train.data import source_of
from digitcam.train.distributed import rank, world
from digitcam.train.interrupt import outlive_sigterm, uninterruptible_children
from digitcam.train.losses import NOBODY
from digitcam.train.mosaic import mosaic
from digitcam.train.recipe import Recipe

Batch = tuple[Tensor, Tensor, Tensor]


class Batches(Dataset[Batch]):
    """Share `rank` of `world` of a recipe's batch `step`, on the way to the network.

    Images uint8 [B, channels, h, w], labels int64 [B, N], boxes float32 [B, N, 4]; N is at least 1.
    """

    def __init__(self, recipe: Recipe, rank: int = 0, world: int = 1) -> None:
        self.recipe = recipe
        self.rank = rank
        self.share = recipe.schedule.batch // world
        self.source = source_of(recipe.data, "train")
        self.alphabet = {character: i for i, character in enumerate(recipe.head.alphabet)}

    def __len__(self) -> int:
        return steps_of(self.recipe)

    def __getitem__(self, step: int) -> Batch:
        recipe, share = self.recipe, self.share
        if source_of(recipe.data, "train") != self.source:
            # A process that draws began later, and looked at the disk again.
            raise SourceError("photographs came or went while the run began: begin it again")
        shape = recipe.window or recipe.input
        first = step * recipe.schedule.batch + self.rank * share
        samples = [self._draw(first + i, shape.height, shape.width) for i in range(share)]
        most = max(1, max(len(number) for number, _ in map(all_digits, samples)))
        labels = torch.full((share, most), NOBODY)
        boxes = torch.zeros(share, most, 4)
        for i, sample in enumerate(samples):
            digits, places = all_digits(sample)
            for j, character in enumerate(digits):
                labels[i, j] = self.alphabet[character]
            boxes[i, : len(digits)] = torch.from_numpy(places)
        nhwc = np.stack([sample.image for sample in samples]).reshape(share, shape.height, shape.width, -1)
        return torch.from_numpy(nhwc).permute(0, 3, 1, 2), labels, boxes

    def _draw(self, index: int, height: int, width: int) -> Sample:
        recipe = self.recipe
        if recipe.mosaic:
            sample = mosaic(recipe.data, index, height, width, recipe.mosaic, recipe.seed)
        else:
            sample = recipe.data.sample("train", index, height, width)
        if recipe.close_ups and recipe.head.close_up:
            sample = closer(sample, recipe.input, recipe.head.close_up, recipe.close_ups, recipe.seed, index)
        return sample


def all_digits(sample: Sample) -> tuple[str, FloatArray]:
    """Return the digits of all of a sample's numbers, and their boxes float32 [n, 4]."""
    number = "".join([sample.number, *(other.number for other in sample.others)])
    return number, np.concatenate([sample.boxes_xywh, *(other.boxes_xywh for other in sample.others)])


def steps_of(recipe: Recipe) -> int:
    """Return how many steps the recipe takes."""
    return max(1, math.ceil(recipe.schedule.images / recipe.schedule.batch))


def draw_ahead(recipe: Recipe, steps: range, workers: int) -> DataLoader[Batch]:
    """Draw a recipe's batches, this process's share of them, in processes of their own.

    They are spawned: a fork of a process with threads, as torch's and JAX's are, may hang.
    """
    return DataLoader(
        Batches(recipe, rank(), world()),
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        prefetch_factor=8,
        multiprocessing_context="spawn",
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=outlive_sigterm,
    )


@contextmanager
def drawing(recipe: Recipe, steps: range) -> Iterator[Iterator[Batch]]:
    """Give a recipe's batches, drawn ahead; the processes that draw end with the context."""
    with uninterruptible_children():
        batches = iter(draw_ahead(recipe, steps, _processes()))
    try:
        yield batches
    finally:
        # An error's traceback holds the batches for as long as it is handled, and with them the processes.
        batches._shutdown_workers()  # type: ignore[attr-defined]


def _processes() -> int:
    """Return how many processes draw: one keeps ahead of training on a processor, a GPU needs all cores."""
    if not torch.cuda.is_available():
        return 1
    return max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")) - 1)
