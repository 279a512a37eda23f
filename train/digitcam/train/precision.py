"""Whether bfloat16 computes here what it should: a processor's library may have a kernel that does not."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from digitcam.core.errors import ConfigError
from digitcam.train.losses import convolutions

LARGEST = 0.05
"""Error of a convolution in bfloat16 beside its result in float32, both as norms; its 8 bits alone make 0.003."""


@torch.no_grad()
def check_bfloat16(network: nn.Module, images: Tensor) -> None:
    """Hold every convolution's result on images float32 [B, channels, H, W] in bfloat16 against that in float32.

    oneDNN 3.12 computes 8x8 kernels on 8 to 12 channels wrongly on processors with AMX: a network learns with them, and
    reads nothing in float32.

    Raises
    ------
    ConfigError
        Naming a convolution that computes something else.
    """

    def compare(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d)
        with torch.autocast(images.device.type, enabled=False):
            true = layer._conv_forward(inputs[0].float(), layer.weight, layer.bias)
        error = float((output.float() - true).norm() / true.norm().clamp(min=1e-12))
        if not error <= LARGEST:
            size = "x".join(map(str, layer.kernel_size))
            raise ConfigError(
                f"schedule.precision is bf16, but a {size} convolution of {layer.in_channels} to {layer.out_channels} "
                f"channels comes out {error:.0%} off in it on this machine: set it to fp32"
            )

    training = network.training
    network.eval()  # normalisations should not remember these images
    hooks: list[Any] = [layer.register_forward_hook(compare) for layer in convolutions(network)]
    try:
        with torch.autocast(images.device.type, torch.bfloat16):
            network(images)
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
