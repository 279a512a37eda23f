"""How well numbers were read and located, in figures. Free of numpy, for cards are read where little may be loaded."""

from __future__ import annotations

import msgspec


class Metrics(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `evaluate` and `bench accuracy` report on one data set, see `core.measure`.

    Accuracies and the IoU lie in 0..1, the localisation error is in squared pixels of the network's input.
    `sequence_by_length` maps a true length ("0", "1", ...) to the sequence accuracy on those images. An image
    without a number is right when nothing is read; error and IoU are means over the images that have one, and
    those of a perfect answer, 0 and 1, where none has.
    """

    images: int
    sequence_accuracy: float
    character_accuracy: float
    localisation_error_px2: float
    iou: float
    sequence_by_length: dict[str, float]


class Coverage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The share of the images accepted from `threshold` on, of which `accuracy` are right.

    The threshold is None where none gives that accuracy.
    """

    accuracy: float
    threshold: float | None
    share: float
