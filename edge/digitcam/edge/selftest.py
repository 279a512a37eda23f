"""`digitcam selftest`: a bundle's golden inputs replayed on this machine's engines."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from digitcam.core.bundle import Bundle
from digitcam.core.card import Card
from digitcam.core.decode import decode
from digitcam.core.errors import ModelError
from digitcam.edge import engines

MOST_SHARE = 0.01
"""How far any output may be from that at export, as a share of its range: int8 has steps of 1/256 of theirs."""


class Replay(NamedTuple):
    """One format replayed: inputs read as at export, of how many; the largest difference of any output.

    share
        The largest difference as a share of the range of that output over the golden inputs.
    """

    format: str
    same: int
    of: int
    difference: float
    share: float


def selftest(bundle: Bundle) -> list[Replay]:
    """Replay every format whose engine is installed.

    Raises
    ------
    ModelError
        When no engine is installed, a format reads a golden input otherwise than at export, or an output differs by
        more than `MOST_SHARE`.
    """
    golden = bundle.golden()
    replays = []
    for format in engines.available(bundle):
        engine = engines.load(bundle, format)
        ranges = {name: float(np.ptp(values)) for name, values in golden.outputs[format].items()}
        same, difference, share = 0, 0.0, 0.0
        for i, image in enumerate(golden.images):
            outputs = engine.run(image[None])
            expected = {name: value[i : i + 1] for name, value in golden.outputs[format].items()}
            off = {name: float(np.abs(outputs[name] - expected[name]).max()) for name in expected}
            difference = max(difference, *off.values())
            share = max(share, *(off[name] / max(ranges[name], 1e-9) for name in off))  # a range may be 0
            same += _numbers(outputs, bundle.card) == _numbers(expected, bundle.card)
        replays.append(Replay(format, same, len(golden.images), difference, share))
    if not replays:
        raise ModelError("no engine is installed: pip install 'digitcam[litert]' or 'digitcam[onnx]'")
    for replay in replays:
        if replay.same < replay.of:
            others = replay.of - replay.same
            raise ModelError(
                f"{bundle.path}: {replay.format} reads {others} of {replay.of} golden inputs otherwise than at export "
                f"(outputs differ by up to {replay.difference:.2g}): do not use it on this machine"
            )
        if replay.share > MOST_SHARE:
            raise ModelError(
                f"{bundle.path}: {replay.format}'s outputs differ from those at export by up to {replay.share:.1%} of "
                f"their range, at most {MOST_SHARE:.0%} is rounding: do not use it on this machine"
            )
    return replays


def _numbers(outputs: engines.Outputs, card: Card) -> list[str]:
    lines = decode(outputs["logits"][0], outputs["boxes"][0], card.head, card.thresholds)
    return [line.number for line in lines]
