"""Pictures of the images that a format and the reference read differently, as data URIs for a page."""

from __future__ import annotations

import base64
from typing import NamedTuple, cast

import cv2

from digitcam.benchmarks.results import AccuracyResult, DataSetAccuracy, Flip
from digitcam.core.arrays import UInt8Array
from digitcam.core.errors import DigitcamError
from digitcam.train.data import data_set
from digitcam.train.mnist import Split

MOST = 6
"""Pictures of each bundle on each data set."""
JPEG_QUALITY = 72


class Reading(NamedTuple):
    """What a format read on an image; `confidence` is None in results from before it was kept."""

    format: str
    number: str
    confidence: float | None
    right: bool


class Picture(NamedTuple):
    """An image that was flipped, and who read what; the reference's reading is the first."""

    data: str
    number: int
    truth: str
    uri: str
    readings: list[Reading]


class Pictures(NamedTuple):
    """The worst flips of a bundle on a data set.

    images
        How many images were flipped, by any format.
    changed
        How many of the worst are left out, as the data set gives another image in their place now.
    missing
        Why there are no pictures, where the data or what draws it is not on this machine; else empty.
    """

    bundle: str
    images: int
    pictures: list[Picture]
    missing: str
    changed: int = 0


def pictures(result: AccuracyResult, data: DataSetAccuracy, most: int = MOST) -> Pictures:
    """Draw the worst flips of a data set, as many as `most`; see `worst`."""
    flipped = by_image(data)
    found, changed = [], 0
    try:
        for index in worst(flipped)[:most]:
            some = flipped[index]
            first = next(iter(some.values()))
            sample = data_set(data.data).sample(cast(Split, data.split), index)
            if sample.number != first.truth:
                changed += 1
                continue
            reference = Reading(
                result.reference, first.reference, first.reference_confidence, first.reference == first.truth
            )
            readings = [Reading(f, flip.number, flip.confidence, flip.number == flip.truth) for f, flip in some.items()]
            found.append(Picture(data.data, index, first.truth, _uri(sample.image), [reference, *readings]))
    except DigitcamError as error:
        return Pictures(result.subject.name, len(flipped), [], str(error))
    except ModuleNotFoundError as error:
        return Pictures(result.subject.name, len(flipped), [], f"drawing {data.data} needs {error.name}")
    return Pictures(result.subject.name, len(flipped), found, "", changed)


def by_image(data: DataSetAccuracy) -> dict[int, dict[str, Flip]]:
    """Return by index of the image which formats flipped it."""
    found: dict[int, dict[str, Flip]] = {}
    for format, measured in data.formats.items():
        for flip in (*measured.lost, *measured.won):
            found.setdefault(flip.index, {})[format] = flip
    return found


def worst(flipped: dict[int, dict[str, Flip]]) -> list[int]:
    """Return the images in order: those lost by most formats, then those whose wrong reading is surest."""

    def badness(index: int) -> tuple[int, float, int]:
        lost = [flip for flip in flipped[index].values() if flip.reference == flip.truth]
        return -len(lost), -max((flip.confidence or 0.0 for flip in lost), default=0.0), index

    return sorted(flipped, key=badness)


def _uri(image: UInt8Array) -> str:
    _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode()}"
