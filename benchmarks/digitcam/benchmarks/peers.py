"""`bench peers`: the same frames through what a user would take instead. So far: Tesseract, digits only, one line."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from itertools import islice

import cv2
import numpy as np

from digitcam.benchmarks.environment import environment
from digitcam.benchmarks.results import Peer, PeersResult
from digitcam.benchmarks.subject import subject
from digitcam.core.arrays import UInt8Array
from digitcam.core.bundle import Bundle
from digitcam.core.errors import BenchmarkInvalidError, ConfigError
from digitcam.edge.pipeline import Reader
from digitcam.edge.sources import Frame, open_source

_TESSERACT = ["tesseract", "-", "-", "--psm", "11", "-c", "tessedit_char_whitelist=0123456789"]


def peers(bundle: Bundle, source: str, frames: int, say: Callable[[str], None] = print) -> PeersResult:
    """Read `frames` frames of a source that knows its truth with digitcam's default network and with Tesseract.

    Raises
    ------
    ConfigError
        When Tesseract is not installed.
    BenchmarkInvalidError
        When the source has no truth.
    """
    if shutil.which("tesseract") is None:
        raise ConfigError("bench peers needs Tesseract: apt install tesseract-ocr")
    with open_source(source) as opened:
        taken = list(islice(opened, frames))
    if not taken or any(frame.truth is None for frame in taken):
        raise BenchmarkInvalidError(f"{source}: does not say what its frames show: use demo:")
    reader = Reader(bundle)
    version = subprocess.run(["tesseract", "--version"], capture_output=True, text=True).stdout.split()[1]
    found = {
        "digitcam": Peer(bundle.card.name, reader.model.format, *_measure(taken, lambda f: reader.read(f)[0].number)),
        "tesseract": Peer(version, "inverted, sparse text, digits only", *_measure(taken, _tesseract)),
    }
    for name, peer in found.items():
        say(f"{name:10} {peer.sequence_accuracy:.3f} right, {peer.p50_ms:.1f} ms a frame (median)")
    return PeersResult(subject(bundle, [reader.model.format]), environment(), source, len(taken), found)


def _measure(frames: list[Frame], read: Callable[[Frame], str]) -> tuple[float, float]:
    right, times = 0, []
    for frame in frames:
        start = time.perf_counter()
        number = read(frame)
        times.append((time.perf_counter() - start) * 1e3)
        right += number == frame.truth
    return round(right / len(frames), 4), round(float(np.median(times)), 3)


def _tesseract(frame: Frame) -> str:
    """Read a frame with Tesseract, dark on light, which is what it expects."""
    inverted: UInt8Array = 255 - frame.image
    _, png = cv2.imencode(".png", inverted)
    done = subprocess.run(_TESSERACT, input=png.tobytes(), capture_output=True, check=True)
    return "".join(done.stdout.decode().split())
