"""The training loop: draws, steps, averages, validates, saves; a run taken up again goes on as if unbroken."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from digitcam.core.errors import ConfigError, DigitcamError
from digitcam.train.checkpoint import read_checkpoint, write_checkpoint
from digitcam.train.evaluate import evaluate_network
from digitcam.train.losses import NOBODY, loss
from digitcam.train.model import Network
from digitcam.train.recipe import Recipe

Batch = tuple[Tensor, Tensor, Tensor]
VALIDATION_IMAGES = 1_000
"""Images of each validation set looked at beside training; the export's gates look at more."""


class Batches(Dataset[Batch]):
    """Batch `step` of a recipe: images uint8 [B, 1, h, w], labels int64 [B, N], boxes float32 [B, N, 4]."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.alphabet = {character: i for i, character in enumerate(recipe.head.alphabet)}

    def __len__(self) -> int:
        return steps_of(self.recipe)

    def __getitem__(self, step: int) -> Batch:
        recipe, batch = self.recipe, self.recipe.schedule.batch
        shape = recipe.window or recipe.input
        samples = [
            recipe.data.sample("train", step * batch + i, shape.height, shape.width) for i in range(batch)
        ]
        most = max(1, max(len(sample.number) for sample in samples))
        labels = torch.full((batch, most), NOBODY)
        boxes = torch.zeros(batch, most, 4)
        for i, sample in enumerate(samples):
            labels[i, : len(sample.number)] = torch.tensor([self.alphabet[c] for c in sample.number])
            boxes[i, : len(sample.number)] = torch.from_numpy(sample.boxes_xywh)
        return torch.from_numpy(np.stack([sample.image for sample in samples]))[:, None], labels, boxes


def steps_of(recipe: Recipe) -> int:
    """Return how many steps the recipe takes."""
    return max(1, math.ceil(recipe.schedule.images / recipe.schedule.batch))


def learning_rate(recipe: Recipe, step: int) -> float:
    """Return the rate at a step: linear warm-up, then half a cosine to zero."""
    schedule = recipe.schedule
    warmup = schedule.warmup / schedule.batch
    if step < warmup:
        return schedule.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps_of(recipe) - warmup)
    return schedule.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def _optimiser(network: Network, recipe: Recipe) -> torch.optim.AdamW:
    """Decay the convolutions' weights, not the biases and normalisations."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.schedule.weight_decay}, {"params": others, "weight_decay": 0}]
    return torch.optim.AdamW(groups, lr=recipe.schedule.learning_rate, fused=True)


@torch.no_grad()
def _follow(average: Network, network: Network, decay: float) -> None:
    """Move the average towards the network; counters and the like are copied."""
    ours, theirs = average.state_dict(), network.state_dict()
    floats = [name for name, value in ours.items() if value.is_floating_point()]
    torch._foreach_lerp_([ours[n] for n in floats], [theirs[n] for n in floats], 1 - decay)
    for name in ours.keys() - set(floats):
        ours[name].copy_(theirs[name])


def _loader(recipe: Recipe, start: int) -> Iterator[Batch]:
    """Draw the batches from `start` on in a second process, while this one computes."""
    steps = range(start, steps_of(recipe))
    return iter(DataLoader(Batches(recipe), batch_size=None, sampler=steps, num_workers=1, prefetch_factor=8))


def train(recipe: Recipe, out: Path, resume: bool = False) -> Path:
    """Train a recipe; return the checkpoint `out/checkpoint.pt`.

    `out/log.jsonl` gets one line a validation: images, loss, rate, validation metrics.

    Raises
    ------
    ConfigError
        When `out` already holds a run and `resume` is not set, or holds one of another recipe.
    DigitcamError
        When the loss is no number; the last checkpoint stays as it was.
    """
    torch.manual_seed(recipe.seed)
    network = Network(recipe.network, recipe.head, recipe.input).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = Network(recipe.network, recipe.head, recipe.input).eval()
    average.load_state_dict(network.state_dict())
    optimiser = _optimiser(network, recipe)
    path, log_path = out / "checkpoint.pt", out / "log.jsonl"
    start = 0
    if path.exists():
        if not resume:
            raise ConfigError(f"{path}: holds a run already: say --resume, or give another --out")
        saved = read_checkpoint(path)
        if saved.recipe != recipe:
            raise ConfigError(f"{path}: is of another recipe: give another --out")
        if saved.training is None:
            raise ConfigError(f"{path}: holds only weights, no state to resume from: give another --out")
        average.load_state_dict(saved.weights)
        network.load_state_dict(saved.training["network"])
        optimiser.load_state_dict(saved.training["optimiser"])
        start = saved.training["step"]
    out.mkdir(parents=True, exist_ok=True)

    schedule = recipe.schedule
    interval = max(1, schedule.checkpoint_every // schedule.batch)
    total, began = steps_of(recipe), time.monotonic()
    running = np.zeros(2)
    progress = tqdm(total=total * schedule.batch, initial=start * schedule.batch, unit="img", unit_scale=True)
    network.train()
    for step, (images, labels, boxes) in enumerate(_loader(recipe, start), start):
        for parameters in optimiser.param_groups:
            parameters["lr"] = learning_rate(recipe, step)
        x = (images.to(torch.float32) / 255).to(memory_format=torch.channels_last)
        class_loss, box_loss = loss(network(x), labels, boxes, recipe.head, schedule.box_weight)
        value = class_loss + box_loss
        if not math.isfinite(value.item()):
            raise DigitcamError(f"the loss is {value.item()} at step {step}: lower schedule.learning_rate")
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        optimiser.zero_grad()
        # An average of few steps must not remember the random start.
        _follow(average, network, min(schedule.ema, (1 + step) / (10 + step)))
        running += (class_loss.item(), box_loss.item())
        progress.update(schedule.batch)

        if (step + 1) % interval == 0 or step + 1 == total:
            count = (step % interval) + 1
            line: dict[str, Any] = {
                "images": (step + 1) * schedule.batch,
                "seconds": round(time.monotonic() - began, 1),
                "class_loss": round(running[0] / count, 5),
                "box_loss": round(running[1] / count, 5),
                "validation": {
                    name: msgspec.to_builtins(evaluate_network(average, recipe, name, "validation", VALIDATION_IMAGES))
                    for name in recipe.validation
                },
            }
            running[:] = 0
            state = {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}
            write_checkpoint(path, recipe, average.state_dict(), (step + 1) * schedule.batch, state)
            with log_path.open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
            progress.set_postfix(loss=line["class_loss"], box=line["box_loss"])
            network.train()
    progress.close()
    return path
