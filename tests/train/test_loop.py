from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from digitcam.core.card import GridHead, Input, Licence
from digitcam.core.errors import ConfigError, DigitcamError
from digitcam.train import loop
from digitcam.train.canvas import CanvasData
from digitcam.train.checkpoint import read_checkpoint, write_checkpoint
from digitcam.train.model import NetworkConfig
from digitcam.train.recipe import Recipe, Schedule, Window

TINY = Recipe(
    name="tiny",
    description="For tests.",
    input=Input(height=128, width=256),
    head=GridHead(stride=8),
    network=NetworkConfig((4, 4, 8), 1, 8),
    data=CanvasData(digits="glyphs", max_digits=2),
    validation=(),
    window=Window(32, 64),
    schedule=Schedule(images=240, batch=8, warmup=80, checkpoint_every=80),
    licence=Licence("none", "none"),
)


def train_until(monkeypatch: pytest.MonkeyPatch, recipe: Recipe, out: Path, images: int) -> None:
    """Train until a checkpoint of so many images is written, then break off as Ctrl-C does."""

    def write_and_stop(path: Path, recipe: Recipe, weights: Any, count: int, training: Any = None) -> None:
        write_checkpoint(path, recipe, weights, count, training)
        if count == images:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "write_checkpoint", write_and_stop)
        with pytest.raises(KeyboardInterrupt):
            loop.train(recipe, out)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return loop.train(TINY, tmp_path_factory.mktemp("unbroken") / "run")


def test_a_run(unbroken: Path) -> None:
    saved = read_checkpoint(unbroken)
    assert saved.recipe == TINY and saved.images == 240
    assert saved.training is not None and saved.training["step"] == 30
    lines = [json.loads(line) for line in (unbroken.parent / "log.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines] == [80, 160, 240]
    assert lines[-1]["class_loss"] < lines[0]["class_loss"]
    assert sorted(path.name for path in unbroken.parent.iterdir()) == ["checkpoint.pt", "log.jsonl", "weights.pt"]
    weights, whole = read_checkpoint(unbroken.with_name("weights.pt")), read_checkpoint(unbroken)
    assert weights.training is None and weights.images == whole.images
    assert all((weights.weights[name] == value).all() for name, value in whole.weights.items())


def test_a_resumed_run_is_bit_identical(unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_until(monkeypatch, TINY, tmp_path, 80)
    assert read_checkpoint(tmp_path / "checkpoint.pt").images == 80
    resumed, whole = read_checkpoint(loop.train(TINY, tmp_path, resume=True)), read_checkpoint(unbroken)
    assert resumed.images == whole.images
    assert resumed.training is not None and whole.training is not None
    for ours, theirs in (
        (resumed.weights, whole.weights),
        (resumed.training["network"], whole.training["network"]),
    ):
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert torch.equal(ours[name], theirs[name]), name


def test_a_finished_run_resumed_stays_as_it_is(unbroken: Path) -> None:
    before = unbroken.read_bytes()
    assert loop.train(TINY, unbroken.parent, resume=True) == unbroken
    assert unbroken.read_bytes() == before


def test_an_existing_run_is_not_overwritten(unbroken: Path) -> None:
    before = unbroken.read_bytes()
    with pytest.raises(ConfigError, match="--resume") as caught:
        loop.train(TINY, unbroken.parent)
    assert str(unbroken) in str(caught.value)
    other = msgspec.structs.replace(TINY, seed=2)
    with pytest.raises(ConfigError, match="another recipe"):
        loop.train(other, unbroken.parent, resume=True)
    assert unbroken.read_bytes() == before


def test_a_finished_run_can_be_made_longer(unbroken: Path, tmp_path: Path) -> None:
    shutil.copytree(unbroken.parent, tmp_path / "run")
    longer = msgspec.structs.replace(TINY, schedule=msgspec.structs.replace(TINY.schedule, images=320))
    saved = read_checkpoint(loop.train(longer, tmp_path / "run", resume=True))
    assert saved.images == 320 and saved.recipe == longer
    assert any((saved.weights[name] != value).any() for name, value in read_checkpoint(unbroken).weights.items())


def test_a_loss_that_is_no_number_leaves_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = Schedule(images=240, batch=8, warmup=0, learning_rate=1e30, checkpoint_every=80)
    recipe = msgspec.structs.replace(TINY, schedule=schedule)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "learning_rate", lambda recipe, step: 1e-3)
        train_until(monkeypatch, recipe, tmp_path, 80)
    path = tmp_path / "checkpoint.pt"
    before = path.read_bytes()
    with pytest.raises(DigitcamError, match=r"the loss is (nan|inf) at step 1\d: lower schedule.learning_rate"):
        loop.train(recipe, tmp_path, resume=True)
    assert path.read_bytes() == before
    assert all(value.isfinite().all() for value in read_checkpoint(path).weights.values())


def test_steps_and_rates() -> None:
    assert loop.steps_of(TINY) == 30
    # 80 images or 10 steps of warm-up, then half a cosine over 20 steps.
    assert loop.learning_rate(TINY, 0) == pytest.approx(3e-4)
    assert loop.learning_rate(TINY, 9) == pytest.approx(3e-3)
    assert loop.learning_rate(TINY, 10) == pytest.approx(3e-3)
    assert loop.learning_rate(TINY, 20) == pytest.approx(1.5e-3)
    assert loop.learning_rate(TINY, 30) == pytest.approx(0, abs=1e-12)


def test_a_batch() -> None:
    images, labels, boxes = loop.Batches(TINY)[3]
    assert images.shape == (8, 1, 32, 64) and images.dtype == torch.uint8
    assert labels.shape == (8, 2) and boxes.shape == (8, 2, 4)
    for i in range(8):
        sample = TINY.data.sample("train", 3 * 8 + i, 32, 64)
        n = len(sample.number)
        assert labels[i].tolist() == [*map(int, sample.number), *[-1] * (2 - n)]
        assert boxes[i, :n].tolist() == sample.boxes_xywh.tolist()
