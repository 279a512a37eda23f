"""Two processes started by torchrun learn what one learns from the same batches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import torch

from digitcam.core.card import GridHead, Input, Licence
from digitcam.train.batches import Batches
from digitcam.train.canvas import CanvasData
from digitcam.train.checkpoint import read_checkpoint
from digitcam.train.model import NetworkConfig
from digitcam.train.recipe import Recipe, Schedule, Window
from digitcam.train.trainer import Trainer

RECIPE = Recipe(
    name="tiny",
    description="For tests.",
    input=Input(height=128, width=256),
    head=GridHead(stride=8),
    network=NetworkConfig((4, 4, 8), 1, 8),
    data=CanvasData(digits="glyphs", max_digits=3),
    validation=(),
    window=Window(40, 96),
    schedule=Schedule(images=96, batch=8, warmup=80, checkpoint_every=8),
    licence=Licence("none", "none"),
)

SCRIPT = """
import json, os, sys
from pathlib import Path
import torch
from digitcam.train import loop
from digitcam.train.recipe import to_recipe

made = []

class Watched(loop.Trainer):
    def __init__(self, recipe):
        super().__init__(recipe)
        made.append(self)

if __name__ == "__main__":
    loop.Trainer = Watched
    out = Path(sys.argv[2])
    loop.train(to_recipe(json.loads(sys.argv[1])), out / "run")
    torch.save(made[0].network.state_dict(), out / f"rank{os.environ['RANK']}.pt")
"""


def test_two_processes_learn_as_one(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*launch, str(script), msgspec.json.encode(RECIPE).decode(), str(tmp_path)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    alone = Trainer(RECIPE)
    losses = [alone.step(step, Batches(RECIPE)[step]) for step in range(12)]

    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["images"] for line in log] == list(range(8, 97, 8))
    # One line a step. Sums are rounded in another order, no more: 1e-6 at first, which training lets grow to 1e-4.
    # Statistics of each process's own batch are off by 1e-3 at once, counts of its own cells by 1e-2.
    for curve, expected in zip(("class_loss", "box_loss"), zip(*losses, strict=True), strict=True):
        found = [line[curve] for line in log]
        assert found[:3] == pytest.approx(expected[:3], rel=1e-4)
        assert found == pytest.approx(expected, rel=1e-3)
    assert log[-1]["box_loss"] < 0.95 * log[0]["box_loss"]
    average = alone.average.state_dict()
    saved = read_checkpoint(tmp_path / "run" / "checkpoint.pt").weights
    assert saved.keys() == average.keys()
    for name in saved:
        assert torch.allclose(saved[name].float(), average[name].float(), rtol=0.01, atol=0.01), name
