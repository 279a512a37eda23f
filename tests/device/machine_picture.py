"""Write what the emulated machine's camera shows to standard output: the number `NUMBER`, as one YUYV frame."""

import sys

import cv2
import numpy as np

from digitcam.core.canvas import draw_glyphs, rng_for

NUMBER = "4096"
WIDTH, HEIGHT = 640, 320


def frame() -> bytes:
    """Return the picture as a camera gives it: luma from 16 to 235, no colour."""
    picture = cv2.resize(draw_glyphs(NUMBER, rng_for(11, 5, 0)).image, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    luma = 16 + picture * (219 / 255)
    return bytes(np.stack([luma, np.full_like(luma, 128)], axis=2).round().astype(np.uint8))


if __name__ == "__main__":
    sys.stdout.buffer.write(frame())
