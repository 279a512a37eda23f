"""Scenes as a camera sees them: house numbers, counters, displays, prints, handwriting, and nothing at all.

Numbers and layouts of house numbers follow SVHN's labels, wheels are real photographs, digits are MNIST's or drawn
from some hundred fonts; walls, clutter and the camera are drawn. OpenCV alone draws a scene in about a millisecond;
augmentation libraries take several.
"""

from __future__ import annotations

from typing import Annotated, Literal

import cv2
import msgspec
import numpy as np

from digitcam.core.arrays import FloatArray
from digitcam.core.boxes import union
from digitcam.core.canvas import HEIGHT, WIDTH, Number, Sample, rng_for
from digitcam.train.mnist import Split
from digitcam.train.photograph import photograph
from digitcam.train.scene import clutter, wall
from digitcam.train.strips import KINDS, Strip

SMALLEST, LARGEST = 10.0, 110.0
"""Heights in pixels between which digits are drawn."""
FILLING = 0.3
"""Share of the numbers that fill the frame."""
_STREAMS: dict[Split, int] = {"train": 3, "validation": 4, "test": 5}
_SIZES: dict[Split, int] = {"train": 200_000, "validation": 10_000, "test": 10_000}

KindName = Literal["house", "wheels", "wheel", "counter", "display", "print", "code", "handwriting"]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Weight = Annotated[float, msgspec.Meta(gt=0)]

MIX: dict[KindName, float] = {
    "house": 1.0,
    "wheels": 1.2,
    "counter": 0.6,
    "display": 1.0,
    "print": 1.5,
    "handwriting": 0.4,
}


class StreetData(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="street", tag_field="kind"):
    """Frames with a number, with several, or with none.

    kinds
        Which kinds of numbers are drawn, with weights. `house` needs SVHN's labels, `wheels` and `wheel` photographs
        as `digitcam.train.wheels` has, `handwriting` MNIST; `counter`, `display`, `print` and `code` need nothing.
    empty
        Share of frames without a number.
    several
        Share of the others with a second, shorter number.
    turn
        Largest turn in the plane, in degrees; half of the numbers are turned less than 3°.
    seed
        Draws other scenes.
    """

    kinds: dict[KindName, Weight] = msgspec.field(default_factory=lambda: dict(MIX))
    empty: Share = 0.08
    several: Share = 0.1
    turn: Annotated[float, msgspec.Meta(ge=0, le=30)] = 15.0
    seed: Annotated[int, msgspec.Meta(ge=0)] = 1

    def __post_init__(self) -> None:
        if not self.kinds:
            raise ValueError("kinds is empty")

    @property
    def channels(self) -> int:
        """Grey."""
        return 1

    @property
    def max_digits(self) -> int:
        """The longest printed number."""
        return 10

    def check_size(self, height: int, width: int) -> None:
        """Raise a ValueError that says why scenes of a size cannot be drawn, if they cannot."""
        least = round(SMALLEST) + 2
        if min(height, width) < least:
            raise ValueError(
                f"{height}x{width} is too small for digits {SMALLEST:.0f} high: that needs {least}x{least}"
            )

    def size(self, split: Split) -> int:
        """Return how many images a split has; training may draw on beyond: every index is a new image."""
        return _SIZES[split]

    def check_there(self, split: Split) -> None:
        """Raise SourceError when the data that one of the kinds needs is absent."""
        for kind in self.kinds:
            KINDS[kind](SMALLEST, 0.0, split, rng_for(self.seed, _STREAMS[split], 0))

    def sample(self, split: Split, index: int, height: int = HEIGHT, width: int = WIDTH) -> Sample:
        """Draw image `index` of a split.

        Raises
        ------
        SourceError
            When the data that a kind needs is absent.
        """
        rng = rng_for(self.seed, _STREAMS[split], index)
        level = float(rng.uniform(15, 240))
        scene = wall(height, width, level, rng)
        clutter(scene, int(rng.integers(0, 5)), rng)
        if rng.random() < self.empty:
            clutter(scene, int(rng.integers(1, 5)), rng)
            nowhere = np.zeros((0, 4), dtype=np.float32)
            return Sample(photograph(scene, nowhere, float(rng.uniform(12, 60)), rng), "", nowhere)
        main = self._place(split, level, height, width, rng)
        numbers = [main]
        if rng.random() < self.several:
            other = self._place(split, level, height, width, rng, largest=0.6 * main.height)
            if len(other.strip.number) < len(main.strip.number) and _apart(main, other):
                numbers.append(other)
        for number in reversed(numbers):
            number.draw(scene)
        boxes = np.concatenate([number.boxes_xywh for number in numbers])
        _letterbox(scene, boxes, rng)
        image = photograph(scene, boxes, min(number.sharp for number in numbers), rng)
        others = tuple(Number(number.strip.number, number.boxes_xywh) for number in numbers[1:])
        return Sample(image, main.strip.number, main.boxes_xywh, others)

    def _place(
        self, split: Split, level: float, height: int, width: int, rng: np.random.Generator, largest: float = LARGEST
    ) -> Placed:
        """Draw a strip and where it stands: all its digits inside the frame, no lower than `SMALLEST` if it can be."""
        names = list(self.kinds)
        weights = np.array([self.kinds[name] for name in names])
        largest = max(SMALLEST, min(largest, 0.92 * height))
        for _ in range(8):
            tall = float(np.exp(rng.uniform(np.log(SMALLEST), np.log(largest))))
            kind = KINDS[names[rng.choice(len(names), p=weights / weights.sum())]]
            # Drawn a little larger than it will stand, so that turning it loses nothing.
            drawn = min(64.0, 1.25 * tall)
            strip = kind(drawn, level, split, rng)
            posed = _random_pose(strip, tall / drawn, self.turn, rng)
            placed = put(strip, posed, FILLING, height, width, rng)
            if placed.height >= SMALLEST - 1:
                break
        return placed


