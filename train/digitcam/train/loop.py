"""The training loop: draws, steps, averages, validates, saves; a run taken up again goes on as if unbroken."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from digitcam.core.errors import ConfigError, DigitcamError
from digitcam.train.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
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
        samples = [recipe.data.sample("train", step * batch + i, shape.height, shape.width) for i in range(batch)]
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


def _continues(old: Recipe, new: Recipe) -> bool:
    """Say whether a run of the one can go on as the other: they may differ in how many images are seen."""
    same_length = msgspec.structs.replace(new.schedule, images=old.schedule.images)
    return old == msgspec.structs.replace(new, schedule=same_length)


class Trainer:
    """A network being trained, the average of its weights, and the optimiser."""

    def __init__(self, recipe: Recipe) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.network = Network(recipe.network, recipe.head, recipe.input)
        self.average = Network(recipe.network, recipe.head, recipe.input).eval()
        self.average.load_state_dict(self.network.state_dict())
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network.train()
        # Decay the convolutions' weights, not the biases and normalisations.
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": recipe.schedule.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=recipe.schedule.learning_rate, fused=True)

    def step(self, step: int, batch: Batch) -> tuple[float, float]:
        """Learn from one batch; return the class and box loss.

        Raises
        ------
        DigitcamError
            When the loss is no number; nothing is changed then.
        """
        images, labels, boxes = batch
        schedule = self.recipe.schedule
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.recipe, step)
        x = (images.to(torch.float32) / 255).to(memory_format=torch.channels_last)
        class_loss, box_loss = loss(self.network(x), labels, boxes, self.recipe.head, schedule.box_weight)
        total = class_loss + box_loss
        if not math.isfinite(total.item()):
            raise DigitcamError(f"the loss is {total.item()} at step {step}: lower schedule.learning_rate")
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        # An average of few steps must not remember the random start.
        self._follow(min(schedule.ema, (1 + step) / (10 + step)))
        return class_loss.item(), box_loss.item()

    @torch.no_grad()
    def _follow(self, decay: float) -> None:
        """Move the average towards the network; counters and the like are copied."""
        ours, theirs = self.average.state_dict(), self.network.state_dict()
        floats = [name for name, value in ours.items() if value.is_floating_point()]
        torch._foreach_lerp_([ours[n] for n in floats], [theirs[n] for n in floats], 1 - decay)
        for name in ours.keys() - set(floats):
            ours[name].copy_(theirs[name])

    def state(self, step: int) -> dict[str, Any]:
        """Return all that a checkpoint needs, beside the average, to go on at `step`."""
        return {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict(), "step": step}

    def resume(self, saved: Checkpoint) -> int:
        """Take up a checkpoint of the same recipe; return the step to go on at."""
        assert saved.training is not None
        self.average.load_state_dict(saved.weights)
        self.network.load_state_dict(saved.training["network"])
        self.optimiser.load_state_dict(saved.training["optimiser"])
        return int(saved.training["step"])


def draw_ahead(recipe: Recipe, steps: range, workers: int) -> DataLoader[Batch]:
    """Draw a recipe's batches in processes of their own.

    They are spawned: a fork of a process with threads, as torch's and JAX's are, may hang.
    """
    return DataLoader(
        Batches(recipe),
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        prefetch_factor=8,
        multiprocessing_context="spawn",
    )


def train(recipe: Recipe, out: Path, resume: bool = False) -> Path:
    """Train a recipe; return the checkpoint `out/checkpoint.pt`.

    A run resumed with more `schedule.images` goes on where the longer schedule stands.

    `out/log.jsonl` gets one line a validation: images, seconds, losses, validation metrics. In the end
    `out/weights.pt` holds the weights alone, a checkpoint to export, keep and share.

    Raises
    ------
    ConfigError
        When `out` already holds a run and `resume` is not set, or holds one of another recipe.
    DigitcamError
        When the loss is no number; the last checkpoint stays as it was.
    """
    path, log_path = out / "checkpoint.pt", out / "log.jsonl"
    trainer, start = Trainer(recipe), 0
    if path.exists():
        if not resume:
            raise ConfigError(f"{path}: holds a run already: say --resume, or give another --out")
        saved = read_checkpoint(path)
        if not _continues(saved.recipe, recipe):
            raise ConfigError(f"{path}: is of another recipe: give another --out")
        if saved.training is None:
            raise ConfigError(f"{path}: holds only weights, no state to resume from: give another --out")
        start = trainer.resume(saved)
    out.mkdir(parents=True, exist_ok=True)

    batch = recipe.schedule.batch
    interval = max(1, recipe.schedule.checkpoint_every // batch)
    total, began = steps_of(recipe), time.monotonic()
    losses: list[tuple[float, float]] = []
    progress = tqdm(total=total * batch, initial=start * batch, unit="img", unit_scale=True)
    for step, drawn in enumerate(draw_ahead(recipe, range(start, total), workers=1), start):
        losses.append(trainer.step(step, drawn))
        progress.update(batch)
        if (step + 1) % interval and step + 1 < total:
            continue
        images = (step + 1) * batch
        class_loss, box_loss = np.mean(losses, axis=0).round(5).tolist()
        losses.clear()
        measured = {
            name: evaluate_network(trainer.average, recipe, name, "validation", VALIDATION_IMAGES)
            for name in recipe.validation
        }
        if not all(bool(value.isfinite().all()) for value in trainer.network.state_dict().values()):
            raise DigitcamError(f"weights are no numbers at step {step}: lower schedule.learning_rate")
        write_checkpoint(path, recipe, trainer.average.state_dict(), images, trainer.state(step + 1))
        line = {
            "images": images,
            "seconds": round(time.monotonic() - began, 1),
            "class_loss": class_loss,
            "box_loss": box_loss,
            "validation": msgspec.to_builtins(measured),
        }
        with log_path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        progress.set_postfix(loss=class_loss, box=box_loss)
    progress.close()
    final = read_checkpoint(path)
    write_checkpoint(out / "weights.pt", recipe, final.weights, final.images)
    return path
