"""`digitcam selftest`: a bundle's golden inputs replayed on this machine's engines."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from digitcam.core.bundle import Bundle
from digitcam.core.errors import ModelError
from digitcam.edge import engines
from digitcam.edge.pipeline import read_tensor


class Replay(NamedTuple):
    """One format replayed: numbers read right, of how many, and the largest difference of any output."""

    format: str
    right: int
    of: int
    difference: float


def selftest(bundle: Bundle) -> list[Replay]:
    """Replay every format whose engine is installed.

    Raises
    ------
    ModelError
        When no engine is installed, or a format reads a golden number wrong.
    """
    golden = bundle.golden()
    replays = []
    for format in engines.available(bundle):
        engine = engines.load(bundle, format)
        right, difference = 0, 0.0
        for i, image in enumerate(golden.images):
            outputs = engine.run(image[None])
            for name, expected in golden.outputs[format].items():
                difference = max(difference, float(np.abs(outputs[name][0] - expected[i]).max()))
            lines = read_tensor(engine, bundle.card, image[None])
            right += bool(lines) and lines[0].number == golden.numbers[i]
        replays.append(Replay(format, right, len(golden.images), difference))
    if not replays:
        raise ModelError("no engine is installed: pip install 'digitcam[litert]' or 'digitcam[onnx]'")
    for replay in replays:
        if replay.right < replay.of:
            raise ModelError(
                f"{bundle.path}: {replay.format} reads {replay.right} of {replay.of} golden numbers on this machine: "
                "do not use it here"
            )
    return replays
