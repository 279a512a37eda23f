"""Which images were read: a data set's generator, or its files, may change under its name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from digitcam.core.canvas import Sample


def digest(sample: Sample) -> bytes:
    """Return the SHA-256 of an image and its truth."""
    height, width = sample.image.shape[:2]
    truth = f"{height} {width} {sample.number} ".encode()
    return hashlib.sha256(truth + sample.box_xywh.astype("<f4").tobytes() + sample.image.tobytes()).digest()


def fingerprint(digests: Iterable[bytes]) -> str:
    """Return what tells images in their order from others: 16 hexadecimal digits."""
    return hashlib.sha256(b"".join(digests)).hexdigest()[:16]


def others(before: str | None, after: str | None) -> bool:
    """Return whether two fingerprints are known to be of other images."""
    return None not in (before, after) and before != after
