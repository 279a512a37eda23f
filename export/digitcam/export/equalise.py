"""Equalisation before int8: channels of like range, so that one scale a tensor serves them all; the same function.

A convolution's output channel divided by a positive factor, and the weights that read this channel multiplied by it,
change nothing in between but the range, for ReLU, additions and nearest-neighbour enlarging let positive factors
through (Nagel et al. 2019, "Data-free quantization through weight equalization and bias correction"). The factor
balances the channel's range against that of the weights that read it, as Xiao et al. 2023, "SmoothQuant", eq. 4.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from digitcam.core.arrays import UInt8Array
from digitcam.train.deploy import WideStem
from digitcam.train.model import Context, Grid, Network, Residual

MIGRATION = 0.5
"""How much of a channel's range goes into the weights that read it, 0 to 1: SmoothQuant's alpha, and its default."""
SMALLEST = 1e-4
"""Ranges below this share of the largest count as this: channels that are always nothing."""


class Stream(NamedTuple):
    """Channels that some convolutions write, rectified and perhaps added up, and others read."""

    writers: Sequence[nn.Conv2d]
    readers: Sequence[nn.Conv2d]


def equalise(network: Network, images: UInt8Array) -> Network:
    """Return a folded network with its channels' ranges on some images balanced; it works in place.

    Parameters
    ----------
    images
        uint8 [N, H, W, channels].
    """
    found = streams(network)
    ranges = _ranges(network, [reader for stream in found for reader in stream.readers], images)
    with torch.no_grad():
        for stream in found:
            _balance(stream, torch.stack([ranges[reader] for reader in stream.readers]).amax(0))
    return network


def streams(network: Network) -> list[Stream]:
    """Return the channels between the convolutions of a folded network, the outputs' left out."""
    stem = network.stem.conv if isinstance(network.stem, WideStem) else _convolution(network.stem)
    down = [stem, *map(_convolution, network.down)]
    found = [Stream([a], [b]) for a, b in itertools.pairwise(down[:-1])]
    found += _residual(down[-2:-1], network.fine, down[-1:]) if network.down else []
    head = network.head
    mix, outputs = (head.mix, (head.logits, head.boxes)) if isinstance(head, Grid) else (head.reduce, ())
    writers, readers = [down[-1]], [_convolution(mix)]
    if isinstance(network.context, Context):
        far = [_convolution(layer) for layer in network.context.down]
        found += [Stream([a], [b]) for a, b in itertools.pairwise(far)]
        readers.append(far[0])
        writers.append(_convolution(network.context.back))
        found += _residual([far[-1]], network.context.blocks, [_convolution(network.context.back)])
    found += _residual(writers, network.blocks, readers)
    return [*found, Stream([_convolution(mix)], outputs)] if outputs else found


def _residual(writers: list[nn.Conv2d], blocks: nn.ModuleList, readers: list[nn.Conv2d]) -> list[Stream]:
    """Return the stream that runs beside residual blocks, and those within them."""
    pairs = [(_convolution(b.first), _convolution(b.second)) for b in blocks if isinstance(b, Residual)]
    beside = Stream([*writers, *(second for _, second in pairs)], [*readers, *(first for first, _ in pairs)])
    return [beside, *(Stream([first], [second]) for first, second in pairs)]


def _convolution(layer: nn.Module) -> nn.Conv2d:
    assert isinstance(layer, nn.Sequential)
    convolution = layer[0]
    assert isinstance(convolution, nn.Conv2d)
    return convolution


def _ranges(network: Network, readers: Sequence[nn.Conv2d], images: UInt8Array) -> dict[nn.Conv2d, Tensor]:
    """Return the largest value [channels] that each reader is given; none is negative."""
    found: dict[nn.Conv2d, Tensor] = {}

    def note(reader: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(reader, nn.Conv2d)
        highest = inputs[0].amax((0, 2, 3))
        found[reader] = torch.maximum(found.get(reader, highest), highest)

    hooks = [reader.register_forward_pre_hook(note) for reader in readers]
    with torch.no_grad():
        for image in images:
            network(torch.from_numpy(image).permute(2, 0, 1)[None] / 255)
    for hook in hooks:
        hook.remove()
    return found


def _balance(stream: Stream, highest: Tensor) -> None:
    weights = torch.stack([reader.weight.abs().amax((0, 2, 3)) for reader in stream.readers]).amax(0)
    highest, weights = (values.clamp(min=SMALLEST * values.max()) for values in (highest, weights))
    factor = highest**MIGRATION / weights ** (1 - MIGRATION)
    for writer in stream.writers:
        each = factor.repeat(writer.out_channels // len(factor))  # the wide stem writes two columns at once
        writer.weight.div_(each[:, None, None, None])
        assert writer.bias is not None
        writer.bias.div_(each)
    for reader in stream.readers:
        reader.weight.mul_(factor[None, :, None, None])
