"""Calibration: the images whose ranges become int8's scales."""

from __future__ import annotations

import numpy as np

from digitcam.core.arrays import UInt8Array
from digitcam.train.recipe import Recipe

IMAGES = 256


def calibration_images(recipe: Recipe, count: int = IMAGES) -> UInt8Array:
    """Return training images uint8 [count, H, W, channels] of whole input size, the first of them reaching 0 and 255.

    The full range in one image makes the input's scale exactly 1/255, so that a device feeds bytes as they are.
    """
    spec = recipe.input
    drawn = [recipe.data.sample("train", index, spec.height, spec.width).image for index in range(count)]
    images = np.stack(drawn).reshape(count, spec.height, spec.width, spec.channels)
    images[0, 0, 0], images[0, 0, 1] = 0, 255
    return images
