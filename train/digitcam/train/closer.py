"""A training image as the closer look shows it: its number cut out and enlarged, with what an enlarging blurs."""

from __future__ import annotations

import numpy as np

from digitcam.core.arrays import FloatArray
from digitcam.core.canvas import Number, Sample, rng_for
from digitcam.core.card import Input
from digitcam.core.closeup import around
from digitcam.core.decode import Digit, Line
from digitcam.core.preprocess import letterbox

SIZE, AWAY = 0.2, 0.3
"""How far the first look's box may be off: its size by a factor of up to e^SIZE, its place by digit heights."""
_STREAM = 8


def closer(sample: Sample, spec: Input, digit_px: float, share: float, seed: int, index: int) -> Sample:
    """Return training image `index` enlarged around its number, or as it is: by chance, or where it is large already.

    Parameters
    ----------
    digit_px
        The height that digits get, as `GridHead.close_up`.
    share
        Of the images that are enlarged if they can be, 0..1.
    seed
        Of the choice and of how far the part is off.
    """
    rng = rng_for(seed, _STREAM, index)
    if rng.random() >= share or not sample.number:
        return sample
    size, *away = (rng.uniform(-1, 1, 3) * (SIZE, AWAY, AWAY)).tolist()
    height, width = sample.image.shape[:2]
    move = float(np.median(sample.boxes_xywh[:, 3])) * np.array([*away, 0, 0])
    line = Line(tuple(Digit("", 1.0, tuple(box)) for box in (sample.boxes_xywh + move).tolist()))
    part = around(line, height, width, spec, digit_px * float(np.exp(size)))
    if part is None:
        return sample
    left, top, wide, high = part
    tensor, placement = letterbox(sample.image[top : top + high, left : left + wide], spec)

    def placed(number: Number) -> Number:
        boxes: FloatArray = placement.to_input(number.boxes_xywh - np.array([left, top, 0, 0], np.float32))
        centres = boxes[:, :2] + boxes[:, 2:] / 2
        inside = np.all((centres >= 0) & (centres < (spec.width, spec.height)), axis=1).tolist()
        digits = "".join(digit for digit, seen in zip(number.number, inside, strict=True) if seen)
        return Number(digits, boxes[inside])

    number, *others = map(placed, (Number(sample.number, sample.boxes_xywh), *sample.others))
    image = tensor[0] if spec.channels == 3 else tensor[0, ..., 0]
    return Sample(image, *number, tuple(other for other in others if other.number))
