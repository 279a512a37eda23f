from __future__ import annotations

import numpy as np
import pytest

from digitcam.export.acceptance import accept_threshold
from digitcam.train.evaluate import Results


def results(confidences: list[float], truths: list[str]) -> Results:
    boxes = np.zeros((len(truths), 4), np.float32)
    return Results(["1"] * len(truths), boxes, np.array(confidences), truths, boxes)


def test_one_in_a_hundred_frames_without_a_number_is_accepted() -> None:
    # Of 200, two may be: the third surest, at 0.87, must not.
    found = results([0.99, 0.95, 0.87, 0.6] + [0.1] * 196, [""] * 200)
    assert accept_threshold([found]) == 0.88


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
