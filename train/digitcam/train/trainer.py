"""One step of training: the loss, its gradient, the optimiser, the average of the weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from digitcam.core.errors import ConfigError, DigitcamError
from digitcam.train.batches import Batch, steps_of
from digitcam.train.checkpoint import Checkpoint, network_of, read_checkpoint
from digitcam.train.distributed import device, mean, rank, shared
from digitcam.train.losses import convolutions, l2_loss, loss
from digitcam.train.memory import keep_freed_memory
from digitcam.train.precision import check_bfloat16
from digitcam.train.quantised import set_rounded
from digitcam.train.recipe import Recipe


def digits_first(recipe: Recipe) -> int:
    """Return how many steps learn digits alone; after them, if there are any, the convolutions are frozen."""
    return round(recipe.schedule.digits_first * steps_of(recipe))


def rounded_from(recipe: Recipe) -> float:
    """Return from which step on weights and activations are rounded as int8 rounds them; infinity for never."""
    share = recipe.schedule.quantised
    return (1 - share) * steps_of(recipe) if share else math.inf


def learning_rate(recipe: Recipe, step: int) -> float:
    """Return the rate at a step: linear warm-up, then half a cosine to zero, or constant."""
    schedule = recipe.schedule
    warmup = schedule.warmup / schedule.batch
    if step < warmup:
        # The last step of a warm-up may reach beyond it.
        return schedule.learning_rate * min(1.0, (step + 1) / warmup)
    if schedule.constant:
        return schedule.learning_rate
    progress = (step - warmup) / max(1, steps_of(recipe) - warmup)
    return schedule.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def teacher_of(recipe: Recipe) -> nn.Module | None:
    """Return the network that a recipe learns from beside the truth, in evaluation mode; None where there is none.

    Raises
    ------
    ConfigError
        When it has another input or head than the recipe.
    ModelError
        When it is no checkpoint.
    """
    if recipe.teacher is None:
        return None
    checkpoint = read_checkpoint(Path(recipe.teacher))
    if (checkpoint.recipe.input, checkpoint.recipe.head) != (recipe.input, recipe.head):
        raise ConfigError(f"{recipe.teacher}: cannot teach {recipe.name}: [input] and [head] must be the same")
    return network_of(checkpoint).requires_grad_(False)


class DivergedError(DigitcamError):
    """A loss or weights that are no numbers any more."""


class Trainer:
    """A network being trained, the average of its weights, and the optimiser; on a GPU if there is one."""

    def __init__(self, recipe: Recipe) -> None:
        keep_freed_memory()
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.network = recipe.network.build(recipe.head, recipe.input)
        self.average = recipe.network.build(recipe.head, recipe.input).eval()
        self.average.load_state_dict(self.network.state_dict())
        self.device = device()
        self.average.to(self.device)
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network.train()
        self.teacher = teacher_of(recipe)
        if self.teacher is not None:
            self.teacher.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        # Decay the convolutions' weights, not the biases and normalisations.
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": recipe.schedule.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=recipe.schedule.learning_rate, fused=True)
        self.shared = shared(self.network)

    def check(self, batch: Batch) -> None:
        """Raise ConfigError where the recipe's precision does not compute what it should; see `check_bfloat16`."""
        if self.recipe.schedule.precision == "bf16":
            for network in filter(None, (self.network, self.teacher)):
                check_bfloat16(network, batch[0].to(self.device).float() / 255)

    def step(self, step: int, batch: Batch) -> tuple[float, float]:
        """Learn from one batch (of several processes: each from its share); return the class and box loss.

        Raises
        ------
        DivergedError
            When the loss is no number; nothing is changed then.
        """
        images, labels, boxes = (tensor.to(self.device, non_blocking=True) for tensor in batch)
        schedule, config = self.recipe.schedule, self.recipe.loss
        # Of the step alone, so that a run taken up again drops out the same; nothing else here is drawn.
        torch.manual_seed(self.recipe.seed + 1_000_003 * step + rank())
        only_digits = step < digits_first(self.recipe)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.recipe, step)
        set_rounded(self.network, step >= rounded_from(self.recipe))
        x = (images.to(torch.float32) / 255).to(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=schedule.precision == "bf16"):
            logits, places = self.shared(x)
            taught = None if self.teacher is None else self.teacher(x)[0].float().softmax(dim=-1)
        output = logits.float(), places.float()
        box_weight = 0.0 if only_digits else schedule.box_weight
        class_loss, box_loss = loss(output, labels, boxes, self.recipe.head, box_weight, config, taught)
        # Of all processes, so that they agree whether to go on.
        losses = mean(torch.stack([class_loss, box_loss]).detach()).tolist()
        if not math.isfinite(sum(losses)):
            raise DivergedError(f"the loss is {sum(losses)} at step {step}")
        total = class_loss + box_loss
        if config.l2:
            total = total + config.l2 * l2_loss(self.network)
        total.backward()  # type: ignore[no-untyped-call]
        if schedule.digits_first and not only_digits:
            # Without a gradient they stay. Turned off by `requires_grad`, other processes would wait for theirs.
            for parameter in (p for layer in convolutions(self.network) for p in layer.parameters()):
                parameter.grad = None
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), schedule.clip)
        self.optimiser.step()
        self.optimiser.zero_grad()
        # An average of few steps must not remember the random start.
        self._follow(min(schedule.ema, (1 + step) / (10 + step)))
        return losses[0], losses[1]

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

    def begin_with(self, weights: dict[str, Tensor], where: Path) -> None:
        """Begin with the weights of another run of the same network, read from `where`.

        Raises
        ------
        ConfigError
            When they are of a network of another shape.
        """
        try:
            self.average.load_state_dict(weights)
        except RuntimeError:
            mend = "[network], [head] and [input] must be the same"
            raise ConfigError(f"{where}: they are of another network: {mend}") from None
        self.network.load_state_dict(weights)

    def resume(self, saved: Checkpoint) -> int:
        """Take up a checkpoint of the same recipe; return the step to go on at."""
        assert saved.training is not None
        self.average.load_state_dict(saved.weights)
        self.network.load_state_dict(saved.training["network"])
        self.optimiser.load_state_dict(saved.training["optimiser"])
        return int(saved.training["step"])
