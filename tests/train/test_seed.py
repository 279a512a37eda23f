from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor

from digitcam.core.card import Input, SlotsHead
from digitcam.core.errors import ConfigError
from digitcam.train.checkpoint import network_of, read_checkpoint, write_checkpoint
from digitcam.train.deploy import count_macs
from digitcam.train.evaluate import reader
from digitcam.train.losses import convolutions
from digitcam.train.plain import Conv2d, PlainConfig, PlainNetwork, layer
from digitcam.train.precision import check_bfloat16
from digitcam.train.recipe import Recipe, load_recipe, to_recipe
from digitcam.train.trainer import Trainer, digits_first, learning_rate

TRAIN = Path(__file__).parents[2] / "train"
SEED = TRAIN / "recipes" / "seed"
ROWS = sorted(path.stem for path in SEED.glob("*.toml") if path.stem != "ten-minutes")  # which is ours
SMALL = PlainConfig(layers=((3, 4), (2, 6)), box_layers=(8,))
STRIDED = 'network.halving="conv"'


def row(name: str, *overrides: str) -> Recipe:
    return load_recipe(SEED / f"{name}.toml", overrides)


def network(recipe: Recipe) -> PlainNetwork:
    built = recipe.network.build(recipe.head, recipe.input)
    assert isinstance(built, PlainNetwork)
    return built


def some_batch(recipe: Recipe, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noise with labels, as a recipe's batch; the last image has a number of seven digits."""
    drawn = torch.Generator().manual_seed(5)
    shape = (count, recipe.input.channels, recipe.input.height, recipe.input.width)
    labels = torch.randint(0, 10, (count, 7), generator=drawn)
    labels[:-1, 5:] = -1
    boxes = torch.rand(count, 7, 4, generator=drawn) * 50 + 1
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=drawn), labels, boxes


def test_there_are_thirteen_and_each_tells_his_numbers() -> None:
    assert len(ROWS) == 13
    for name in ROWS:
        published = row(name).published
        assert published is not None
        if row(name).schedule.box_weight == 0:
            assert published.localisation is None


@pytest.mark.parametrize(
    ("name", "overrides"),
    # Two twins stand for all: they differ in the halving alone.
    [*((name, ()) for name in ROWS), ("weighted-loss", (STRIDED,)), ("svhn-paper-conv", (STRIDED,))],
)
def test_every_row_learns_a_step_and_reads_an_image(name: str, overrides: tuple[str, ...], tmp_path: Path) -> None:
    recipe = row(name, *overrides)
    trainer = Trainer(recipe)
    losses = trainer.step(0, some_batch(recipe, 2))
    assert losses[0] > 0 and (losses[1] > 0) == (recipe.schedule.box_weight > 0 and not recipe.schedule.digits_first)
    # No average: the weights kept are those learned.
    for ours, learned in zip(trainer.average.parameters(), trainer.network.parameters(), strict=True):
        assert torch.equal(ours, learned)
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, recipe, trainer.average.state_dict(), 2)
    saved = read_checkpoint(path)
    assert saved.recipe == recipe
    image = some_batch(recipe, 1)[0][0].permute(1, 2, 0).squeeze(2).numpy()  # grey has no axis of channels
    (lines,) = reader(network_of(saved), recipe)([image])
    assert all(len(line.number) <= recipe.head.positions for line in lines)  # type: ignore[union-attr]


def test_the_convolutions_are_the_same_in_bfloat16() -> None:
    """Also those of 8x8 on 8 channels, which oneDNN computes wrongly where there is AMX."""
    torch.manual_seed(1)
    images = torch.rand(2, 1, 128, 256)
    for name in ("weighted-loss", "sequence-canvas"):
        check_bfloat16(network(row(name)), images)
    layer = Conv2d(8, 14, 8)
    x = torch.rand(1, 8, 20, 20)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = layer(x)
    assert rounded.dtype == torch.bfloat16 and torch.equal(layer(x), torch.nn.Conv2d.forward(layer, x))
    assert (rounded.float() - layer(x)).abs().max() < 0.02


