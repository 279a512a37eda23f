"""A run's log as a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from digitcam.core.errors import SinkError


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return a log's lines; a last one that was not finished, as when the run was killed, is left out."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def write_curves(path: Path, log: list[dict[str, Any]]) -> None:
    """Draw the losses and the share of validation numbers read right, over the images seen.

    Raises
    ------
    SinkError
        When the picture cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    images = [line["images"] for line in log]
    for key, name in (("class_loss", "class"), ("box_loss", "box")):
        left.plot(images, [line[key] for line in log], marker=".", label=name)
    left.set(title="training loss", xlabel="images", yscale="log")
    # A run made longer may have begun with other validation sets.
    for name in dict.fromkeys(name for line in log for name in line["validation"]):
        points = [(line["images"], line["validation"][name]) for line in log if name in line["validation"]]
        shares = [metrics["sequence_accuracy"] for _, metrics in points]
        right.plot([count for count, _ in points], shares, marker=".", label=f"{name}: {shares[-1]:.4f}")
    right.set(title="validation numbers read right", xlabel="images")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise SinkError(f"{path}: cannot write the curves: {error.strerror}") from None
