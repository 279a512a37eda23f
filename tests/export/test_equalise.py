import copy
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

from digitcam.core.card import GridHead, Input, SlotsHead
from digitcam.export.equalise import Stream, equalise, streams
from digitcam.train.deploy import fold
from digitcam.train.model import Network, NetworkConfig

SPEC = Input(height=32, width=64)
GRID, SLOTS = GridHead(stride=8), SlotsHead(positions=3)
PLAIN = NetworkConfig(widths=(4, 6, 8), blocks=2, hidden=8)
FAR = NetworkConfig(widths=(4, 6, 8), blocks=1, hidden=8, context=(8, 12), context_blocks=2)
FINE = NetworkConfig(widths=(4, 6, 8), blocks=0, fine_blocks=2, hidden=8, context=(8,), context_blocks=1)
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 64, 1), dtype=np.uint8)


def folded(config: NetworkConfig, head: GridHead | SlotsHead, spec: Input = SPEC) -> Network:
    torch.manual_seed(3)
    return fold(config.build(head, spec))


def answers(network: Network, images: np.ndarray = IMAGES) -> list[torch.Tensor]:
    with torch.no_grad():
        return list(network(torch.from_numpy(images).permute(0, 3, 1, 2) / 255))


@pytest.mark.parametrize("config", [PLAIN, FAR, FINE])
@pytest.mark.parametrize("head", [GRID, SLOTS])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_function_stays(config: NetworkConfig, head: GridHead | SlotsHead, channels: int) -> None:
    images = np.repeat(IMAGES, channels, axis=-1)
    network = folded(config, head, Input(height=32, width=64, channels=channels))
    before = copy.deepcopy(network)
    for was, now in zip(answers(before, images), answers(equalise(network, images), images), strict=True):
        torch.testing.assert_close(now, was, rtol=1e-4, atol=1e-4)
    weights = [zip(a.parameters(), b.parameters(), strict=True) for a, b in [(before.down[0], network.down[0])]]
    assert not all(torch.equal(a, b) for pairs in weights for a, b in pairs)


@pytest.mark.parametrize("config", [PLAIN, FAR, FINE])
def test_every_convolution_is_read_and_written_once(config: NetworkConfig) -> None:
    network = folded(config, GRID)
    convolutions = {module: name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}
    found = streams(network)
    read = Counter(convolutions[one] for stream in found for one in stream.readers)
    written = Counter(convolutions[one] for stream in found for one in stream.writers)
    # Nothing is written before the stem, and nothing reads the outputs.
    assert read == Counter(set(convolutions.values()) - {"stem.conv"})
    assert written == Counter(set(convolutions.values()) - {"head.logits", "head.boxes"})


def test_a_stream_balanced_by_hand() -> None:
    # A channel that reaches 8, read by weights up to 2, is divided by sqrt(8 / 2) = 2: both are 4 then.
    network = folded(PLAIN, GRID)
    (stream,) = [s for s in streams(network) if network.blocks[0].second[0] in s.readers and len(s.readers) == 1]
    equalise(network, IMAGES)
    highest = []
    hook = stream.readers[0].register_forward_pre_hook(lambda _, inputs: highest.append(inputs[0].amax((0, 2, 3))))
    answers(network)
    hook.remove()
    weights = stream.readers[0].weight.abs().amax((0, 2, 3))
    alive = highest[0] > 1e-2
    torch.testing.assert_close(highest[0][alive], weights[alive], rtol=1e-3, atol=1e-3)
    assert alive.any()


def test_a_channel_that_is_always_nothing_does_no_harm() -> None:
    network = folded(PLAIN, GRID)
    stream = streams(network)[0]
    assert isinstance(stream, Stream)
    with torch.no_grad():
        for writer in stream.writers:
            writer.weight[0] = 0
            assert writer.bias is not None
            writer.bias[0] = -1
    before = answers(network)
    for was, now in zip(before, answers(equalise(network, IMAGES)), strict=True):
        assert now.isfinite().all()
        torch.testing.assert_close(now, was, rtol=1e-4, atol=1e-4)


def test_a_channel_a_hundred_times_its_neighbours_is_evened_out() -> None:
    network = folded(PLAIN, GRID)  # its stem writes two columns at once
    stream = streams(network)[0]
    factor = torch.ones(len(stream.readers[0].weight[0]))
    factor[1] = 100.0
    spoiled = copy.deepcopy(network)
    wide = streams(spoiled)[0]
    with torch.no_grad():
        for writer in wide.writers:
            writer.weight.mul_(factor.repeat(2)[:, None, None, None])
            assert writer.bias is not None
            writer.bias.mul_(factor.repeat(2))
        for reader in wide.readers:
            reader.weight.div_(factor[None, :, None, None])
    clean, mended = equalise(network, IMAGES), equalise(spoiled, IMAGES)
    # What was multiplied into the channel is divided out of it again.
    for a, b in zip(clean.parameters(), mended.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
