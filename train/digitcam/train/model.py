"""The network: strided convolutions only, no pooling anywhere, two heads behind one interface.

    grey image [B, 1, H, W] in 0..1
      stem    5x5, stride 2      [B, w0, H/2, W/2]
      down    3x3, stride 2      [B, w1, H/4, W/4]
      fine    (if asked for) blocks  [B, w1, H/4, W/4]
      down    3x3, stride 2      [B, w2, H/8, W/8]
      context (if asked for) blocks at H/16, added to the cells they cover
      blocks  residual 3x3 3x3   [B, w2, H/8, W/8]
      head    grid:  logits [B, H/8, W/8, classes], boxes [B, H/8, W/8, 4]
              slots: logits [B, positions, classes], boxes [B, 4]

Dense 3x3 convolutions rather than depthwise ones: at this size they train twice as fast on a CPU for the same
multiplications, and min-max int8 hardly hurts them. Batch normalisation has no bias before it and folds into the
convolution at export (`deploy.fold`). Meaning of the outputs: `digitcam.core.decode`.
"""

from __future__ import annotations

import itertools
import math
from typing import Annotated

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from digitcam.core.card import GridHead, Input, SlotsHead
from digitcam.train.quantised import Conv2d

Width = Annotated[int, msgspec.Meta(ge=4)]


class NetworkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="residual", tag_field="kind"):
    """Shape of the network; the kind that a recipe means when it names none.

    widths
        Channels after the stem and each further halving; as many entries as halvings, so the stride is 2^n.
    blocks
        Residual blocks at the last width.
    hidden
        Channels of the 1x1 (grid) or of the 3x3 stride 2 (slots) convolution before the outputs.
    context
        Channels after each further halving of the branch that sees far; none by default. Digits larger than the
        blocks' field of view need it, and it costs a quarter of the same blocks before the halving.
    context_blocks
        Residual blocks at the end of that branch.
    fine_blocks
        Residual blocks before the last halving: small digits are told apart there.
    """

    widths: tuple[Width, ...] = (12, 24, 48)
    blocks: Annotated[int, msgspec.Meta(ge=0)] = 2
    hidden: Width = 64
    context: tuple[Width, ...] = ()
    context_blocks: Annotated[int, msgspec.Meta(ge=0)] = 2
    fine_blocks: Annotated[int, msgspec.Meta(ge=0)] = 0

    def __post_init__(self) -> None:
        if self.fine_blocks and len(self.widths) < 2:
            raise ValueError("fine_blocks needs at least two widths: they stand before the last halving")

    @property
    def stride(self) -> int:
        """Input pixels a cell of the last map."""
        return int(2 ** len(self.widths))

    @property
    def coarsest(self) -> int:
        """Input pixels a cell of the coarsest map; inputs are multiples of it."""
        return int(2 ** (len(self.widths) + len(self.context)))

    def build(self, head: GridHead | SlotsHead, spec: Input) -> Network:
        """Return the network, untrained."""
        return Network(self, head, spec)


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Return a SAME convolution with batch normalisation."""
    return nn.Sequential(
        Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs)
    )


class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = conv(width, width, 3)
        self.second = conv(width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, width, h, w] to the same."""
        return F.relu(x + self.second(F.relu(self.first(x))))


