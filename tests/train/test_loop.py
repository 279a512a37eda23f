from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
import torch

from digitcam.core.canvas import Sample
from digitcam.core.card import GridHead, Input, Licence
from digitcam.core.errors import ConfigError, ModelError, SourceError
from digitcam.train import batches, loop, svhn, trainer
from digitcam.train.canvas import CanvasData
from digitcam.train.checkpoint import Checkpoint, network_of, read_checkpoint, write_checkpoint
from digitcam.train.data import DATA_SETS
from digitcam.train.evaluate import read_network
from digitcam.train.interrupt import StoppedError
from digitcam.train.model import NetworkConfig
from digitcam.train.preview import failures
from digitcam.train.recipe import Recipe, Schedule, Window
from digitcam.train.street import StreetData
from digitcam.train.svhn import SvhnData

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


def train_until(
    monkeypatch: pytest.MonkeyPatch, recipe: Recipe, out: Path, images: int, start: Path | None = None
) -> None:
    """Train until a checkpoint of so many images is written, then break off as Ctrl-C does."""

    def write_and_stop(path: Path, recipe: Recipe, weights: Any, count: int, training: Any = None) -> None:
        write_checkpoint(path, recipe, weights, count, training)
        if count == images:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "write_checkpoint", write_and_stop)
        with pytest.raises(KeyboardInterrupt):
            loop.train(recipe, out, start=start)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return loop.train(TINY, tmp_path_factory.mktemp("unbroken") / "run")


def test_a_run(unbroken: Path) -> None:
    saved = read_checkpoint(unbroken)
    assert saved.recipe == TINY and saved.images == 240
    assert saved.training is not None and saved.training["step"] == 30
    lines = log_of(unbroken)
    assert [line["images"] for line in lines] == [80, 160, 240]
    assert lines[-1]["class_loss"] < lines[0]["class_loss"]
    assert all(line["images_per_s"] > 0 and 0 <= line["waiting"] < 1 for line in lines)
    # Tenths of a second, and an interval of this network may take less than one.
    assert 0 < lines[0]["seconds"] <= lines[1]["seconds"] <= lines[2]["seconds"]
    written = ["checkpoint.pt", "curves.png", "log.jsonl", "tensorboard", "weights.pt"]
    assert sorted(path.name for path in unbroken.parent.iterdir()) == written
    weights, whole = read_checkpoint(unbroken.with_name("weights.pt")), read_checkpoint(unbroken)
    assert weights.training is None and weights.images == whole.images
    assert all((weights.weights[name] == value).all() for name, value in whole.weights.items())


def log_of(checkpoint: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in checkpoint.with_name("log.jsonl").read_text().splitlines()]


def assert_the_same_run(ours: Path, theirs: Path) -> None:
    """Compare weights, averages and losses bit by bit."""
    resumed, whole = read_checkpoint(ours), read_checkpoint(theirs)
    assert resumed.images == whole.images
    assert resumed.training is not None and whole.training is not None
    for mine, other in (
        (resumed.weights, whole.weights),
        (resumed.training["network"], whole.training["network"]),
    ):
        assert mine.keys() == other.keys()
        for name in mine:
            assert torch.equal(mine[name], other[name]), name
    keys = ("images", "class_loss", "box_loss")
    assert [[line[k] for k in keys] for line in log_of(ours)] == [[line[k] for k in keys] for line in log_of(theirs)]


