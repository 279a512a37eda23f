from __future__ import annotations

import numpy as np
import pytest

from digitcam.core.metrics import Coverage
from digitcam.export.acceptance import accept_threshold, coverages
from digitcam.train.evaluate import Results


def results(confidences: list[float], truths: list[str]) -> Results:
    boxes = np.zeros((len(truths), 4), np.float32)
    return Results(["1"] * len(truths), boxes, np.array(confidences), truths, boxes)


def test_one_in_a_hundred_frames_without_a_number_is_accepted() -> None:
    # Of 1,000, one in a hundred are ten, and their standard error 3.1: three may be, the fourth surest must not.
    found = results([0.99, 0.95, 0.91, 0.87, 0.6] + [0.1] * 995, [""] * 1000)
    assert accept_threshold([found]) == 0.88


def test_too_few_frames_to_tell_one_in_a_hundred_let_none_through() -> None:
    # Of 200, two, and their standard error 1.4.
    assert accept_threshold([results([0.93, 0.95] + [0.1] * 198, [""] * 200)]) == 0.96


def test_frames_with_a_number_do_not_count() -> None:
    found = results([0.99, 0.2], ["7", ""])
    assert accept_threshold([found]) == 0.5


def test_the_worst_of_several_networks_decides() -> None:
    assert accept_threshold([results([0.6], [""]), results([0.72], [""]), results([0.1], [""])]) == 0.73


def test_without_any_frame_the_default_holds() -> None:
    assert accept_threshold([]) == 0.5
    assert accept_threshold([results([0.9], ["12"])]) == 0.5


@pytest.mark.parametrize("sure", [1.0, 0.995])
def test_a_network_that_is_sure_of_everything_gets_the_highest(sure: float) -> None:
    assert accept_threshold([results([sure] * 50, [""] * 50)]) == 0.99


def test_coverage_is_of_all_data_sets_together() -> None:
    zeros = np.zeros((3, 4), np.float32)
    numbers = Results(["1", "2", "8"], zeros, np.array([0.9, 0.8, 0.6]), ["1", "2", "3"], zeros)
    # On the last frame of this set nothing is read, on the others what is not there.
    empty = Results(["7", "7", ""], zeros, np.array([0.85, 0.1, 0.0]), ["", "", ""], zeros)
    # From 0.9 on one of six images is read, and rightly; the next surest reading is wrong.
    both = [Coverage(0.98, 0.9, 1 / 6), Coverage(0.99, 0.9, 1 / 6)]
    alone = [Coverage(0.98, 0.8, 2 / 3), Coverage(0.99, 0.8, 2 / 3)]
    assert coverages({"int8.onnx": [numbers, empty], "fp32.onnx": [numbers]}) == {"int8.onnx": both, "fp32.onnx": alone}