class Context(nn.Module):
    """What lies further around: halved again, blocks there, and added back to the map it came from."""

    def __init__(self, width: int, widths: tuple[int, ...], blocks: int) -> None:
        super().__init__()
        self.scale = 2 ** len(widths)
        self.down = nn.ModuleList(conv(a, b, 3, stride=2) for a, b in itertools.pairwise((width, *widths)))
        self.blocks = nn.ModuleList(Residual(widths[-1]) for _ in range(blocks))
        self.back = conv(widths[-1], width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, width, h, w] to the same."""
        far = x
        for layer in self.down:
            far = F.relu(layer(far))
        for block in self.blocks:
            far = block(far)
        return F.relu(x + F.interpolate(self.back(far), scale_factor=self.scale, mode="nearest"))


class Grid(nn.Module):
    """Every cell says which digit stands on it, or none, and where that digit's box is."""

    def __init__(self, width: int, hidden: int, head: GridHead) -> None:
        super().__init__()
        classes = len(head.alphabet) + 1
        self.mix = conv(width, hidden, 1)
        self.logits = Conv2d(hidden, classes, 1)
        self.boxes = Conv2d(hidden, 4, 1)
        # Most cells hold nothing: begin there, or the first steps are spent on learning it.
        nn.init.constant_(self.logits.bias[-1:], 3.0)  # type: ignore[index]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, width, h, w] to logits [B, h, w, classes] and boxes [B, h, w, 4]."""
        x = F.relu(self.mix(x))
        return self.logits(x).permute(0, 2, 3, 1), self.boxes(x).permute(0, 2, 3, 1)


class Pixels(nn.Module):
    """Turns shares of the input (centre x, centre y, height, width) into pixels.

    A layer that had to answer in the hundreds would learn slower than its neighbours.
    """

    size: Tensor

    def __init__(self, spec: Input) -> None:
        super().__init__()
        size = torch.tensor([spec.width, spec.height, spec.height, spec.width], dtype=torch.float32)
        self.register_buffer("size", size, persistent=False)

    def forward(self, shares: Tensor) -> Tensor:
        """[B, 4] in shares to [B, 4] in pixels."""
        return shares * self.size


class Slots(nn.Module):
    """K positions and one box from the whole map, the seed's form; made for one input size."""

    def __init__(self, width: int, hidden: int, head: SlotsHead, cells: tuple[int, int], spec: Input) -> None:
        super().__init__()
        self.positions, self.classes = head.positions, len(head.alphabet) + 1
        self.reduce = conv(width, hidden, 3, stride=2)
        features = hidden * math.ceil(cells[0] / 2) * math.ceil(cells[1] / 2)
        self.logits = nn.Linear(features, self.positions * self.classes)
        self.boxes = nn.Linear(features, 4)
        self.pixels: nn.Module = Pixels(spec)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, width, h, w] to logits [B, positions, classes] and boxes [B, 4] in pixels."""
        x = F.relu(self.reduce(x)).flatten(1)
        logits = self.logits(x).reshape(-1, self.positions, self.classes)
        return logits, self.pixels(self.boxes(x))


class Network(nn.Module):
    """Trunk and head. Input float32 [B, channels, H, W] in 0..1; output (logits, boxes), see the heads."""

    def __init__(self, config: NetworkConfig, head: GridHead | SlotsHead, spec: Input) -> None:
        super().__init__()
        widths = config.widths
        self.stem: nn.Module = nn.Sequential(*conv(spec.channels, widths[0], 5, stride=2), nn.ReLU())
        self.down = nn.ModuleList(conv(a, b, 3, stride=2) for a, b in itertools.pairwise(widths))
        self.fine = nn.ModuleList(Residual(widths[-2]) for _ in range(config.fine_blocks))
        self.context = Context(widths[-1], config.context, config.context_blocks) if config.context else nn.Identity()
        self.blocks = nn.ModuleList(Residual(widths[-1]) for _ in range(config.blocks))
        self.head: Grid | Slots
        if isinstance(head, GridHead):
            self.head = Grid(widths[-1], config.hidden, head)
        else:
            cells = (spec.height // config.stride, spec.width // config.stride)
            self.head = Slots(widths[-1], config.hidden, head, cells, spec)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, channels, H, W] to logits and boxes."""
        x = self.stem(x)
        for layer in self.down[:-1]:
            x = F.relu(layer(x))
        for block in self.fine:
            x = block(x)
        for layer in self.down[-1:]:
            x = F.relu(layer(x))
        x = self.context(x)
        for block in self.blocks:
            x = block(x)
        logits, boxes = self.head(x)
        return logits, boxes
