"""`bench sweep`: how accuracy falls as digits get lower, fainter, more blurred, more turned; one at a time.

A user who knows how high the digits stand in the picture reads off the curve whether digitcam will read them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

import cv2
import numpy as np

from digitcam.benchmarks.environment import environment
from digitcam.benchmarks.results import SweepPoint, SweepResult
from digitcam.benchmarks.subject import subject
from digitcam.core.bundle import Bundle
from digitcam.core.canvas import Sample, random_number, rng_for
from digitcam.edge.pipeline import image_reader
from digitcam.train.evaluate import collect
from digitcam.train.faces import font_count, set_line, typeface
from digitcam.train.photograph import noise
from digitcam.train.scene import wall
from digitcam.train.street import pose, put
from digitcam.train.strips import Strip

Axis: TypeAlias = Literal["height", "contrast", "blur", "turn"]
USUAL: dict[Axis, float] = {"height": 32.0, "contrast": 110.0, "blur": 0.02, "turn": 0.0}
"""What is held while another is turned."""
AXES: dict[Axis, tuple[float, ...]] = {
    "height": (6, 8, 10, 12, 16, 24, 40, 64, 90, 110),
    "contrast": (6, 10, 15, 20, 30, 45, 70, 110, 160),
    "blur": (0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.13, 0.16, 0.2),
    "turn": (0, 4, 8, 12, 15, 20, 25, 30, 40),
}
LABELS: dict[Axis, str] = {
    "height": "digit height in the network's input, px",
    "contrast": "contrast, grey levels of 255",
    "blur": "blur, sigma as a share of the digit height",
    "turn": "turn in the plane, degrees",
}
_STREAM = 3000


def scene(axis: Axis, value: float, index: int, height: int, width: int) -> Sample:
    """Draw test image `index`: two digits or more, as many as fit up to four, in any typeface, light or dark.

    Height in pixels, contrast in grey levels, blur as a share of the height, turn in degrees either way.
    """
    setting: dict[Axis, float] = {**USUAL, axis: value}
    rng = rng_for(1, _STREAM + list(AXES).index(axis), index)
    tall = setting["height"]
    fitting = max(2, min(4, int(0.9 * width / (0.8 * tall))))
    number = random_number((2, fitting), rng)
    line = set_line(number, typeface(int(rng.integers(font_count()))), 1.25 * tall, 0.08)
    pad = round(0.4 * tall)
    mask = cv2.copyMakeBorder(line.ink, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=0).astype(np.float32) / 255
    level = float(rng.uniform(setting["contrast"] / 2, 255 - setting["contrast"] / 2))
    side = 1 if rng.random() < 0.5 else -1
    paper, ink = level - side * setting["contrast"] / 2, level + side * setting["contrast"] / 2
    grey = (paper + mask * (ink - paper)).round().astype(np.uint8)
    strip = Strip(grey, np.full_like(grey, 255), number, line.boxes_xywh + np.array([pad, pad, 0, 0], np.float32))
    turned = pose(1 / 1.25, side * setting["turn"], 0.0)
    placed = put(strip, turned, 0.0, height, width, rng)
    picture = wall(height, width, paper, rng)
    placed.draw(picture)
    sigma = setting["blur"] * tall
    if sigma > 0:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), dtype=np.float32)
    picture += noise(height, width, rng) * np.float32(2)
    return Sample(np.clip(picture, 0, 255).astype(np.uint8), number, placed.boxes_xywh)


def sweep(bundle: Bundle, format: str, count: int, say: Callable[[str], None] = print) -> SweepResult:
    """Read `count` images at every point of every axis with one format."""
    spec = bundle.card.input
    read = image_reader(bundle, format)
    curves: dict[str, list[SweepPoint]] = {}
    for axis, values in AXES.items():
        curves[axis] = []
        for value in values:
            drawn = (scene(axis, value, index, spec.height, spec.width) for index in range(count))
            right = collect(drawn, read).metrics().sequence_accuracy
            curves[axis].append(SweepPoint(value, right))
            say(f"{LABELS[axis]}: {value:g}: {right:.3f}")
    return SweepResult(
        subject(bundle, [format]),
        environment(),
        format,
        count,
        {str(axis): value for axis, value in USUAL.items()},
        curves,
    )


def draw_sweep(results: list[SweepResult], path: Path) -> None:
    """Draw the curves of one or more bundles into one picture, an axis a panel."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.6), layout="constrained")
    for panel, axis in zip(figure.subplots(2, 2).flat, AXES, strict=True):
        for result in results:
            points = result.curves[axis]
            panel.plot(
                [p.value for p in points], [p.sequence_accuracy for p in points], "o-", label=result.subject.name
            )
        panel.axvline(USUAL[axis], color="grey", linewidth=0.6, linestyle=":")
        panel.set(xlabel=LABELS[axis], ylabel="numbers right", ylim=(0, 1.02))
        panel.grid(alpha=0.3)
    figure.axes[0].legend(loc="lower right")
    figure.savefig(path, dpi=100)
