from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch

from digitcam.core.arrays import UInt8Array
from digitcam.core.canvas import Sample
from digitcam.core.card import GridHead, Input, Licence
from digitcam.core.decode import Digit, Line
from digitcam.train.canvas import CanvasData
from digitcam.train.data import data_set
from digitcam.train.evaluate import Results, collect, reader
from digitcam.train.model import NetworkConfig
from digitcam.train.preview import failures
from digitcam.train.recipe import Recipe, Schedule

GREY = Recipe(
    name="tiny",
    description="For tests.",
    input=Input(height=32, width=64),
    head=GridHead(stride=8),
    network=NetworkConfig((4, 4, 8), 1, 8),
    data=CanvasData(max_digits=2),
    schedule=Schedule(images=8),
    licence=Licence("none", "none"),
)
BOX = np.float32([4, 2, 10, 20])


class ColourData(CanvasData, frozen=True):
    channels = 3


class Mean(torch.nn.Module):
    """Sees a digit in every cell, whose class is the tenth of the image's mean in one channel."""

    def __init__(self, channel: int) -> None:
        super().__init__()
        self.channel = torch.nn.Parameter(torch.tensor(float(channel)))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        level = (x[:, int(self.channel)] * 255).mean(dim=(1, 2)) / 10
        logits = torch.full((len(x), 4, 8, 11), -20.0)
        for i, digit in enumerate(level.round().int().tolist()):
            logits[i, 1, 1, digit] = 20
            logits[i, ..., 10] = 0
        return logits, torch.zeros(len(x), 4, 8, 4)


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_colour_network_sees_blue_green_red(channel: int) -> None:
    recipe = msgspec.structs.replace(GREY, input=Input(height=32, width=64, channels=3), data=ColourData(max_digits=2))
    image = np.zeros((32, 64, 3), np.uint8)
    image[:] = 20, 50, 70
    lines = reader(Mean(channel), recipe)([image])  # type: ignore[arg-type]
    assert [found.number for found in lines[0]] == ["257"[channel]]
    # A grey image has the same in all of them, as on the device.
    grey = reader(Mean(channel), recipe)([np.full((32, 64), 30, np.uint8)])  # type: ignore[arg-type]
    assert grey[0][0].number == "3"


def test_a_grey_network_reads_grey_images() -> None:
    images = [np.full((32, 64), level, np.uint8) for level in (40, 90)]
    lines = reader(Mean(0), GREY)(images)  # type: ignore[arg-type]
    assert [found[0].number for found in lines] == ["4", "9"]


def test_empty_frames() -> None:
    image = np.zeros((32, 64), np.uint8)
    nothing = Sample(image, "", np.zeros((0, 4), np.float32))
    drawn = [nothing, nothing, Sample(image, "7", BOX[None]), Sample(image, "7", BOX[None])]
    answers: list[list[Line]] = [[], [Line((Digit("1", 0.75, BOX),))], [], [Line((Digit("7", 0.5, BOX),))]]

    def read(images: list[UInt8Array]) -> list[list[Line]]:
        return [answers.pop(0) for _ in images]

    found = collect(drawn, read, batch=3)
    assert found.numbers == ["", "1", "", "7"] and found.truths == ["", "", "7", "7"]
    assert found.confidences.tolist() == [0, 0.75, 0, 0.5]
    assert found.truth_boxes_xywh[:2].tolist() == [[0, 0, 0, 0]] * 2
    metrics = found.metrics()
    assert metrics.sequence_accuracy == 0.5
    assert metrics.iou == 0.5  # of the two that have a number
    assert metrics.sequence_by_length == {"0": 0.5, "1": 0.5}


def test_failures_are_shown_the_surest_first() -> None:
    truths = [data_set("glyphs-variable").sample("validation", i) for i in range(4)]
    boxes = np.stack([sample.box_xywh for sample in truths])
    numbers = ["x", truths[1].number, "", "y"]
    confidences = np.array([0.4, 1.0, 0.0, 0.9])
    results = Results(numbers, boxes, confidences, [sample.number for sample in truths], boxes)
    one = failures({"glyphs-variable": results}, "validation", 1)
    assert one.shape[1] == 4 * 320
    cells = [one[:, 320 * i : 320 * (i + 1)] for i in range(4)]
    assert cells[0].any() and not any(cell.any() for cell in cells[1:])
    all_of_them = failures({"glyphs-variable": results}, "validation", 9)
    assert (all_of_them[:, :320] == cells[0]).all()  # image 3, the surest
    filled = [bool(all_of_them[:, 320 * i : 320 * (i + 1)].any()) for i in range(4)]
    assert filled == [True, True, True, False]
    right = results._replace(numbers=results.truths)
    assert failures({"glyphs-variable": right}, "validation", 9).any()
