from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from digitcam.benchmarks.environment import environment
from digitcam.benchmarks.results import Subject, SweepPoint, SweepResult, read_result, write_result
from digitcam.benchmarks.sweep import AXES, draw_sweep, scene


@pytest.mark.parametrize("value", [8, 24, 64, 110])
def test_digits_stand_as_high_as_asked(value: float) -> None:
    for index in range(10):
        sample = scene("height", value, index, 128, 256)
        assert sample.image.shape == (128, 256)
        # Fonts' digits differ a little in height, and two very wide ones may have to shrink.
        assert 0.8 * value <= np.median(sample.boxes_xywh[:, 3]) <= 1.12 * value + 1


def ranges(axis: str, value: float) -> float:
    """Return the median over ten images of the grey levels a first digit's box spans, its noise smoothed away."""
    spans = []
    for index in range(10):
        sample = scene(axis, value, index, 128, 256)  # type: ignore[arg-type]
        x, y, w, h = sample.boxes_xywh[0].round().astype(int)
        digit = cv2.GaussianBlur(sample.image, (0, 0), 0.7)[y : y + h, x : x + w]
        spans.append(float(np.ptp(digit)))
    return float(np.median(spans))


def test_contrast_is_as_asked() -> None:
    # Thin strokes lose some of it to the usual blur.
    assert 75 <= ranges("contrast", 110) <= 130
    assert 10 <= ranges("contrast", 20) <= 30


def test_blur_takes_contrast_away() -> None:
    assert ranges("blur", 0.2) < 0.6 * ranges("blur", 0.0)


def test_turned_digits_climb() -> None:
    level, turned = (scene("turn", value, 5, 128, 256).boxes_xywh for value in (0, 25))
    assert np.ptp(level[:, 1] + level[:, 3] / 2) < 4
    middles = turned[:, :2] + turned[:, 2:] / 2
    slope = (middles[-1, 1] - middles[0, 1]) / (middles[-1, 0] - middles[0, 0])
    assert abs(abs(np.degrees(np.arctan(slope))) - 25) < 6


def test_results_are_drawn(tmp_path: Path) -> None:
    curves = {axis: [SweepPoint(value, 0.5) for value in values] for axis, values in AXES.items()}
    subject = Subject("some", 1, "abc", 1, 1, {}, {})
    result = SweepResult(subject, environment(), "int8.onnx", 2, {}, curves)  # type: ignore[arg-type]
    write_result(tmp_path / "some-sweep.json", result)
    draw_sweep([read_result(tmp_path / "some-sweep.json", SweepResult)], tmp_path / "sweep.png")
    assert cv2.imread(str(tmp_path / "sweep.png")).shape[:2] == (560, 1000)
