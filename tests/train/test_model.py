from __future__ import annotations

import pytest
import torch
from torch import nn

from digitcam.core.card import GridHead, Input, SlotsHead
from digitcam.train.deploy import FromUint8, WideStem, count_macs, fold
from digitcam.train.model import Network, NetworkConfig

SPEC = Input(height=128, width=256)
SMALL = Input(height=32, width=64)
HEADS = [GridHead(stride=8), SlotsHead(positions=5)]


def randomised(head: GridHead | SlotsHead, spec: Input) -> Network:
    """A network whose normalisations do something, as after training."""
    torch.manual_seed(3)
    network = Network(NetworkConfig((8, 12, 16), blocks=1, fine_blocks=1, hidden=16), head, spec)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight, 1, 0.3)
            nn.init.normal_(module.bias, 0, 0.3)
    return network.eval()


@pytest.mark.parametrize("head", HEADS, ids=["grid", "slots"])
@pytest.mark.parametrize("channels", [1, 3])
@torch.no_grad()
def test_fold_is_the_same_function(head: GridHead | SlotsHead, channels: int) -> None:
    spec = Input(height=32, width=64, channels=channels)  # type: ignore[arg-type]
    network = randomised(head, spec)
    x = torch.rand(2, channels, 32, 64)
    before = network(x)
    folded = fold(network)
    for old, new in zip(before, folded(x), strict=True):
        assert old.std() > 0.01
        torch.testing.assert_close(new, old, rtol=1e-5, atol=1e-5)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert isinstance(folded.stem, WideStem) == (channels == 1)


@pytest.mark.parametrize("head", HEADS, ids=["grid", "slots"])
def test_no_pooling_anywhere(head: GridHead | SlotsHead) -> None:
    network = Network(NetworkConfig(), head, SPEC)
    for module in [*network.modules(), *fold(network).modules()]:
        assert "pool" not in type(module).__name__.lower()
    graph = torch.export.export(network, (torch.zeros(1, 1, 128, 256),)).graph
    calls = {str(node.target) for node in graph.nodes if node.op == "call_function"}
    assert any("conv2d" in call for call in calls)
    assert not any(word in call for call in calls for word in ("pool", "mean", "amax", "interpolate"))


@pytest.mark.parametrize("spec", [SPEC, SMALL, Input(height=56, width=168)])
@torch.no_grad()
def test_grid_shapes(spec: Input) -> None:
    network = Network(NetworkConfig(), GridHead(stride=8), spec).eval()
    logits, boxes = network(torch.zeros(2, 1, spec.height, spec.width))
    assert logits.shape == (2, spec.height // 8, spec.width // 8, 11)
    assert boxes.shape == (2, spec.height // 8, spec.width // 8, 4)


@pytest.mark.parametrize("spec", [SPEC, SMALL, Input(height=56, width=168)])
@torch.no_grad()
def test_slots_shapes(spec: Input) -> None:
    network = Network(NetworkConfig(), SlotsHead(positions=5), spec).eval()
    logits, boxes = network(torch.zeros(2, 1, spec.height, spec.width))
    assert logits.shape == (2, 5, 11)
    assert boxes.shape == (2, 4)


def test_fine_blocks_stand_before_the_last_halving() -> None:
    # Two convolutions of 3x3 on 12 channels, on the map of H/4 and W/4.
    without, one = (NetworkConfig((8, 12, 16), fine_blocks=n).build(HEADS[0], SPEC) for n in (0, 1))
    assert count_macs(one, SPEC) - count_macs(without, SPEC) == 2 * 3 * 3 * 12 * 12 * 32 * 64
    with pytest.raises(ValueError, match="fine_blocks needs at least two widths"):
        NetworkConfig((8,), fine_blocks=1)


@torch.no_grad()
def test_a_grid_begins_with_nothing_said() -> None:
    torch.manual_seed(1)
    logits, _ = Network(NetworkConfig(), GridHead(stride=8), SPEC).eval()(torch.rand(1, 1, 128, 256))
    assert (logits.argmax(dim=-1) == 10).float().mean() > 0.9


@torch.no_grad()
def test_from_uint8() -> None:
    network = randomised(GridHead(stride=8), SMALL)
    image = torch.randint(0, 256, (1, 32, 64, 1), dtype=torch.uint8)
    logits, boxes = FromUint8(network)(image)
    expected = network(image[..., 0][:, None].float() / 255)
    torch.testing.assert_close((logits, boxes), expected)


def test_stride() -> None:
    assert NetworkConfig().stride == 8
    assert NetworkConfig(widths=(8, 8)).stride == 4


def test_macs_by_hand() -> None:
    network = Network(NetworkConfig(), GridHead(stride=8), SPEC)
    expected = (
        5 * 5 * 1 * 12 * 64 * 128  # stem                 2,457,600
        + 3 * 3 * 12 * 24 * 32 * 64  # down               5,308,416
        + 3 * 3 * 24 * 48 * 16 * 32  # down               5,308,416
        + 4 * 3 * 3 * 48 * 48 * 16 * 32  # two blocks    42,467,328
        + 48 * 64 * 16 * 32  # mix                        1,572,864
        + 64 * 11 * 16 * 32  # logits                       360,448
        + 64 * 4 * 16 * 32  # boxes                         131,072
    )
    assert expected == 57_606_144
    assert count_macs(network, SPEC) == expected
    assert network.training


def test_macs_of_slots_by_hand() -> None:
    network = Network(NetworkConfig(), SlotsHead(positions=5), SPEC)
    trunk = 2_457_600 + 2 * 5_308_416 + 42_467_328
    # 3x3 stride 2 to 64 x 8 x 16, then 8,192 features to 5 x 11 logits and 4 numbers.
    assert count_macs(network, SPEC) == trunk + 3 * 3 * 48 * 64 * 8 * 16 + 8_192 * (55 + 4)
