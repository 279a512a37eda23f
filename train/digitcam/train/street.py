"""Scenes as a camera sees them: the numbers and layouts of SVHN, the digits drawn from fonts.

The photographs themselves are not needed, so what is drawn here may be learned from and shipped.
"""

from __future__ import annotations

from typing import Annotated

import cv2
import msgspec
import numpy as np

from digitcam.core import glyphs
from digitcam.core.arrays import FloatArray, UInt8Array
from digitcam.core.boxes import union
from digitcam.core.canvas import HEIGHT, WIDTH, Sample, rng_for
from digitcam.core.card import Input
from digitcam.core.preprocess import fit
from digitcam.train import svhn
from digitcam.train.mnist import Split

SMALLEST = 10
"""Height in pixels below which no digit is drawn."""
STRETCH = 1.6
"""How much wider than its font a digit may become, lest a 1 fills its box as a bar."""
_STREAMS: dict[Split, int] = {"train": 3, "validation": 4, "test": 5}


class StreetData(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="street", tag_field="kind"):
    """SVHN's numbers, each where its record says, on drawn plates and walls.

    seed
        Draws other scenes of the same records.
    """

    seed: Annotated[int, msgspec.Meta(ge=0)] = 1

    @property
    def channels(self) -> int:
        """Grey."""
        return 1

    @property
    def max_digits(self) -> int:
        """The longest number in SVHN's records has six digits."""
        return 6

    def size(self, split: Split) -> int:
        """Return how many images a split has: one a record."""
        return len(svhn.records(split))

    def sample(self, split: Split, index: int, height: int = HEIGHT, width: int = WIDTH) -> Sample:
        """Draw image `index` of a split: its records in turn, each time another scene.

        Raises
        ------
        SourceError
            When SVHN's labels are absent.
        """
        records = svhn.records(split)
        rng = rng_for(self.seed, _STREAMS[split], index)
        record = records[index % len(records)]
        boxes = place(record, height, width)
        return Sample(draw(record.number, boxes, height, width, rng), record.number, boxes)


def place(record: svhn.Record, height: int, width: int) -> FloatArray:
    """Return where a record's digits stand on a canvas [height, width]: float32 [n, 4] x, y, w, h in pixels.

    The photograph is fitted into the canvas as the device would fit it. A number with a digit lower than
    `SMALLEST` is enlarged, as far as it fits, and moved inside.
    """
    placement, _ = fit(record.height, record.width, Input(height=height, width=width))
    boxes = placement.to_input(record.boxes_xywh)
    whole = union(boxes)
    room = np.array([width, height], dtype=np.float32)
    grow = max(1.0, min(SMALLEST / boxes[:, 3].min(), *(room / whole[2:])))
    middle = whole[:2] + whole[2:] / 2
    half = whole[2:] * grow / 2
    inside = np.clip(middle, half, room - half)
    boxes = np.concatenate([(boxes[:, :2] - middle) * grow + inside, boxes[:, 2:] * grow], axis=1)
    return boxes.astype(np.float32)


def draw(number: str, boxes_xywh: FloatArray, height: int, width: int, rng: np.random.Generator) -> UInt8Array:
    """Draw a number's digits into their boxes [n, 4] on a scene, uint8 [height, width]."""
    dark = rng.uniform(10, 110)
    levels = [dark, dark + rng.uniform(70, 145)]
    ink, plate = levels if rng.random() < 0.5 else levels[::-1]
    scene = _wall(height, width, rng)
    _put_plate(scene, union(boxes_xywh), plate, rng)
    shown = _ink(number, boxes_xywh, height, width, rng)
    scene += shown * (ink - scene)
    return _photograph(scene, float(boxes_xywh[:, 3].min()), rng)


def _wall(height: int, width: int, rng: np.random.Generator) -> FloatArray:
    """Return a texture float32 [height, width] about a random level: coarse patches and finer grain."""
    wall = np.full((height, width), rng.uniform(40, 215), dtype=np.float32)
    for cells, strength in ((3, 30), (12, 12)):
        noise = rng.standard_normal((cells, 2 * cells), dtype=np.float32) * rng.uniform(0, strength)
        wall += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return wall


def _put_plate(scene: FloatArray, box_xywh: FloatArray, level: float, rng: np.random.Generator) -> None:
    """Cover the number's surroundings with a plate of a level, a trace of the wall showing through."""
    x, y, w, h = box_xywh.tolist()
    left, right = (h * rng.uniform(0.1, 1.5, 2)).tolist()
    top, bottom = (h * rng.uniform(0.1, 0.6, 2)).tolist()
    corners = [(round(x - left), round(y - top)), (round(x + w + right), round(y + h + bottom))]
    mask = np.zeros(scene.shape, dtype=np.float32)
    cv2.rectangle(mask, corners[0], corners[1], 1.0, cv2.FILLED)
    faint = level + (scene - scene.mean()) * np.float32(0.3)
    scene += mask * (faint - scene)
    if rng.random() < 0.4:
        frame = float(level + rng.uniform(-60, 60))
        cv2.rectangle(scene, corners[0], corners[1], frame, max(1, round(0.05 * h)), cv2.LINE_AA)


def _ink(number: str, boxes_xywh: FloatArray, height: int, width: int, rng: np.random.Generator) -> FloatArray:
    """Return each pixel's share of ink, 0..1, float32 [height, width]: one font, warped a little."""
    font = int(rng.integers(glyphs.tiles().shape[1]))
    ink = np.zeros((height, width), dtype=np.uint8)
    for digit, box in zip(number, boxes_xywh, strict=True):
        tile = glyphs.warp(glyphs.tiles()[int(digit), font], glyphs.SIZE, 0.5, rng)
        left, top, wide, high = cv2.boundingRect(tile)
        x, y, w, h = box.tolist()
        drawn = min(w, h * wide / high * STRETCH)
        # From the box's pixels to the tile's; pixel centres lie at halves.
        scale_x, scale_y = drawn / wide, h / high
        start_x = x + (w - drawn) / 2
        matrix = np.array(
            [
                [scale_x, 0, start_x - (left - 0.5) * scale_x - 0.5],
                [0, scale_y, y - (top - 0.5) * scale_y - 0.5],
            ]
        )
        # Warping down skips pixels: average them first.
        blur = max(0.0, 0.4 / min(scale_x, scale_y) - 0.4)
        soft = cv2.GaussianBlur(tile, (0, 0), blur) if blur > 0 else tile
        cv2.max(ink, cv2.warpAffine(soft, matrix, (width, height), flags=cv2.INTER_LINEAR), dst=ink)
    shares: FloatArray = ink.astype(np.float32) / np.float32(255)
    return shares


def _photograph(scene: FloatArray, digit_height: float, rng: np.random.Generator) -> UInt8Array:
    """Return the scene as a camera gives it, uint8 [height, width]: unevenly lit, blurred, exposed, noisy."""
    height, width = scene.shape
    light = rng.uniform(0.75, 1.0, (2, 2)).astype(np.float32)
    scene = scene * cv2.resize(light, (width, height)) * np.float32(rng.uniform(0.7, 1.25))
    # Focus is bounded by the smallest digit, so that a person could still read it.
    scene = np.asarray(cv2.GaussianBlur(scene, (0, 0), rng.uniform(0.3, max(0.6, 0.04 * digit_height))))
    scene += rng.standard_normal(scene.shape, dtype=np.float32) * np.float32(rng.uniform(0, 8))
    image: UInt8Array = scene.round().clip(0, 255).astype(np.uint8)
    return image
