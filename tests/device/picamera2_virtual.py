"""Our source on the real picamera2: run by picamera2_virtual.sh, with the number that the camera shows."""

from __future__ import annotations

import gc
import sys
from contextlib import suppress
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import virtual_camera  # noqa: F401  before picamera2 is loaded elsewhere

from digitcam.core.bundle import open_bundle
from digitcam.core.errors import ConfigError, DigitcamError, SourceError
from digitcam.edge.pipeline import Reader
from digitcam.edge.sources import open_source
from digitcam.edge.sources.picamera import Settings, open_camera

REOPENED = 5
SETTINGS = Settings(width=640, height=320, fps=15)


def descriptors() -> list[str]:
    """Return what they are of, in order, once all that is garbage is gone."""
    gc.collect()
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the folder itself
            found.append(str(link.readlink()))
    return sorted(found)


def lasting(found: list[str]) -> list[str]:
    """Return those that are not of a frame's memory, of which a running camera holds now more, now fewer."""
    return [of for of in found if not of.startswith("/memfd:played-heap")]


def refused(uri: str, kind: type[DigitcamError], words: str) -> None:
    """See that a camera ends in this error."""
    try:
        with open_source(f"{uri}#tries=1") as source:
            next(iter(source))
    except kind as error:
        assert words in str(error), error
        print(f"  {error}")
    else:
        raise AssertionError(f"{uri} was read")


def main(number: str) -> None:
    print(f"picamera2 {version('picamera2')}, numpy {version('numpy')}, Python {sys.version.split()[0]}")
    reader = Reader(open_bundle("canvas"))
    # The virtual camera gives NV12 whatever it is asked for, so both streams are grey here.
    for stream in ("lores", "main"):
        uri = f"picamera2://0?stream={stream}&width=640&height=320&fps=15#tries=1"
        with open_source(uri) as source:
            frames = list(islice(source, 5))
        assert {frame.image.shape for frame in frames} == {(320, 640)}
        numbers = [reader.read(frame)[0].number for frame in frames]
        assert numbers == [number] * 5, numbers
        print(f"{uri}: {numbers}, mean grey {frames[0].image.mean():.1f}")

    print("refused, each in one line:")
    refused("picamera2://1", SourceError, "no camera number 1, 1 found")
    refused("picamera2://0?focus=3", ConfigError, "has no focus to set")
    refused("picamera2://0?width=320&height=240", ConfigError, "use width=640&height=320")

    open_camera("cam:", 0, SETTINGS, 5).close()
    before = descriptors()
    for _ in range(REOPENED):
        camera = open_camera("cam:", 0, SETTINGS, 5)
        assert camera.read().shape == (320, 640)
        camera.close()
    after = descriptors()
    print(f"opened {REOPENED} times: {len(before)} descriptors before, {len(after)} after")
    assert len(after) <= len(before), (before, after)

    camera = open_camera("cam:", 0, SETTINGS, 5)
    camera.read()
    held = lasting(descriptors())
    for _ in range(5):
        try:
            open_camera("cam:", 0, SETTINGS, 5)
        except SourceError as error:
            said = str(error)
        else:
            raise AssertionError("opened twice")
    kept = lasting(descriptors())
    print(f"in use, five times: {len(held)} descriptors before, {len(kept)} after\n  {said}")
    assert kept == held, (held, kept)
    assert camera.read().shape == (320, 640)
    camera.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