def test_a_run_begins_with_another_s_weights(unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = unbroken.with_name("weights.pt")
    other = msgspec.structs.replace(TINY, seed=2)
    begun = loop.Run(other, tmp_path / "begun", False, weights).trainer
    earlier = read_checkpoint(weights).weights
    for network in (begun.network, begun.average):
        assert all(torch.equal(value, earlier[name]) for name, value in network.state_dict().items())
    train_until(monkeypatch, other, tmp_path / "run", 240 + 80, weights)
    # Its images are counted from the other's on, also by who goes on with it.
    whole = read_checkpoint(loop.train(other, tmp_path / "run", resume=True))
    assert whole.images == 240 + 240
    assert [line["images"] for line in log_of(tmp_path / "run" / "checkpoint.pt")] == [80, 160, 240]


def test_weights_that_a_run_cannot_begin_with(unbroken: Path, tmp_path: Path) -> None:
    weights = unbroken.with_name("weights.pt")
    wider = msgspec.structs.replace(TINY, network=NetworkConfig((4, 4, 16), 1, 8))
    with pytest.raises(ConfigError) as caught:
        loop.train(wider, tmp_path, start=weights)
    assert str(caught.value) == (
        f"{weights}: they are of another network: [network], [head] and [input] must be the same"
    )
    with pytest.raises(ConfigError, match="a run that is resumed has begun already: leave --start out"):
        loop.train(TINY, unbroken.parent, resume=True, start=weights)
    (tmp_path / "text.pt").write_text("text")
    with pytest.raises(ModelError, match=r"text.pt: not a checkpoint"):
        loop.train(TINY, tmp_path, start=tmp_path / "text.pt")


@pytest.fixture
def taught(unbroken: Path) -> Recipe:
    return msgspec.structs.replace(TINY, teacher=str(unbroken.with_name("weights.pt")))


def test_a_teacher_teaches_and_learns_nothing(unbroken: Path, taught: Recipe) -> None:
    batch = batches.Batches(TINY)[0]
    alone, pupil = trainer.Trainer(TINY), trainer.Trainer(taught)
    # Both begin alike; what the teacher says differs from the truth.
    assert pupil.step(0, batch) != alone.step(0, batch)
    assert pupil.teacher is not None and not pupil.teacher.training
    weights = read_checkpoint(unbroken).weights
    assert all(torch.equal(value, weights[name]) for name, value in pupil.teacher.state_dict().items())


def test_a_taught_run_resumed_is_bit_identical(taught: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = loop.train(taught, tmp_path / "whole")
    train_until(monkeypatch, taught, tmp_path / "broken", 80)
    assert_the_same_run(loop.train(taught, tmp_path / "broken", resume=True), whole)


def test_a_teacher_that_cannot_teach_is_named(taught: Recipe, tmp_path: Path) -> None:
    smaller = msgspec.structs.replace(taught, input=Input(height=64, width=128))
    with pytest.raises(ConfigError) as caught:
        loop.train(smaller, tmp_path)
    assert str(caught.value) == f"{taught.teacher}: cannot teach tiny: [input] and [head] must be the same"
    with pytest.raises(ModelError, match=r"none.pt: cannot read the checkpoint: No such file"):
        loop.train(msgspec.structs.replace(taught, teacher="none.pt"), tmp_path)


def test_a_resumed_run_is_bit_identical(unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_until(monkeypatch, TINY, tmp_path, 80)
    assert read_checkpoint(tmp_path / "checkpoint.pt").images == 80
    assert_the_same_run(loop.train(TINY, tmp_path, resume=True), unbroken)


def test_a_run_stopped_at_any_step_is_kept_and_resumed(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = trainer.Trainer.step

    def learn_and_stop(self: trainer.Trainer, step: int, batch: batches.Batch) -> tuple[float, float]:
        if step == 13:
            os.kill(os.getpid(), signal.SIGINT)
        return learn(self, step, batch)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "step", learn_and_stop)
        with pytest.raises(StoppedError) as caught:
            loop.train(TINY, tmp_path)
    path = tmp_path / "checkpoint.pt"
    assert str(caught.value) == f"stopped at 112 of 240 images: {path} holds the training up to 112 images"
    assert [line["images"] for line in log_of(path)] == [80]
    assert_the_same_run(loop.train(TINY, tmp_path, resume=True), unbroken)


STALLING = """
import json, sys, time
from pathlib import Path
from digitcam.train import loop
from digitcam.train.recipe import to_recipe

recipe, out = sys.argv[1:]
written = []

def replace(self, target, move=Path.replace):
    written.append(self.name)
    if written.count("checkpoint.pt.part") == 2:
        print("here", flush=True)
        time.sleep(600)
    return move(self, target)

Path.replace = replace
loop.train(to_recipe(json.loads(recipe)), Path(out))
"""


def test_a_run_killed_while_writing_loses_an_interval(unbroken: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", STALLING, msgspec.json.encode(TINY).decode(), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as running:
        assert running.stdout is not None
        try:
            assert running.stdout.readline() == "here\n"
        finally:
            running.kill()
    path = tmp_path / "checkpoint.pt"
    assert read_checkpoint(path).images == 80
    # Killed between the log's line and its checkpoint, the run takes those steps again.
    assert [line["images"] for line in log_of(path)] == [80, 160]
    assert (tmp_path / "checkpoint.pt.part").exists()
    assert_the_same_run(loop.train(TINY, tmp_path, resume=True), unbroken)
    assert not (tmp_path / "checkpoint.pt.part").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_ends_in_one_line(tmp_path: Path, number: signal.Signals) -> None:
    """As a terminal sends Ctrl-C, and a service manager SIGTERM: to the processes that draw as well."""
    schedule = msgspec.structs.replace(TINY.schedule, images=80_000_000)
    endless = msgspec.to_builtins(msgspec.structs.replace(TINY, schedule=schedule))
    # JSON's numbers, texts, lists and inline tables, as TOML.
    recipe = tmp_path / "tiny.toml"
    recipe.write_text("\n".join(f"{key} = {toml(value)}" for key, value in endless.items() if value is not None))
    out = tmp_path / "a run"
    command = [sys.executable, "-m", "digitcam.cli", "train", str(recipe), "--out", str(out), "--set", "seed=2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as running:
        try:
            while not (out / "checkpoint.pt").exists() and running.poll() is None:
                time.sleep(0.05)
            os.killpg(running.pid, number)
            _, said = running.communicate(timeout=300)
        finally:
            running.kill()
    assert running.returncode == 130, said
    last = said.splitlines()[-1]
    images = read_checkpoint(out / "checkpoint.pt").images
    assert last.startswith(f"digitcam: stopped at {images} of 80000000 images: ")
    assert last.endswith(f"; go on with: digitcam train {recipe} --set seed=2 --out '{out}' --resume")
    assert "Traceback" not in said and "rror" not in said


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items() if item is not None) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def test_a_finished_run_resumed_stays_as_it_is(unbroken: Path) -> None:
    before = unbroken.read_bytes()
    assert loop.train(TINY, unbroken.parent, resume=True) == unbroken
    assert unbroken.read_bytes() == before


def test_failures_are_shown_though_a_run_was_killed_at_the_last_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "VALIDATION_IMAGES", 4)
    schedule = msgspec.structs.replace(TINY.schedule, images=16)
    recipe = msgspec.structs.replace(TINY, validation=("glyphs-variable",), schedule=schedule)
    whole = loop.train(recipe, tmp_path / "whole")
    read = read_network(network_of(read_checkpoint(whole)), recipe, "glyphs-variable", "validation", 4)
    expected = failures({"glyphs-variable": read}, "validation", 24)
    train_until(monkeypatch, recipe, tmp_path / "killed", 16)
    assert not (tmp_path / "killed" / "failures.png").exists()
    for path in (whole, loop.train(recipe, tmp_path / "killed", resume=True)):
        assert np.array_equal(cv2.imread(str(path.with_name("failures.png"))), expected)


def svhn_folder(data_folder: Path) -> Path:
    """Write one SVHN label, of a "12", without its photograph."""
    folder = data_folder / "svhn"
    (folder / "train").mkdir(parents=True)
    label = b'{"name":"1.png","width":60,"height":40,"digits":[[1,5,5,15,35],[2,20,5,35,35]]}'
    (folder / "train_labels.jsonl.gz").write_bytes(gzip.compress(label))
    return folder


def test_a_run_tells_what_it_learned_from_and_keeps_to_it(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe = msgspec.structs.replace(TINY, data=SvhnData(grey=True, stand_in=True))
    folder, out = svhn_folder(data_folder), tmp_path / "run"
    train_until(monkeypatch, recipe, out, 80)
    words = "digitcam: svhn/train: the photographs are not all there: drawn house numbers stand in for them"
    assert words in capfd.readouterr().err.splitlines()
    path = out / "checkpoint.pt"
    assert read_checkpoint(path).source == "drawn stand-in"
    cv2.imwrite(str(folder / "train" / "1.png"), np.zeros((40, 60, 3), np.uint8))
    # What a process has found stays: here it still goes by the drawn ones, as those that draw do.
    assert loop.Run(recipe, out, resume=True).source == "drawn stand-in"
    svhn.at_hand.cache_clear()
    before = path.read_bytes()
    with pytest.raises(ConfigError) as caught:
        loop.train(recipe, out, resume=True)
    kept = "learned from drawn stand-in, but here it would go on with photographs"
    assert str(caught.value) == f"{path}: {kept}: give another --out"
    assert path.read_bytes() == before


def test_what_an_earlier_version_s_run_learned_from() -> None:
    """It was not kept: of SVHN photographs are not claimed."""
    earlier = Checkpoint(TINY, {}, 8, {"step": 1})
    assert earlier.source == "canvas"
    assert earlier._replace(recipe=msgspec.structs.replace(TINY, data=SvhnData(grey=True))).source == "drawn stand-in"
    assert earlier._replace(training={"source": "photographs"}).source == "photographs"


def test_photographs_that_come_while_a_run_begins(data_folder: Path) -> None:
    folder = svhn_folder(data_folder)
    drawn = batches.Batches(msgspec.structs.replace(TINY, data=SvhnData(grey=True, stand_in=True)))
    assert drawn[0][1][:, :2].tolist() == [[1, 2]] * 8
    cv2.imwrite(str(folder / "train" / "1.png"), np.zeros((40, 60, 3), np.uint8))
    svhn.at_hand.cache_clear()  # as in a process that is spawned
    with pytest.raises(SourceError, match="photographs came or went while the run began: begin it again"):
        drawn[1]


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


@pytest.mark.parametrize("stage", [{"digits_first": 0.5}, {"quantised": 0.5}])
def test_a_run_whose_second_stage_has_begun_is_not_made_longer(tmp_path: Path, stage: dict[str, float]) -> None:
    """Half of 240 images are 15 steps, half of 480 are 30: a run of 480 would have been in its first stage still."""
    recipe, longer = (
        msgspec.structs.replace(TINY, schedule=msgspec.structs.replace(TINY.schedule, images=images, **stage))
        for images in (240, 480)
    )
    path = tmp_path / "checkpoint.pt"
    taught = trainer.Trainer(recipe)
    write_checkpoint(path, recipe, taught.average.state_dict(), 15 * 8, taught.state(15))
    assert loop.Run(longer, tmp_path, resume=True).start == 15
    write_checkpoint(path, recipe, taught.average.state_dict(), 16 * 8, taught.state(16))
    assert loop.Run(recipe, tmp_path, resume=True).start == 16
    with pytest.raises(ConfigError) as caught:
        loop.Run(longer, tmp_path, resume=True)
    assert str(caught.value) == (
        f"{path}: is in a stage (schedule.digits_first, quantised) that begins elsewhere with schedule.images = 480: "
        "leave it at 240, or train anew with another --out"
    )


def test_a_loss_that_is_no_number_leaves_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = Schedule(images=240, batch=8, warmup=0, learning_rate=1e30, checkpoint_every=80)
    recipe = msgspec.structs.replace(TINY, schedule=schedule)
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "learning_rate", lambda recipe, step: 1e-3)
        train_until(monkeypatch, recipe, tmp_path, 80)
    path = tmp_path / "checkpoint.pt"
    before = path.read_bytes()
    with pytest.raises(trainer.DivergedError) as caught:
        loop.train(recipe, tmp_path, resume=True)
    kept = re.escape(f"{path} holds the training up to 80 images")
    words = rf"the loss is (nan|inf) at step 1\d: lower schedule.learning_rate; {kept}"
    assert re.fullmatch(words, str(caught.value))
    assert path.read_bytes() == before
    assert all(value.isfinite().all() for value in read_checkpoint(path).weights.values())


def test_steps_and_rates() -> None:
    assert batches.steps_of(TINY) == 30
    # 80 images or 10 steps of warm-up, then half a cosine over 20 steps.
    assert trainer.learning_rate(TINY, 0) == pytest.approx(3e-4)
    assert trainer.learning_rate(TINY, 9) == pytest.approx(3e-3)
    assert trainer.learning_rate(TINY, 10) == pytest.approx(3e-3)
    assert trainer.learning_rate(TINY, 20) == pytest.approx(1.5e-3)
    assert trainer.learning_rate(TINY, 30) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("images", "rates"), [(1, [3e-3, 3e-3]), (20, [1.2e-3, 2.4e-3, 3e-3, 3e-3])])
def test_a_warmup_that_is_no_whole_number_of_batches(images: int, rates: list[float]) -> None:
    """An eighth of a batch, and two and a half: the rate never goes beyond its top."""
    schedule = msgspec.structs.replace(TINY.schedule, warmup=images, constant=True)
    recipe = msgspec.structs.replace(TINY, schedule=schedule)
    assert [trainer.learning_rate(recipe, step) for step in range(len(rates))] == pytest.approx(rates)


def test_the_average_follows_by_hand() -> None:
    taught = trainer.Trainer(TINY)
    for network, value in ((taught.network, 2.0), (taught.average, 1.0)):
        for tensor in network.state_dict().values():
            tensor.fill_(value)
    taught._follow(0.75)
    found = taught.average.state_dict()
    # A quarter of the way from 1 to 2; a count of batches has no average.
    counts = [name for name in found if name.endswith("num_batches_tracked")]
    assert counts and all(found[name].item() == 2 for name in counts)
    assert all((value == 1.25).all() for name, value in found.items() if name not in counts)
    assert all((value == 2).all() for value in taught.network.state_dict().values())


def test_the_average_forgets_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its decay rises as (1 + step) / (10 + step), to `ema` at most."""
    taught, decays = trainer.Trainer(TINY), []
    monkeypatch.setattr(taught, "_follow", decays.append)
    batch = batches.Batches(TINY)[0]
    for step in (0, 8, 80, 10_000):
        taught.step(step, batch)
    assert decays == [0.1, 0.5, 0.9, 0.999]


def test_a_batch() -> None:
    images, labels, boxes = batches.Batches(TINY)[3]
    assert images.shape == (8, 1, 32, 64) and images.dtype == torch.uint8
    assert labels.shape == (8, 2) and boxes.shape == (8, 2, 4)
    for i in range(8):
        sample = TINY.data.sample("train", 3 * 8 + i, 32, 64)
        n = len(sample.number)
        assert labels[i].tolist() == [*map(int, sample.number), *[-1] * (2 - n)]
        assert boxes[i, :n].tolist() == sample.boxes_xywh.tolist()


@pytest.mark.parametrize("share", [0, 1])
def test_processes_share_a_batch(share: int) -> None:
    whole, part = batches.Batches(TINY)[3], batches.Batches(TINY, share, 2)[3]
    for ours, theirs in zip(part, whole, strict=True):
        most = ours.shape[1]
        expected = theirs[4 * share : 4 * share + 4]
        assert torch.equal(ours, expected if theirs is whole[0] else expected[:, :most])


class Colours(msgspec.Struct, frozen=True, tag="colours", tag_field="kind"):
    """Colour images: number "7" on the even ones, none on the odd ones."""

    channels = 3
    max_digits = 1

    def sample(self, split: str, index: int, height: int, width: int) -> Sample:
        image = np.zeros((height, width, 3), np.uint8)
        image[..., 2] = 10 + index
        if index % 2:
            return Sample(image, "", np.zeros((0, 4)))
        return Sample(image, "7", np.float32([[4, 5, 20, 22]]))


COLOUR = msgspec.structs.replace(TINY, input=Input(height=128, width=256, channels=3), data=Colours())


class HasThree:
    """A data set of three images."""

    def size(self, split: str) -> int:
        return 3

    def sample(self, split: str, index: int) -> Sample:
        return Sample(np.zeros((128, 256), np.uint8), "7", np.float32([[4, 5, 20, 22]]))


def test_a_batch_of_colour_images_some_of_them_empty() -> None:
    images, labels, boxes = batches.Batches(COLOUR)[1]
    assert images.shape == (8, 3, 32, 64) and images.dtype == torch.uint8
    assert images[:, :2].max() == 0  # blue and green
    assert images[:, 2, 0, 0].tolist() == list(range(18, 26))
    assert labels.tolist() == [[7], [-1]] * 4
    assert boxes[:2].tolist() == [[[4, 5, 20, 22]], [[0, 0, 0, 0]]]


def test_learning_from_empty_images() -> None:
    """A batch without any digit must not outweigh all others: its loss is that of a few cells, not of all."""
    taught = trainer.Trainer(COLOUR)
    images, labels, boxes = batches.Batches(COLOUR)[0]
    odd = images[1::2].repeat(2, 1, 1, 1), labels[1::2].repeat(2, 1), boxes[1::2].repeat(2, 1, 1)
    first = taught.step(0, odd)
    cells = 4 * 8
    assert 0 < first[0] < 0.6 * cells and first[1] == 0
    for step in range(1, 30):
        last = taught.step(step, odd)
    assert last[0] < 0.7 * first[0]


def test_an_error_ends_the_processes_that_draw() -> None:
    """While it is handled, not only once its traceback is gone: the command would wait for them for ever."""
    with pytest.raises(KeyError) as caught, batches.drawing(TINY, range(30)) as drawn:
        next(drawn)
        raise KeyError("any")
    assert caught.value is not None
    assert not multiprocessing.active_children()


def test_bfloat16() -> None:
    batch = batches.Batches(TINY)[0]
    schedule = msgspec.structs.replace(TINY.schedule, precision="bf16")
    found = []
    for recipe in (TINY, msgspec.structs.replace(TINY, schedule=schedule)):
        taught = trainer.Trainer(recipe)
        found.append([sum(taught.step(step, batch)) for step in range(30)])
        assert all(p.dtype == torch.float32 for p in taught.network.parameters())
    single, half = found
    assert half != single and half == pytest.approx(single, rel=0.1)
    assert half[-1] < 0.7 * half[0]


def test_what_is_missing_is_named_before_training(tmp_path: Path, data_folder: Path) -> None:
    recipe = msgspec.structs.replace(TINY, data=CanvasData(digits="mnist", max_digits=2))
    with pytest.raises(SourceError) as caught:
        loop.train(recipe, tmp_path / "run")
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="'canvas-six' is not known"):
        loop.train(msgspec.structs.replace(TINY, validation=("canvas-six",)), tmp_path / "run")


@pytest.mark.parametrize(
    ("data", "validation", "named"),
    [
        # Neither the first batch nor the first validation frame has a number of the kind that lacks its data.
        (StreetData(kinds={"print": 1.0}), "street", "svhn"),
        (StreetData(kinds={"print": 1e6, "wheel": 1e-6}), "street-print", "meter_digits"),
    ],
)
def test_a_kind_without_its_data_is_named_before_training(
    data: StreetData, validation: str, named: str, tmp_path: Path, data_folder: Path
) -> None:
    with pytest.raises(SourceError, match=named):
        loop.train(msgspec.structs.replace(TINY, data=data, validation=(validation,)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_validation_set_smaller_than_what_is_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(DATA_SETS, "three", HasThree())  # type: ignore[arg-type]
    run = loop.Run(msgspec.structs.replace(TINY, validation=("three",)), tmp_path, resume=False)
    run._validate()
    assert run.results["three"].truths == ["7"] * 3


def test_a_batch_that_cannot_be_shared_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "world", lambda: 3)
    with pytest.raises(ConfigError, match=r"schedule\.batch is 8, which 3 processes cannot share evenly: .*of 3"):
        loop.train(TINY, tmp_path)
