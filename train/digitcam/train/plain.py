"""The seed's networks, for comparison: what the recipes below `train/recipes/seed` are made of. Not for export.

    image [B, C, H, W] in 0..1
      trunk   n convolutions, each halved   [B, wn, H/2^n, W/2^n]
      hidden  linear, of the flat map       [B, features]
      digits  GRU or linear                 logits [B, positions, classes]
      box     linear, or none               boxes [B, 4] in pixels

The halving is max-pooling, as the seed's, or a convolution with stride 2: one key tells what pooling costs.
"""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Literal

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from digitcam.core.card import GridHead, Input, SlotsHead
from digitcam.train.model import Width

Positive = Annotated[int, msgspec.Meta(gt=0)]
Dropped = Annotated[float, msgspec.Meta(ge=0, lt=1)]


class PlainConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="plain", tag_field="kind"):
    """Shape of one of the seed's networks; initialised as torch does, for how the seed did is not known.

    layers
        Kernel and channels of each convolution; ReLU and a halving follow each.
    halving
        `pool`: 2x2 max-pooling. `conv`: in its place a 2x2 convolution with stride 2, and nothing else.
    normalise
        What the first convolution sees: bytes 0..255 (`none`), 0..1 (`unit`), or each image less its mean and over
        its deviation (`standardise`, as tf.image.per_image_standardization).
    dropout, head_dropout
        Share of values dropped before each halving, and of the features before the heads.
    hidden
        Fully connected layers between the convolutions and the heads.
    classifier
        `gru`: a GRU of `units` that is shown the features at each position anew, and one layer for all positions.
        `linear`: a layer a position.
    box_layers
        Fully connected layers before the layer that answers with the box; without this key there is no box.
    """

    layers: Annotated[tuple[tuple[Positive, Width], ...], msgspec.Meta(min_length=1)]
    halving: Literal["pool", "conv"] = "pool"
    normalise: Literal["none", "unit", "standardise"] = "unit"
    dropout: Dropped = 0.0
    head_dropout: Dropped = 0.0
    hidden: tuple[Width, ...] = ()
    classifier: Literal["gru", "linear"] = "gru"
    units: Width = 576
    box_layers: tuple[Width, ...] | None = None

    @property
    def stride(self) -> int:
        """Input pixels a cell of the last map."""
        return int(2 ** len(self.layers))

    @property
    def coarsest(self) -> int:
        """Input pixels a cell of the coarsest map; inputs are multiples of it."""
        return self.stride

    def build(self, head: GridHead | SlotsHead, spec: Input) -> PlainNetwork:
        """Return the network, untrained.

        Raises
        ------
        ValueError
            When it is asked for a grid.
        """
        if isinstance(head, GridHead):
            raise ValueError("network.kind 'plain' needs head.kind 'slots'")
        return PlainNetwork(self, head, spec)


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d` on zeros beside its channels, up to 16 of them.

    oneDNN 3.12 computes some larger kernels on fewer channels wrongly in bfloat16, see `precision.check_bfloat16`.
    """

    def forward(self, x: Tensor) -> Tensor:
        """As `torch.nn.Conv2d`."""
        if torch.is_autocast_enabled(x.device.type) and 1 < self.in_channels < 16:
            missing = (0, 0, 0, 0, 0, 16 - self.in_channels)
            x, weight = F.pad(x, missing), F.pad(self.weight, missing)
        else:
            weight = self.weight
        output: Tensor = self._conv_forward(x, weight, self.bias)
        return output


def layer(inputs: int, outputs: int, kernel: int, config: PlainConfig) -> nn.Sequential:
    """Return a convolution, padded as TensorFlow's SAME pads (an even kernel one more behind), ReLU and a halving."""
    before, behind = (kernel - 1) // 2, kernel // 2
    return nn.Sequential(
        nn.ZeroPad2d((before, behind, before, behind)),
        Conv2d(inputs, outputs, kernel),
        nn.ReLU(),
        nn.Dropout(config.dropout),
        nn.MaxPool2d(2) if config.halving == "pool" else nn.Conv2d(outputs, outputs, 2, stride=2),
    )


def dense(*widths: int) -> nn.Sequential:
    """Return linear layers from width to width, each with ReLU: [B, widths[0]] to [B, widths[-1]]."""
    layers = [(nn.Linear(a, b), nn.ReLU()) for a, b in itertools.pairwise(widths)]
    return nn.Sequential(*itertools.chain.from_iterable(layers))


class Unrolled(nn.Module):
    """A GRU that is shown the same features once a position, and a layer that turns each of its states to classes."""

    def __init__(self, features: int, units: int, positions: int, classes: int) -> None:
        super().__init__()
        self.positions = positions
        self.gru = nn.GRU(features, units, batch_first=True)
        self.logits = nn.Linear(units, classes)

    def forward(self, x: Tensor) -> Tensor:
        """[B, features] to logits [B, positions, classes]."""
        states, _ = self.gru(x[:, None].expand(-1, self.positions, -1))  # [B, positions, units]
        logits: Tensor = self.logits(states)
        return logits


class PlainNetwork(nn.Module):
    """K positions, and one box or none; input and output as those of `Network`."""

    def __init__(self, config: PlainConfig, head: SlotsHead, spec: Input) -> None:
        super().__init__()
        self.normalise = config.normalise
        classes = len(head.alphabet) + 1
        channels = (spec.channels, *(width for _, width in config.layers))
        pairs = zip(itertools.pairwise(channels), config.layers, strict=True)
        self.trunk = nn.Sequential(*(layer(a, b, kernel, config) for (a, b), (kernel, _) in pairs))
        cells = (spec.height // config.stride) * (spec.width // config.stride)
        self.hidden = dense(channels[-1] * cells, *config.hidden)
        self.features = (channels[-1] * cells, *config.hidden)[-1]
        self.dropout = nn.Dropout(config.head_dropout)
        self.digits: nn.Module
        if config.classifier == "gru":
            self.digits = Unrolled(self.features, config.units, head.positions, classes)
        else:
            flat = nn.Linear(self.features, head.positions * classes)
            self.digits = nn.Sequential(flat, nn.Unflatten(1, (head.positions, classes)))
        self.box: nn.Module | None = None
        if config.box_layers is not None:
            widths = (self.features, *config.box_layers)
            self.box = nn.Sequential(dense(*widths), nn.Linear(widths[-1], 4))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, channels, H, W] in 0..1 to logits and boxes; boxes of zeros where the network has none."""
        if self.normalise == "none":
            x = x * 255
        if self.normalise == "standardise":
            deviation, mean = torch.std_mean(x, dim=(1, 2, 3), correction=0, keepdim=True)
            # At least that of bytes of which one differs: a black image stays black.
            x = (x - mean) / deviation.clamp(min=1 / (255 * math.sqrt(x[0].numel())))
        x = self.dropout(self.hidden(self.trunk(x).flatten(1)))
        return self.digits(x), x.new_zeros(len(x), 4) if self.box is None else self.box(x)
