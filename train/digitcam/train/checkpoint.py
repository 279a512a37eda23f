"""Checkpoints: weights, the recipe that made them, and, while a run goes on, all it needs to go on."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch
from torch import Tensor, nn

from digitcam.core.errors import ModelError, SinkError
from digitcam.core.whole import write_file
from digitcam.train.data import source_of
from digitcam.train.recipe import Recipe, to_recipe
from digitcam.train.svhn import STAND_IN, SvhnData


class Checkpoint(NamedTuple):
    """A checkpoint read back; `training` (see `Trainer.state`) is None in one that holds only weights."""

    recipe: Recipe
    weights: dict[str, Tensor]
    images: int
    training: dict[str, Any] | None

    @property
    def source(self) -> str:
        """What the images were that its run learned from, see `data.source_of`.

        Runs of earlier versions did not keep it. Of SVHN they are taken for drawn: a result must not claim photographs
        that the run may not have seen.
        """
        assert self.training is not None
        unkept = STAND_IN if isinstance(self.recipe.data, SvhnData) else source_of(self.recipe.data, "train")
        return str(self.training.get("source", unkept))


def write_checkpoint(
    path: Path, recipe: Recipe, weights: dict[str, Tensor], images: int, training: dict[str, Any] | None = None
) -> None:
    """Write a checkpoint whole or not at all: into a file beside it, then renamed.

    Raises
    ------
    SinkError
        When the disk is full or cannot be written to; an earlier checkpoint stays as it was.
    """
    data = {
        "recipe": msgspec.to_builtins(recipe),
        "weights": weights,
        "images": images,
        "training": training,
    }
    # Into memory first: of a file that cannot be written, torch tells neither the name nor the reason.
    whole = io.BytesIO()
    torch.save(data, whole)
    try:
        write_file(path, whole.getbuffer())
    except OSError as error:
        kept = "the one before it is whole" if path.exists() else "make room or give another --out"
        raise SinkError(f"{path}: cannot write the checkpoint: {error.strerror}: {kept}") from None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; only tensors and plain values are loaded, never code.

    Raises
    ------
    ModelError
        When the file is missing or is no checkpoint of this version.
    """
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
        return Checkpoint(to_recipe(data["recipe"]), data["weights"], data["images"], data["training"])
    except OSError as error:
        raise ModelError(f"{path}: cannot read the checkpoint: {error.strerror}") from None
    except Exception as error:  # of bytes that are no pickle, an unpickler may raise anything
        kind = type(error).__name__
        raise ModelError(f"{path}: not a checkpoint that this version of digitcam wrote ({kind})") from None


def network_of(checkpoint: Checkpoint) -> nn.Module:
    """Return the checkpoint's network in evaluation mode."""
    recipe = checkpoint.recipe
    network = recipe.network.build(recipe.head, recipe.input)
    network.load_state_dict(checkpoint.weights)
    return network.eval()