class Placed(msgspec.Struct, frozen=True):
    """A strip in a scene: the way from its pixels to the scene's [3, 3], and its digits' boxes [n, 4] there."""

    strip: Strip
    matrix: FloatArray
    boxes_xywh: FloatArray

    @property
    def height(self) -> float:
        """Of its lowest digit, in pixels."""
        return float(self.boxes_xywh[:, 3].min())

    @property
    def sharp(self) -> float:
        """How many pixels high that digit can be told apart: a photograph enlarged is blurred already."""
        return min(self.height, self.strip.detail)

    def outline(self) -> FloatArray:
        """Return the box [4] around the whole strip in the scene."""
        height, width = self.strip.grey.shape
        box: FloatArray = _around(np.array([[0, 0, width, height]], dtype=np.float32), self.matrix)[0]
        return box

    def draw(self, scene: FloatArray) -> None:
        """Draw the strip into the scene [h, w], touching only what it covers."""
        left, top, wide, high = self.outline()
        x, y = max(0, int(left)), max(0, int(top))
        part = scene[y : int(np.ceil(top + high)), x : int(np.ceil(left + wide))]
        matrix = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1]]) @ self.matrix
        both = cv2.merge([self.strip.grey, self.strip.cover])
        both = cv2.warpPerspective(both, matrix, part.shape[::-1])
        share = both[..., 1].astype(np.float32) * np.float32(1 / 255)
        part += share * (both[..., 0] - part)


def pose(scale: float, degrees: float, slant: float) -> FloatArray:
    """Return the matrix [3, 3] that scales, slants (tangent, tops to the left) and turns clockwise about the origin."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array(
        [[scale * cos, scale * (cos * slant - sin), 0], [scale * sin, scale * (sin * slant + cos), 0], [0, 0, 1]]
    )


def _random_pose(strip: Strip, scale: float, turn: float, rng: np.random.Generator) -> FloatArray:
    degrees = rng.uniform(-turn, turn) if rng.random() < 0.5 else rng.uniform(-3, 3)
    matrix = pose(scale, degrees, rng.normal(0, 0.08))
    if rng.random() < 0.5:
        h, w = strip.grey.shape
        corners = np.array([[0, 0], [w, 0], [w, h], [0, h]], dtype=np.float32)
        tilted = corners + rng.uniform(-0.07, 0.07, (4, 2)).astype(np.float32) * np.float32(h)
        matrix = matrix @ cv2.getPerspectiveTransform(corners, tilted)
    return np.asarray(matrix)


def put(strip: Strip, matrix: FloatArray, fill: float, height: int, width: int, rng: np.random.Generator) -> Placed:
    """Move a posed strip to a random place of a frame, smaller if need be, all its digits inside.

    Parameters
    ----------
    fill
        Share of the strips that fill the frame, as if cut out around the number.
    """
    whole = union(_around(strip.boxes_xywh, matrix))
    room = np.array([width - 2.0, height - 2.0])
    shrink = min(1.0, *(room / whole[2:]))
    if rng.random() < fill:
        scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
        shrink = min(LARGEST / strip.boxes_xywh[:, 3].max() / scale, *(room / whole[2:])) * rng.uniform(0.6, 1.0)
    free = room - whole[2:] * shrink
    start = 1 + rng.uniform(0, 1, 2) * np.maximum(free, 0) - whole[:2] * shrink
    matrix = np.array([[shrink, 0, start[0]], [0, shrink, start[1]], [0, 0, 1]]) @ matrix
    return Placed(strip, matrix, _around(strip.boxes_xywh, matrix))


def _around(boxes_xywh: FloatArray, matrix: FloatArray) -> FloatArray:
    """Return the upright boxes [n, 4] around boxes moved by a perspective matrix."""
    x, y, w, h = boxes_xywh.T
    corners = np.stack([[x, y], [x + w, y], [x + w, y + h], [x, y + h]]).transpose(2, 0, 1)
    moved = cv2.perspectiveTransform(corners.astype(np.float32), matrix)
    low, high = moved.min(axis=1), moved.max(axis=1)
    return np.concatenate([low, high - low], axis=1).astype(np.float32)


def _apart(main: Placed, other: Placed) -> bool:
    """Say whether two numbers stand so far from each other that nobody takes them for one."""
    x, y, w, h = main.outline()
    left, top, wide, high = union(other.boxes_xywh)
    side = 1.6 * main.height
    below = 0.3 * main.height
    return bool(left > x + w + side or left + wide < x - side or top > y + h + below or top + high < y - below)


def _letterbox(scene: FloatArray, boxes_xywh: FloatArray, rng: np.random.Generator) -> None:
    """Now and then black out what a frame of another shape would not fill, never a digit."""
    if rng.random() > 0.25:
        return
    x, y, w, h = union(boxes_xywh)
    height, width = scene.shape
    if rng.random() < 0.7:
        scene[:, : int(rng.uniform(0, max(0.0, x - 1)))] = 0
        scene[:, int(np.ceil(rng.uniform(min(width, x + w + 1), width))) :] = 0
    else:
        scene[: int(rng.uniform(0, max(0.0, y - 1)))] = 0
        scene[int(np.ceil(rng.uniform(min(height, y + h + 1), height))) :] = 0
