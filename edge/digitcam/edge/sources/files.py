"""Images, folders of images, and video files."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from digitcam.core.arrays import UInt8Array
from digitcam.core.errors import SourceError
from digitcam.edge.log import log
from digitcam.edge.sources import Frame

IMAGE_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm"}
_PNG_END = b"IEND\xaeB`\x82"
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
"""Begins a segment or ends the image. With a 0 behind it the byte 255 is the coded picture's, D0 to D7 restart that."""


def is_image(path: Path) -> bool:
    """Tell an image by its name's ending."""
    return path.suffix.lower() in IMAGE_ENDINGS


def read_image(path: Path) -> UInt8Array:
    """Return an image file as uint8 [height, width, 3] BGR.

    Raises
    ------
    SourceError
        When it is missing, empty, truncated, too large or no image.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: cannot read it: {error.strerror}") from None
    if not data:
        raise SourceError(f"{path}: is empty")
    if _truncated(data):
        raise SourceError(f"{path}: is cut short: copy it again")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        raise SourceError(f"{path}: has more pixels than OpenCV takes, or is damaged: make it smaller") from None
    if image is None:
        raise SourceError(f"{path}: is not an image that OpenCV reads, or is damaged")
    return image  # type: ignore[return-value]


def _truncated(data: bytes) -> bool:
    """Tell a PNG or JPEG without its end, which OpenCV would fill with grey and call an image.

    What comes behind the end, as the film that some telephones put there, does not matter.
    """
    if data.startswith(b"\x89PNG"):
        return _PNG_END not in data
    return data.startswith(b"\xff\xd8") and not _whole_jpeg(data)


def _whole_jpeg(data: bytes) -> bool:
    """Go from segment to segment (ITU-T T.81, B.1) to the end of the image; a thumbnail's end is within a segment."""
    at = 2
    while marker := _JPEG_MARKER.search(data, at):
        if marker[1] == b"\xd9":
            return True
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return False


class ImageSource:
    """Images one after the other. One that cannot be read is named on standard error, and the rest are read."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.given, self.failed = paths, 0
        self.paths: list[Path] = []

    def __enter__(self) -> ImageSource:
        """List the folders; SourceError when one of them holds no image."""
        for path in self.given:
            found = sorted(p for p in path.iterdir() if is_image(p)) if path.is_dir() else [path]
            if not found:
                raise SourceError(f"{path}: no image in this folder ({', '.join(sorted(IMAGE_ENDINGS))})")
            self.paths += found
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""

    def __iter__(self) -> Iterator[Frame]:
        """Yield the images that can be read."""
        seq = 0
        for path in self.paths:
            start = time.perf_counter()
            try:
                image = read_image(path)
            except SourceError as error:
                self.failed += 1
                log.warning(str(error))
                continue
            elapsed_ms = (time.perf_counter() - start) * 1e3
            yield Frame(image, datetime.now(timezone.utc), seq, str(path), elapsed_ms)
            seq += 1


class VideoSource:
    """The frames of a video file."""

    def __init__(self, path: Path) -> None:
        self.path, self.failed = path, 0

    def __enter__(self) -> VideoSource:
        """Open the file; SourceError when it is missing, empty or no video."""
        try:
            empty = self.path.stat().st_size == 0
        except OSError as error:
            raise SourceError(f"{self.path}: cannot read it: {error.strerror}") from None
        if empty:
            raise SourceError(f"{self.path}: is empty")
        self._capture = cv2.VideoCapture(str(self.path))
        if not self._capture.isOpened():
            raise SourceError(f"{self.path}: is neither an image nor a video that OpenCV reads, or is damaged")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._capture.release()

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames.

        Raises
        ------
        SourceError
            When the file ends before the number of frames its header promises.
        """
        promised = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        seq = 0
        while True:
            start = time.perf_counter()
            there, image = self._capture.read()
            if not there:
                break
            elapsed_ms = (time.perf_counter() - start) * 1e3
            yield Frame(image, datetime.now(timezone.utc), seq, str(self.path), elapsed_ms)  # type: ignore[arg-type]
            seq += 1
        # A header may be off by a frame or so; a file cut short lacks more.
        if seq == 0 or seq < 0.98 * promised - 1:
            raise SourceError(f"{self.path}: ended after {seq} of {promised} frames: the file is cut short or damaged")
