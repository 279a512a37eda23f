"""Calibration: the images whose ranges become int8's scales."""

from __future__ import annotations

import numpy as np

from digitcam.core.arrays import UInt8Array
from digitcam.train.closer import closer
from digitcam.train.recipe import Recipe

IMAGES = 2048
"""Of 256, the largest values of a network trained further were too few: int8.onnx saw numbers where there are none."""
CLOSE_UPS = 0.5
"""Share of the images that show what a closer look would, of a network that takes one."""


def calibration_images(recipe: Recipe, count: int = IMAGES) -> UInt8Array:
    """Return training images uint8 [count, H, W, channels] of whole input size, the first of them reaching 0 and 255.

    Values beyond those seen here are cut off by int8, so a network that looks closer is calibrated on close-ups too.

    The full range in one image makes the input's scale exactly 1/255, so that a device feeds bytes as they are.
    """
    spec = recipe.input
    drawn = [recipe.data.sample("train", index, spec.height, spec.width) for index in range(count)]
    digit_px = recipe.head.close_up
    if digit_px is not None:
        drawn = [closer(sample, spec, digit_px, CLOSE_UPS, recipe.seed, i) for i, sample in enumerate(drawn)]
    images = np.stack([sample.image for sample in drawn]).reshape(count, spec.height, spec.width, spec.channels)
    images[0, 0, 0], images[0, 0, 1] = 0, 255
    return images
