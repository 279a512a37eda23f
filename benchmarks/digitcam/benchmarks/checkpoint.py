"""A checkpoint as what reads frames, so that a network can be tried that is not exported, or cannot be."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import torch
from torch import nn

from digitcam.core.arrays import UInt8Array
from digitcam.core.card import Card, Training
from digitcam.core.reading import Model
from digitcam.edge.engines import Outputs
from digitcam.edge.pipeline import Reader
from digitcam.train.checkpoint import network_of, read_checkpoint
from digitcam.train.deploy import FromUint8, count_macs


class TorchEngine:
    """A network in torch behind the protocol of `edge.engines`."""

    def __init__(self, network: nn.Module) -> None:
        self.network = FromUint8(network).eval()

    @torch.no_grad()
    def run(self, image: UInt8Array) -> Outputs:
        """Run uint8 [1, H, W, channels]; return float32 `logits` and `boxes`."""
        logits, boxes = self.network(torch.from_numpy(image))
        return {"logits": logits.numpy(), "boxes": boxes.numpy()}


class CheckpointReader(Reader):
    """Reads frames with a checkpoint's network; the format in its readings is `torch`.

    Raises
    ------
    ModelError
        As `read_checkpoint`.
    """

    def __init__(self, path: Path) -> None:
        saved = read_checkpoint(path)
        recipe, network = saved.recipe, network_of(saved)
        self.engine = TorchEngine(network)
        self.card = Card(
            name=recipe.name,
            input=recipe.input,
            head=recipe.head,
            training=Training(recipe.name, msgspec.to_builtins(recipe.data)["kind"], saved.images, "unknown"),
            licence=recipe.licence,
            parameters=sum(p.numel() for p in network.parameters()),
            macs=count_macs(network, recipe.input),
        )
        self.accept = self.card.thresholds.accept
        self.model = Model(recipe.name, "torch", hashlib.sha256(path.read_bytes()).hexdigest())
        self.previous = {}
