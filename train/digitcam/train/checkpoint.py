"""Checkpoints: weights, the recipe that made them, and, while a run goes on, all it needs to go on."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch
from torch import Tensor

from digitcam.core.errors import ModelError
from digitcam.train.model import Network
from digitcam.train.recipe import Recipe


class Checkpoint(NamedTuple):
    """A checkpoint read back; `training` (network, optimiser, step) is None in one that holds only weights."""

    recipe: Recipe
    weights: dict[str, Tensor]
    images: int
    training: dict[str, Any] | None


def write_checkpoint(
    path: Path, recipe: Recipe, weights: dict[str, Tensor], images: int, training: dict[str, Any] | None = None
) -> None:
    """Write a checkpoint whole or not at all: into a file beside it, then renamed."""
    data = {
        "recipe": msgspec.to_builtins(recipe),
        "weights": weights,
        "images": images,
        "training": training,
    }
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        torch.save(data, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; only tensors and plain values are loaded, never code.

    Raises
    ------
    ModelError
        When the file is missing or is no checkpoint of this version.
    """
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
        return Checkpoint(msgspec.convert(data["recipe"], Recipe), data["weights"], data["images"], data["training"])
    except OSError as error:
        raise ModelError(f"{path}: cannot read the checkpoint: {error.strerror}") from None
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, msgspec.ValidationError) as error:
        kind = type(error).__name__
        raise ModelError(f"{path}: not a checkpoint that this version of digitcam wrote ({kind})") from None


def network_of(checkpoint: Checkpoint) -> Network:
    """Return the checkpoint's network in evaluation mode."""
    recipe = checkpoint.recipe
    network = Network(recipe.network, recipe.head, recipe.input)
    network.load_state_dict(checkpoint.weights)
    return network.eval()
