"""What stands around a number: walls, and things that are no digit though they have edges like one."""

from __future__ import annotations

import cv2
import numpy as np

from digitcam.core.arrays import FloatArray
from digitcam.train.faces import LETTERS, font_count, set_line, typeface
from digitcam.train.photograph import noise


def wall(height: int, width: int, level: float, rng: np.random.Generator) -> FloatArray:
    """Return a surface float32 [height, width] about a grey level: patches, grain, and now and then bricks."""
    scene = np.full((height, width), level, dtype=np.float32)
    patches = noise(3, 6, rng) * np.float32(rng.uniform(0, 30))
    scene += cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.5:
        grain = noise(height // 4 + 1, width // 4 + 1, rng) * np.float32(rng.uniform(0, 14))
        scene += cv2.resize(grain, (width, height), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.15:
        _bricks(scene, rng)
    return scene


def _bricks(scene: FloatArray, rng: np.random.Generator) -> None:
    height, width = scene.shape
    course = int(rng.integers(8, 30))
    joint = float(rng.uniform(-45, 45))
    start, length = int(rng.integers(course)), round(course * rng.uniform(1.8, 3.2))
    for row, y in enumerate(range(start - course, height, course)):
        cv2.line(scene, (0, y), (width, y), float(scene[min(max(y, 0), height - 1), 0] + joint), 1)
        for x in range(row % 2 * length // 2, width, length):
            cv2.line(scene, (x, y), (x, y + course), float(scene[0, x] + joint), 1)


def clutter(scene: FloatArray, count: int, rng: np.random.Generator) -> None:
    """Draw things into a scene [h, w] that are no number: bars, frames, screws, letters, barcodes, scratches."""
    for _ in range(count):
        _CLUTTER[rng.choice(len(_CLUTTER), p=_SHARES)](scene, rng)


def _shade(scene: FloatArray, rng: np.random.Generator) -> float:
    """Return a grey level that differs from the scene's by at least 25."""
    step = float(rng.uniform(25, 130))
    level = float(scene.mean())
    up = level + step <= 250 and (level - step < 5 or rng.random() < 0.5)
    return level + step if up else level - step


def _bar(scene: FloatArray, rng: np.random.Generator) -> None:
    """Draw a line or post that leaves the picture, mostly upright: as a digit it would be far too long."""
    height, width = scene.shape
    thick = int(rng.integers(1, max(2, height // 8)))
    shade = _shade(scene, rng)
    if rng.random() < 0.75:
        x, lean = int(rng.integers(width)), int(rng.integers(-height // 8, height // 8 + 1))
        start = (x, -5) if rng.random() < 0.5 else (x, int(rng.integers(0, height // 4 + 1)))
        cv2.line(scene, start, (x + lean, height + 5), shade, thick, cv2.LINE_AA)
    else:
        y, lean = int(rng.integers(height)), int(rng.integers(-height // 6, height // 6 + 1))
        cv2.line(scene, (-5, y), (width + 5, y + lean), shade, thick, cv2.LINE_AA)


def _frame(scene: FloatArray, rng: np.random.Generator) -> None:
    """Draw a door or window: one rectangle in another, filled or not."""
    height, width = scene.shape
    x, y = rng.integers((-width // 4, -height // 4), (3 * width // 4, 3 * height // 4)).tolist()
    w, h = rng.integers((width // 8, height // 3), (width, height + height // 3)).tolist()
    if rng.random() < 0.5:
        cv2.rectangle(scene, (x, y), (x + w, y + h), _shade(scene, rng), cv2.FILLED)
    inner = int(rng.integers(1, 8))
    thick = int(rng.integers(1, 5))
    cv2.rectangle(scene, (x + inner, y + inner), (x + w - inner, y + h - inner), _shade(scene, rng), thick)


def _screw(scene: FloatArray, rng: np.random.Generator) -> None:
    height, width = scene.shape
    x, y = rng.integers((width, height)).tolist()
    radius = int(rng.integers(2, max(4, height // 7)))
    cv2.circle(scene, (x, y), radius, _shade(scene, rng), cv2.FILLED, cv2.LINE_AA)
    angle = rng.uniform(0, np.pi)
    way = np.array([np.cos(angle), np.sin(angle)]) * radius * 0.8
    ways = [way] if rng.random() < 0.5 else [way, np.array([-way[1], way[0]])]
    shade, thick = _shade(scene, rng), max(1, radius // 4)
    for way in ways:
        ends = [np.round(np.array([x, y]) + sign * way).astype(int).tolist() for sign in (-1, 1)]
        cv2.line(scene, ends[0], ends[1], shade, thick, cv2.LINE_AA)


def _barcode(scene: FloatArray, rng: np.random.Generator) -> None:
    height, width = scene.shape
    w, h = rng.integers((16, 6), (max(17, width // 2), max(7, height // 2))).tolist()
    bars = np.repeat(rng.random(w) < 0.5, rng.integers(1, 4, w))[:w]
    dark, bright = sorted(rng.uniform(0, 255, 2).tolist())
    x, y = rng.integers((max(1, width - w), max(1, height - h))).tolist()
    scene[y : y + h, x : x + w] = np.where(bars, np.float32(dark), np.float32(bright))[: width - x]


def _scratch(scene: FloatArray, rng: np.random.Generator) -> None:
    """Draw a crack, cable or arrow: a line with bends."""
    height, width = scene.shape
    points = rng.uniform((-10, -10), (width + 10, height + 10), (int(rng.integers(3, 6)), 2)).round().astype(np.int32)
    cv2.polylines(scene, [points], bool(rng.random() < 0.3), _shade(scene, rng), int(rng.integers(1, 4)), cv2.LINE_AA)


def _word(scene: FloatArray, rng: np.random.Generator) -> None:
    """Write letters of any size; none of them could be a digit."""
    height, width = scene.shape
    tall = float(np.exp(rng.uniform(np.log(6), np.log(0.6 * height))))
    count = int(rng.integers(1, 9))
    text = [LETTERS[i] for i in rng.integers(len(LETTERS), size=count)]
    ink = set_line(text, typeface(int(rng.integers(font_count()))), tall, float(rng.uniform(0, 0.2))).ink
    if rng.random() < 0.2:
        ink = cv2.rotate(ink, cv2.ROTATE_90_CLOCKWISE)  # type: ignore[assignment]
    h, w = ink.shape
    x, y = int(rng.integers(-w // 2, width)), int(rng.integers(-h // 4, height))
    left, top, right, bottom = max(0, x), max(0, y), min(width, x + w), min(height, y + h)
    if left >= right or top >= bottom:
        return
    part = scene[top:bottom, left:right]
    share = ink[top - y : bottom - y, left - x : right - x].astype(np.float32) / np.float32(255)
    part += share * (np.float32(_shade(part, rng)) - part)


def _pads(scene: FloatArray, rng: np.random.Generator) -> None:
    """Draw a row of solder pads, holes, rivets or keys: all alike, evenly spaced."""
    height, width = scene.shape
    size = rng.integers(2, max(4, height // 9), 2)
    step = size + rng.integers(1, max(3, height // 10), 2)
    start, shade = rng.integers((width, height)), _shade(scene, rng)
    round_ones, along = rng.random() < 0.4, rng.random() < 0.6
    for i in range(int(rng.integers(2, 13))):
        x, y = (start + i * step * (along, not along)).tolist()
        if round_ones:
            cv2.circle(scene, (x, y), int(size[0]) // 2 + 1, shade, cv2.FILLED, cv2.LINE_AA)
        else:
            cv2.rectangle(scene, (x, y), (x + int(size[0]), y + int(size[1])), shade, cv2.FILLED)


def _traces(scene: FloatArray, rng: np.random.Generator) -> None:
    """Draw a circuit board's traces, or cables: lines side by side with a bend or two of 45 degrees."""
    height, width = scene.shape
    reach, slant = int(rng.integers(width // 8, width)), int(rng.integers(4, max(5, height // 3)))
    x, y = rng.integers((-width // 4, -height // 8), (width, height)).tolist()
    down = slant if rng.random() < 0.5 else -slant
    points = np.array([[x, y], [x + reach // 2, y], [x + reach // 2 + slant, y + down], [x + reach + slant, y + down]])
    if rng.random() < 0.4:
        points = points[:, ::-1]
    thick = int(rng.integers(1, 4))
    apart, shade = thick + int(rng.integers(2, 8)), _shade(scene, rng)
    aside = np.array([0, 1]) if points[0, 1] == points[1, 1] else np.array([1, 0])
    for i in range(int(rng.integers(1, 7))):
        cv2.polylines(scene, [(points + i * apart * aside).astype(np.int32)], False, shade, thick, cv2.LINE_AA)


_CLUTTER = (_bar, _frame, _screw, _barcode, _scratch, _word, _pads, _traces)
_SHARES = (0.23, 0.14, 0.09, 0.06, 0.08, 0.26, 0.07, 0.07)
