"""What a camera makes of a scene: light, focus, motion, exposure, noise, compression, drops on the lens.

Each effect takes a grey scene float32 [h, w], levels 0..255, and a generator, and returns one.
"""

from __future__ import annotations

import cv2
import numpy as np

from digitcam.core.arrays import FloatArray, UInt8Array
from digitcam.core.boxes import union

_NOISE = np.random.Generator(np.random.Philox(64)).standard_normal((512, 512), dtype=np.float32)
"""Drawn once: a window of it at a random place costs a hundredth of new noise."""
FAINTEST = 9.0
"""Standard deviation of the grey levels in the box of the faintest digit; ink and ground are some 25 levels apart."""
SMALL = (12.0, 32.0)
"""Heights in pixels below which a digit needs twice that, and from which on it does not."""


def noise(height: int, width: int, rng: np.random.Generator) -> FloatArray:
    """Return noise of standard deviation 1, float32 [height, width]; it repeats itself after 512 pixels."""
    y, x = rng.integers(128, size=2).tolist()
    field = _NOISE
    if height > 384 or width > 384:
        field = np.tile(_NOISE, (height // 512 + 2, width // 512 + 2))
    window = field[y : y + height, x : x + width]
    return window if rng.random() < 0.5 else window[:, ::-1]


def uneven_light(scene: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Light the corners differently, and now and then throw a soft-edged shadow or a reflection."""
    height, width = scene.shape
    corners = rng.uniform(0.7, 1.0, (2, 2)).astype(np.float32)
    scene = scene * cv2.resize(corners, (width, height))
    if rng.random() < 0.3:
        x, y = rng.uniform((0, 0), (width, height)).tolist()
        angle, soft = rng.uniform((0, 2), (2 * np.pi, 24)).tolist()
        columns = (np.arange(width, dtype=np.float32) - np.float32(x)) * np.float32(np.cos(angle) / soft)
        rows = (np.arange(height, dtype=np.float32) - np.float32(y)) * np.float32(np.sin(angle) / soft)
        shade = np.clip(columns[None] + rows[:, None], 0, 1)
        scene = scene * (1 - np.float32(rng.uniform(0.15, 0.5)) * shade)
    if rng.random() < 0.12:
        spot = np.zeros((height, width), dtype=np.float32)
        x, y = rng.integers((width, height)).tolist()
        size = rng.integers(2, max(3, height // 5), 2).tolist()
        cv2.ellipse(spot, (x, y), size, float(rng.uniform(0, 180)), 0, 360, 1.0, cv2.FILLED)
        soft_spot = cv2.GaussianBlur(spot, (0, 0), float(rng.uniform(1, 6)))
        scene = scene + soft_spot * np.float32(rng.uniform(30, 120))
    return scene


def blur(scene: FloatArray, digit_height: float, rng: np.random.Generator) -> FloatArray:
    """Defocus, shake, or photograph from too far away; bounded by the digits' height, so that a person can read."""
    kind = rng.random()
    if kind < 0.55:
        sigma = rng.uniform(0.25, max(0.45, 0.048 * digit_height))
        return np.asarray(cv2.GaussianBlur(scene, (0, 0), sigma), dtype=np.float32)
    if kind < 0.7:
        length = rng.uniform(1.5, max(1.8, 0.14 * digit_height))
        side = 2 * int(np.ceil(length / 2)) + 1
        kernel = np.zeros((side, side), dtype=np.float32)
        angle = rng.uniform(0, np.pi)
        way = np.array([np.cos(angle), np.sin(angle)]) * length / 2
        middle = side // 2
        start, end = (np.round((middle + way * sign) * 16).astype(int).tolist() for sign in (-1, 1))
        cv2.line(kernel, start, end, 1.0, 1, cv2.LINE_AA, shift=4)
        return np.asarray(cv2.filter2D(scene, -1, kernel / kernel.sum()), dtype=np.float32)
    if kind < 0.9 and digit_height > 14:
        height, width = scene.shape
        # Twelve pixels are about the fewest that still show a digit after resampling twice.
        factor = rng.uniform(max(0.2, 12 / digit_height), 1.0)
        small = np.asarray(cv2.resize(scene, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA))
        small = small + noise(small.shape[0], small.shape[1], rng) * np.float32(rng.uniform(0, 6))
        smooth = cv2.INTER_LINEAR if rng.random() < 0.5 else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(small, (width, height), interpolation=smooth), dtype=np.float32)
    return scene


def drops(scene: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Put a few drops on the lens: within each the scene is smeared and a little brighter."""
    height, width = scene.shape
    mask = np.zeros((height, width), dtype=np.float32)
    for _ in range(int(rng.integers(1, 5))):
        x, y = rng.integers((width, height)).tolist()
        size = rng.integers(2, max(3, height // 8), 2).tolist()
        cv2.ellipse(mask, (x, y), size, 0, 0, 360, 1.0, cv2.FILLED)
    soft = cv2.GaussianBlur(mask, (0, 0), 1.5)
    smeared = cv2.blur(scene, (7, 7)) + np.float32(rng.uniform(0, 25))
    return np.asarray(scene + soft * np.float32(rng.uniform(0.3, 0.8)) * (smeared - scene), dtype=np.float32)


def expose(scene: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Turn brightness and contrast, bend the curve: under- and overexposed, washed out, or as it is."""
    gain, lift, gamma = rng.uniform((0.6, -12, 0.7), (1.3, 25, 1.5)).tolist()
    scene = np.clip(scene * np.float32(gain) + np.float32(lift), 0, 255)
    if rng.random() < 0.4:
        scene = cv2.pow(scene / np.float32(255), gamma) * np.float32(255)
    return np.asarray(scene, dtype=np.float32)


def legible(scene: FloatArray, boxes_xywh: FloatArray, sigma: float) -> FloatArray:
    """Raise the contrast of a scene until its faintest digit can be told, as a camera's exposure does.

    What nobody can read teaches nothing, and says nothing of a reader.

    Parameters
    ----------
    boxes_xywh
        [n, 4], one a digit, inside the scene.
    sigma
        Standard deviation of the noise that is to come, in grey levels. The levels in every digit's box are to vary
        by `FAINTEST` and most of that; twice as much where the digit is as low as `SMALL`.
    """
    lacking = 1.0
    for x, y, w, h in boxes_xywh.tolist():
        spread = float(cv2.meanStdDev(_within(scene, x, y, w, h))[1][0, 0])
        wanted = (FAINTEST + 0.7 * sigma) * float(np.interp(h, SMALL, (2.0, 1.0)))
        lacking = max(lacking, wanted / max(spread, 1.0))
    if lacking == 1.0:
        return scene
    middle = np.float32(_within(scene, *union(boxes_xywh).tolist()).mean())
    # So that neither ink nor ground is cut off, however dark or bright it was.
    return np.asarray((scene - middle) * np.float32(min(lacking, 5.0)) + np.clip(middle, 70, 185), dtype=np.float32)


def _within(scene: FloatArray, x: float, y: float, width: float, height: float) -> FloatArray:
    return scene[int(y) : int(y + height) + 1, int(x) : int(x + width) + 1]


def photograph(scene: FloatArray, boxes_xywh: FloatArray, digit_height: float, rng: np.random.Generator) -> UInt8Array:
    """Return a scene as a camera gives it, uint8 [h, w].

    Parameters
    ----------
    scene
        Grey float32 [h, w], levels 0..255.
    boxes_xywh
        [n, 4], one a digit; they stay legible.
    digit_height
        Of its smallest digit in pixels; bounds blur and noise.
    """
    scene = uneven_light(scene, rng)
    if rng.random() < 0.06:
        scene = drops(scene, rng)
    scene = expose(blur(scene, digit_height, rng), rng)
    sigma = rng.uniform(0, 4) if rng.random() < 0.7 else rng.uniform(4, 13)
    # Noise that a large digit shrugs off hides a small one.
    sigma *= min(1.0, digit_height / 32)
    scene = legible(scene, boxes_xywh, sigma)
    scene = scene + noise(scene.shape[0], scene.shape[1], rng) * np.float32(sigma)
    image: UInt8Array = np.clip(scene, 0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        quality = int(rng.integers(25, 92))
        _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)  # type: ignore[assignment]
    return image
