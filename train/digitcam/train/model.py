"""The network: strided convolutions only, no pooling anywhere, two heads behind one interface.

    grey image [B, 1, H, W] in 0..1
      stem    5x5, stride 2      [B, w0, H/2, W/2]
      down    3x3, stride 2      [B, w1, H/4, W/4]
      down    3x3, stride 2      [B, w2, H/8, W/8]
      blocks  residual 3x3 3x3   [B, w2, H/8, W/8]
      head    grid:  logits [B, H/8, W/8, classes], boxes [B, H/8, W/8, 4]
              slots: logits [B, positions, classes], boxes [B, 4]

Dense 3x3 convolutions rather than depthwise ones: at this size they train twice as fast on a CPU for the same
multiplications, and min-max int8 hardly hurts them. Batch normalisation has no bias before it and folds into the
convolution at export (`fold`). Meaning of the outputs: `digitcam.core.decode`.
"""

from __future__ import annotations

import itertools
import math
from typing import Annotated

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from digitcam.core.card import GridHead, Input, SlotsHead

Width = Annotated[int, msgspec.Meta(ge=4)]


class NetworkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Shape of the network.

    widths
        Channels after the stem and each further halving; as many entries as halvings, so the stride is 2^n.
    blocks
        Residual blocks at the last width.
    hidden
        Channels of the 1x1 (grid) or of the 3x3 stride 2 (slots) convolution before the outputs.
    """

    widths: tuple[Width, ...] = (12, 24, 48)
    blocks: Annotated[int, msgspec.Meta(ge=0)] = 2
    hidden: Width = 64

    @property
    def stride(self) -> int:
        """Input pixels a cell of the last map."""
        return int(2 ** len(self.widths))


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Return a SAME convolution with batch normalisation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs)
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


class Grid(nn.Module):
    """Every cell says which digit stands on it, or none, and where that digit's box is."""

    def __init__(self, width: int, hidden: int, head: GridHead) -> None:
        super().__init__()
        classes = len(head.alphabet) + 1
        self.mix = conv(width, hidden, 1)
        self.logits = nn.Conv2d(hidden, classes, 1)
        self.boxes = nn.Conv2d(hidden, 4, 1)
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
        for layer in self.down:
            x = F.relu(layer(x))
        for block in self.blocks:
            x = block(x)
        logits, boxes = self.head(x)
        return logits, boxes


class FromUint8(nn.Module):
    """The deployed form of a network: uint8 NHWC in, normalisation inside the graph."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 [B, H, W, channels] to logits and boxes."""
        logits, boxes = self.network(image.permute(0, 3, 1, 2).to(torch.float32) * (1 / 255))
        return logits, boxes


class WideStem(nn.Module):
    """The stem of a grey network, the same function computed on groups of four columns.

    Integer kernels work on channels by the four or eight, so a convolution with one input channel wastes most of
    their multiplications. Four neighbouring columns read as four channels (in NHWC that is a mere reshape) fill
    them; each such group then makes two output columns, whose 5 taps lie in two groups of 4, the rest zero.
    """

    def __init__(self, stem: nn.Conv2d) -> None:
        super().__init__()
        outputs = stem.out_channels
        self.conv = nn.Conv2d(4, 2 * outputs, (5, 2), stride=(2, 1))
        weight = torch.zeros_like(self.conv.weight)
        for odd in range(2):
            for tap in range(5):
                group, column = divmod(2 * odd + tap, 4)
                weight[odd * outputs : (odd + 1) * outputs, column, :, group] = stem.weight[:, 0, :, tap]
        assert stem.bias is not None
        self.conv.weight = nn.Parameter(weight)
        self.conv.bias = nn.Parameter(stem.bias.repeat(2))

    def forward(self, x: Tensor) -> Tensor:
        """[B, 1, H, W] to [B, w0, H/2, W/2], rectified."""
        batch, _, height, width = x.shape
        x = F.pad(x, (2, 2, 2, 2)).reshape(batch, height + 4, width // 4 + 1, 4)
        x = F.relu(self.conv(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
        return x.reshape(batch, height // 2, width // 2, -1).permute(0, 3, 1, 2)


@torch.no_grad()
def fold(network: Network) -> Network:
    """Return the network as it is deployed, the same function: normalisations and scales folded, grey stem widened.

    Works in place, on a network of its own: the folded one cannot be trained on.
    """
    network.eval()
    for module in list(network.modules()):
        if isinstance(module, nn.Sequential) and len(module) > 1 and isinstance(module[1], nn.BatchNorm2d):
            convolution = module[0]
            assert isinstance(convolution, nn.Conv2d)
            module[0] = fuse_conv_bn_eval(convolution, module[1])
            module[1] = nn.Identity()
    assert isinstance(network.stem, nn.Sequential)
    stem = network.stem[0]
    assert isinstance(stem, nn.Conv2d)
    if stem.in_channels == 1:
        network.stem = WideStem(stem)
    if isinstance(network.head, Slots) and isinstance(network.head.pixels, Pixels):
        size = network.head.pixels.size
        network.head.boxes.weight.mul_(size[:, None])
        network.head.boxes.bias.mul_(size)
        network.head.pixels = nn.Identity()
    return network


def count_macs(network: Network, spec: Input) -> int:
    """Return the multiply-accumulates of the convolutions and linear layers on one image."""
    total = 0

    def add(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        weight = module.weight
        assert isinstance(weight, Tensor)
        total += weight.numel() * (output.shape[2] * output.shape[3] if output.ndim == 4 else 1)

    hooks = [m.register_forward_hook(add) for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    training = network.training
    with torch.no_grad():
        network.eval()(torch.zeros(1, spec.channels, spec.height, spec.width))
    network.train(training)
    for hook in hooks:
        hook.remove()
    return total