def test_a_slots_head_that_reads_nothing_says_where_all_the_same() -> None:
    class Nothing(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            logits = torch.zeros(len(x), 5, 11)
            logits[..., 10] = 9
            return logits, torch.tensor([[100.0, 60.0, 20.0, 80.0]])

    (found,) = reader(Nothing(), row("weighted-loss"))([np.zeros((128, 256), np.uint8)])
    assert [(one.number, one.box_xywh, one.confidence) for one in found] == [("", (60.0, 50.0, 80.0, 20.0), 0.0)]


def test_the_paper_s_trunk_by_hand() -> None:
    # 128x256 halved six times with 2x2 is 2x4 cells, of 192 channels each.
    recipe = row("svhn-paper-conv")
    built = network(recipe)
    assert built.trunk(torch.zeros(1, 3, 128, 256)).shape == (1, 192, 2, 4)
    assert built.features == 2 * 4 * 192 == 1_536
    trunk = (
        5 * 5 * 3 * 48 * 128 * 256
        + 5 * 5 * 48 * 64 * 64 * 128
        + 5 * 5 * 64 * 128 * 32 * 64
        + 5 * 5 * 128 * 160 * 16 * 32
        + 2 * 2 * 160 * 192 * 8 * 16
        + 2 * 2 * 192 * 192 * 4 * 8
    )
    assert trunk == 1_449_132_032
    # Six positions of eleven classes, and a single box layer.
    linear = row("svhn-paper-conv-dropout")
    assert count_macs(network(linear), linear.input) == trunk + 1_536 * (6 * 11 + 4) == 1_449_239_552
    # The GRU: three gates of 576 from 1,536 features and 576 units, at each of six positions.
    gru = 6 * (3 * 576 * (1_536 + 576) + 576 * 11)
    assert count_macs(built, recipe.input) == trunk + gru + 1_536 * 4


def test_the_weighted_loss_network_by_hand() -> None:
    recipe = row("weighted-loss")
    built = network(recipe)
    trunk = (
        10 * 10 * 1 * 8 * 128 * 256  # 26,214,400
        + 8 * 8 * 8 * 14 * 64 * 128  # 58,720,256
        + 6 * 6 * 14 * 20 * 32 * 64  # 20,643,840
        + 4 * 4 * 20 * 24 * 16 * 32  # 3,932,160
        + 2 * 2 * 24 * 32 * 8 * 16  # 393,216
    )
    assert trunk == 109_903_872
    assert built.features == 4 * 8 * 32 == 1_024
    gru = 5 * (3 * 576 * (1_024 + 576) + 576 * 11)
    box = 1_024 * 768 + 768 * 512 + 512 * 256 + 256 * 64 + 64 * 32 + 32 * 4
    assert count_macs(built, recipe.input) == trunk + gru + box == 125_088_832


def test_without_pooling_nothing_else_changes() -> None:
    pooled, strided = network(row("weighted-loss")), network(row("weighted-loss", STRIDED))
    names = {type(module).__name__ for module in pooled.modules()}
    assert "MaxPool2d" in names
    assert {type(module).__name__ for module in strided.modules()} == names - {"MaxPool2d"}
    # A 2x2 convolution from width to width for each of the five, with its bias.
    more = sum(4 * width * width + width for width in (8, 14, 20, 24, 32))
    count = [sum(p.numel() for p in built.parameters()) for built in (pooled, strided)]
    assert count[1] - count[0] == more
    for built in (pooled, strided):
        assert built.trunk(torch.zeros(1, 1, 128, 256)).shape == (1, 32, 4, 8)


@torch.no_grad()
def test_an_even_kernel_is_padded_as_tensorflow_pads() -> None:
    # SAME of a kernel of 4 is 1 before and 2 behind: with a single tap at row 0, column 3 each pixel comes from one
    # row above and two columns to the right; outside is zero.
    convolve = layer(1, 4, 4, SMALL)[:2]
    for parameter in convolve.parameters():
        parameter.zero_()
    convolve[1].weight[:, 0, 0, 3] = 1.0  # type: ignore[index]
    x = torch.arange(1.0, 13.0).reshape(1, 1, 3, 4)
    assert convolve(x)[0, 0].tolist() == [[0, 0, 0, 0], [3, 4, 0, 0], [7, 8, 0, 0]]


@torch.no_grad()
def test_what_the_first_convolution_sees() -> None:
    spec = Input(height=8, width=8, channels=3)
    seen: list[Tensor] = []
    x = torch.randint(0, 256, (2, 3, 8, 8)) / 255
    for normalise in ("none", "unit", "standardise"):
        built = msgspec.structs.replace(SMALL, normalise=normalise).build(SlotsHead(positions=2), spec)
        built.trunk.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
        built(x)
        built(torch.zeros(1, 3, 8, 8))
    torch.testing.assert_close(seen[0], x * 255)
    assert seen[2] is x
    torch.testing.assert_close(seen[4].mean(dim=(1, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(seen[4].var(dim=(1, 2, 3), correction=0), torch.ones(2))
    assert (seen[5] == 0).all()  # black has no deviation


@torch.no_grad()
def test_the_gru_sees_the_same_features_at_every_position() -> None:
    torch.manual_seed(1)
    built = SMALL.build(SlotsHead(positions=3), Input(height=8, width=8)).eval()
    x = torch.rand(1, 1, 8, 8)
    features = built.trunk(x).flatten(1)
    cell = torch.nn.GRUCell(24, 576)
    for name, value in built.digits.gru.named_parameters():  # type: ignore[union-attr,operator]
        getattr(cell, name.removesuffix("_l0")).copy_(value)
    state = torch.zeros(1, 576)
    logits = built(x)[0]
    for position in range(3):
        state = cell(features, state)
        torch.testing.assert_close(logits[:, position], built.digits.logits(state))  # type: ignore[operator]


@torch.no_grad()
def test_without_a_box_it_is_of_zeros() -> None:
    config = msgspec.structs.replace(SMALL, box_layers=None, classifier="linear", hidden=(12,))
    logits, boxes = config.build(SlotsHead(positions=3), Input(height=8, width=8))(torch.rand(2, 1, 8, 8))
    assert logits.shape == (2, 3, 11) and boxes.tolist() == [[0, 0, 0, 0]] * 2


def test_dropout_is_where_the_row_had_it() -> None:
    def shares(name: str) -> set[float]:
        return {m.p for m in network(row(name)).trunk.modules() if isinstance(m, torch.nn.Dropout)}

    assert shares("sequence-canvas") == {0.2} and shares("svhn-paper-conv-dropout") == {0.0}
    assert network(row("sequence-canvas")).dropout.p == 0 and network(row("svhn-paper-conv-dropout")).dropout.p == 0.2


TINY = (
    "schedule.images=8",
    "schedule.batch=2",
    "network.layers=[[3, 4], [2, 6]]",
    "input.height=32",
    "input.width=144",
)


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.network.named_parameters()}


def test_the_second_stage_freezes_exactly_the_convolutions() -> None:
    recipe = row("svhn-transfer", *TINY)
    trainer = Trainer(recipe)
    trunk = {f"trunk.{i}.1.{kind}" for i in range(2) for kind in ("weight", "bias")}
    box = {"box.1.weight", "box.1.bias"}
    assert digits_first(recipe) == 2
    assert {id(p) for layer in convolutions(trainer.network) for p in layer.parameters()} == {
        id(p) for name, p in trainer.network.named_parameters() if name in trunk
    }
    batch = some_batch(recipe, 2)
    for step, still in enumerate((box, box, trunk, trunk)):
        before = weights(trainer)
        _, box_loss = trainer.step(step, batch)
        assert (box_loss > 0) == (step >= 2)
        assert {name for name, value in weights(trainer).items() if torch.equal(value, before[name])} == still


def test_dropout_is_the_same_in_a_run_taken_up_again(tmp_path: Path) -> None:
    recipe = row("sequence-canvas", *TINY)
    batch = some_batch(recipe, 2)
    whole = Trainer(recipe)
    for step in range(4):
        if step == 2:
            write_checkpoint(tmp_path / "half.pt", recipe, whole.average.state_dict(), 4, whole.state(2))
        whole.step(step, batch)
    taken_up = Trainer(recipe)
    for step in range(taken_up.resume(read_checkpoint(tmp_path / "half.pt")), 4):
        taken_up.step(step, batch)
    for name, value in weights(whole).items():
        assert torch.equal(weights(taken_up)[name], value), name


def test_adam_at_a_constant_rate() -> None:
    recipe = row("weighted-loss")
    assert {learning_rate(recipe, step) for step in (0, 1, 100, 29_999)} == {1e-4}
    trainer = Trainer(row("weighted-loss", *TINY))
    before = weights(trainer)
    trainer.step(0, some_batch(trainer.recipe, 2))
    # The first step of Adam is the rate, whatever the gradient's size: nothing limits or decays.
    moved = torch.cat([(value - before[name]).abs().flatten() for name, value in weights(trainer).items()])
    assert moved.max().item() == pytest.approx(1e-4, rel=1e-2)
    assert (moved > 0.99e-4).float().mean() > 0.5


def test_a_network_without_a_kind_is_residual() -> None:
    saved = read_checkpoint(TRAIN / "weights" / "canvas" / "weights.pt")
    assert sum(p.numel() for p in network_of(saved).parameters()) == 100_931
    tree = msgspec.to_builtins(saved.recipe)
    assert tree["network"].pop("kind") == "residual"
    assert to_recipe(tree) == saved.recipe


@pytest.mark.parametrize(
    ("name", "override", "words"),
    [
        ("weighted-loss", 'head={kind="grid", stride=32}', "network.kind 'plain' needs head.kind 'slots'"),
        ("classification-only", "schedule.box_weight=1.0", "without network.box_layers there is no box"),
        ("weighted-loss", "network.widths=[8]", "widths"),
        ("weighted-loss", "network.layers=[]", "network.layers"),
        ("weighted-loss", 'network.halving="mean"', "network.halving"),
        ("weighted-loss", "input.height=120", "no multiple of the coarsest stride 32"),
        ("weighted-loss", "loss.l1=1.0", "l1"),
    ],
)
def test_a_bad_row_is_named(name: str, override: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        row(name, override)
    assert words in str(caught.value) and f"{name}.toml" in str(caught.value)
