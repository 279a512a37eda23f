"""Quantisation-aware training: a convolution that rounds as int8 will, and learns to live with it.

Jacob et al. 2018, arXiv:1712.05877: forward on rounded numbers, backward as if they were not. Weights are rounded
a channel, so folding the batch normalisation afterwards only scales what was rounded; activations are rounded to
the range of the batch at hand, which comes close to the range of the calibration images.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WEIGHT_LIMIT = 63
"""Weights become -63 to 63: the seven bits that `digitcam.export.onnx` gives them."""
LEVELS = 255
"""Activations become 0 to 255."""


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d`, which rounds its input and weights while `rounded` is set."""

    rounded = False

    def forward(self, x: Tensor) -> Tensor:
        """As `torch.nn.Conv2d`."""
        if not self.rounded:
            return super().forward(x)
        output: Tensor = self._conv_forward(round_activations(x), round_weights(self.weight), self.bias)
        return output


def round_activations(x: Tensor) -> Tensor:
    """Return a tensor rounded to 256 levels between its least and largest value, of which 0 is one."""
    low, high = x.detach().amin().clamp(max=0), x.detach().amax().clamp(min=0)
    scale = ((high - low) / LEVELS).clamp(min=torch.finfo(torch.float32).tiny)
    zero_point = (-low / scale).round().to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(x, scale, zero_point, 0, LEVELS)


def round_weights(weight: Tensor) -> Tensor:
    """Return weights [out, in, h, w] rounded to 127 levels an output channel, symmetric about 0."""
    largest = weight.detach().abs().amax(dim=(1, 2, 3))
    scale = (largest / WEIGHT_LIMIT).clamp(min=torch.finfo(torch.float32).tiny)
    zero_points = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero_points, 0, -WEIGHT_LIMIT, WEIGHT_LIMIT)


def set_rounded(network: nn.Module, rounded: bool) -> None:
    """Let all convolutions of a network round, or not."""
    for module in network.modules():
        if isinstance(module, Conv2d):
            module.rounded = rounded
