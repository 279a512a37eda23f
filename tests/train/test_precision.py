from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from digitcam.core.errors import ConfigError
from digitcam.train.precision import check_bfloat16


class Doubled(nn.Conv2d):
    """What a wrong kernel does: in bfloat16 twice what it is in float32."""

    def forward(self, x: Tensor) -> Tensor:
        once = super().forward(x)
        return 2 * once if torch.is_autocast_enabled(x.device.type) else once


def test_a_convolution_that_bfloat16_computes_wrongly_is_named() -> None:
    images = torch.rand(2, 1, 24, 24)
    check_bfloat16(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 5)), images)
    wrong = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), Doubled(4, 6, 5))
    with pytest.raises(ConfigError, match=r"a 5x5 convolution of 4 to 6 channels comes out 100% off .* set it to fp32"):
        check_bfloat16(wrong, images)
    assert all(not layer._forward_hooks for layer in wrong)


def test_a_network_stays_as_it_was() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    check_bfloat16(network, torch.rand(2, 1, 24, 24))
    assert network.training and all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_numbers_that_are_none_are_no_result() -> None:
    layer = nn.Conv2d(1, 4, 3)
    nn.init.constant_(layer.weight, float("nan"))
    with pytest.raises(ConfigError, match="comes out nan% off"):
        check_bfloat16(layer, torch.rand(2, 1, 24, 24))
