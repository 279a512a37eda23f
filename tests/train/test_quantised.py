from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from digitcam.core.card import GridHead, Input
from digitcam.train.model import Network, NetworkConfig
from digitcam.train.quantised import Conv2d, round_activations, round_weights, set_rounded


def test_activations_by_hand() -> None:
    # From -1 to 4.1 in 255 steps of 0.02: 0 is level 50, 0.507 lies between levels 75 and 76, nearer to 75.
    x = torch.tensor([-1.0, 0.0, 0.507, 4.1])
    assert round_activations(x).tolist() == pytest.approx([-1.0, 0.0, 0.5, 4.1], abs=1e-5)


def test_activations_after_relu_keep_zero() -> None:
    # Nothing below 0: the range still begins there. From 0 to 5.1 a step is 0.02.
    x = torch.tensor([1.0, 2.013, 5.1])
    assert round_activations(x).tolist() == pytest.approx([1.0, 2.02, 5.1], abs=1e-5)


def test_weights_by_hand() -> None:
    # The first channel's step is 0.63 / 63 = 0.01, the second's 6.3 / 63 = 0.1.
    weight = torch.tensor([[0.63, -0.104], [-6.3, 0.26]]).reshape(2, 2, 1, 1)
    expected = [0.63, -0.10, -6.3, 0.3]
    assert round_weights(weight).flatten().tolist() == pytest.approx(expected, abs=1e-5)


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=40))
def test_rounding_errs_by_half_a_step(values: list[float]) -> None:
    x = torch.tensor(values, dtype=torch.float32)
    span = max(0.0, max(values)) - min(0.0, min(values))
    assert (round_activations(x) - x).abs().max() <= span / 255 * 1.01 + 1e-6


def test_constant_zeros_stay() -> None:
    assert round_activations(torch.zeros(3)).tolist() == [0, 0, 0]
    assert round_weights(torch.zeros(2, 1, 1, 1)).flatten().tolist() == [0, 0]


def test_the_gradient_passes_through() -> None:
    weight = torch.tensor([[0.5], [-0.3]]).reshape(2, 1, 1, 1).requires_grad_()
    (round_weights(weight).flatten() * torch.tensor([2.0, 3.0])).sum().backward()
    assert weight.grad is not None and weight.grad.flatten().tolist() == [2, 3]


def test_a_network_rounds_when_told_and_only_then() -> None:
    torch.manual_seed(1)
    network = Network(NetworkConfig(), GridHead(stride=8), Input(height=32, width=32)).eval()
    x = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        plain = network(x)[0]
        set_rounded(network, True)
        rounded = network(x)[0]
        set_rounded(network, False)
        again = network(x)[0]
    assert torch.equal(plain, again)
    assert 0 < (plain - rounded).abs().max() < 0.2
    # Every convolution takes part.
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert all(isinstance(m, Conv2d) for m in convolutions) and len(convolutions) == 10


def test_levels_are_at_most_256() -> None:
    x = torch.from_numpy(np.random.default_rng(1).normal(size=10_000).astype(np.float32))
    assert len(round_activations(x).unique()) <= 256
    assert len(round_weights(x.reshape(1, 100, 10, 10)).unique()) <= 127
