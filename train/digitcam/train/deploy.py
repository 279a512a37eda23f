"""The form in which a network is deployed: bytes in, normalisation folded, and what it then costs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from digitcam.core.card import Input
from digitcam.train.model import Network, Pixels, Slots


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


def count_macs(network: nn.Module, spec: Input) -> int:
    """Return the multiply-accumulates of the convolutions, linear layers and GRU steps on one image."""
    total = 0

    def add(module: nn.Module, _: object, output: Tensor | tuple[Tensor, Tensor]) -> None:
        nonlocal total
        if isinstance(output, Tensor):
            # Linear: [1, ..., outputs]. Convolution: [1, outputs, h, w].
            outputs = output.shape[1 if isinstance(module, nn.Conv2d) else -1]
            times = output.numel() // outputs
        else:
            times = output[0].shape[1]  # GRU: states [1, positions, units]
        total += times * sum(p.numel() for p in module.parameters() if p.ndim > 1)

    counted = (nn.Conv2d, nn.Linear, nn.GRU)
    hooks = [m.register_forward_hook(add) for m in network.modules() if isinstance(m, counted)]
    training = network.training
    with torch.no_grad():
        network.eval()(torch.zeros(1, spec.channels, spec.height, spec.width))
    network.train(training)
    for hook in hooks:
        hook.remove()
    return total
