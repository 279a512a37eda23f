"""A training image as the closer look shows it: a number cut out and enlarged, with what an enlarging blurs.

Sometimes what is cut out is no number: a first look takes clutter for one, and the closer one has to know better.
"""

from __future__ import annotations

import numpy as np

from digitcam.core.arrays import FloatArray
from digitcam.core.canvas import Number, Sample, rng_for
from digitcam.core.card import Input
from digitcam.core.closeup import around
from digitcam.core.decode import Digit, Line
from digitcam.core.preprocess import letterbox
from digitcam.train.street import SMALLEST

SIZE, AWAY = 0.2, 0.3
"""How far the first look's box may be off: its size by a factor of up to e^SIZE, its place by digit heights."""
FALSE = 0.2
"""Share of the close-ups, of frames with a number, that show another place; of frames without one, all do."""
_STREAM = 8


def closer(sample: Sample, spec: Input, digit_px: float, share: float, seed: int, index: int) -> Sample:
    """Return training image `index` enlarged around what a first look saw, or as it is: by chance, or if it is large.

    Parameters
    ----------
    digit_px
        The height that digits get, as `GridHead.close_up`.
    share
        Of the images that are enlarged if they can be, 0..1.
    seed
        Of the choice, of what was seen, and of how far that is off.
    """
    rng = rng_for(seed, _STREAM, index)
    if rng.random() >= share:
        return sample
    size, *away = (rng.uniform(-1, 1, 3) * (SIZE, AWAY, AWAY)).tolist()
    height, width = sample.image.shape[:2]
    boxes = sample.boxes_xywh
    if not sample.number or rng.random() < FALSE:
        boxes = _anywhere(height, width, digit_px, rng)
    move = float(np.median(boxes[:, 3])) * np.array([*away, 0, 0])
    line = Line(tuple(Digit("", 1.0, tuple(box)) for box in (boxes + move).tolist()))
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
    if any((one.boxes_xywh[:, 3] > spec.height).any() for one in (number, *others)):
        return sample  # a stroke of a large digit says nothing
    image = tensor[0] if spec.channels == 3 else tensor[0, ..., 0]
    return Sample(image, *number, tuple(other for other in others if other.number))


def _anywhere(height: int, width: int, largest: float, rng: np.random.Generator) -> FloatArray:
    """Return boxes [n, 4] of one to three digits, half as wide as high, that a first look saw by mistake."""
    count, tall = int(rng.integers(1, 4)), float(np.exp(rng.uniform(np.log(SMALLEST), np.log(largest))))
    left, top = (rng.uniform(0, 1, 2) * (width - count * tall / 2, height - tall)).tolist()
    return np.array([[left + i * tall / 2, top, tall / 2, tall] for i in range(count)], dtype=np.float32)
