"""Tesseract by its command, a process a frame, as pytesseract runs it; digits only."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import cv2
import msgspec

from digitcam.benchmarks.peers.pictures import cropped, dark_on_light, digits, grey, scaled
from digitcam.core.arrays import FloatArray, UInt8Array
from digitcam.core.errors import BenchmarkInvalidError

_MODES = {3: "a page", 6: "a block of text", 7: "one line", 8: "one word", 11: "sparse text", 13: "one raw line"}
_WHOLE, _CROP = (3, 6, 7, 11), (6, 7, 8, 13)
"""Page-segmentation modes worth trying."""
_HEIGHT = 40
"""Pixels that a cropped number is made high; Tesseract reads capitals of 30 to 40 px best."""


class TesseractReader(msgspec.Struct, frozen=True):
    """One page-segmentation mode; `turned` when light writing is inverted, `scale` for a whole frame."""

    mode: int
    crop: bool
    turned: bool
    scale: float

    @property
    def version(self) -> str:
        """Of the command."""
        return _told("--version")[0].split()[1]

    @property
    def setting(self) -> str:
        """In words."""
        size = f"number scaled to {_HEIGHT} px" if self.crop else f"scaled {self.scale:g} times"
        light = ", light writing inverted" if self.turned else ""
        return f"digits only, {_MODES[self.mode]} (psm {self.mode}), {size}{light}, one thread"

    def read(self, image: UInt8Array, box_xywh: FloatArray | None) -> str:
        """Read an image."""
        picture = grey(image)
        if self.crop and box_xywh is not None:
            picture = cropped(picture, box_xywh, _HEIGHT)
        picture = scaled(picture, self.scale)
        if self.turned:
            picture = dark_on_light(picture)
        command = ["tesseract", "-", "-", "--psm", str(self.mode), "-c", "tessedit_char_whitelist=0123456789"]
        encoded = cv2.imencode(".pgm", picture)[1].tobytes()
        # Its threads wait for one another: on a line of text one is quicker.
        one = {**os.environ, "OMP_THREAD_LIMIT": "1"}
        done = subprocess.run(command, input=encoded, capture_output=True, env=one)
        if done.returncode:
            why = (done.stderr.decode(errors="replace").split("\n") or [""])[0].strip()
            raise BenchmarkInvalidError(f"tesseract: failed on a frame: {why}: try 'tesseract IMAGE -' by hand")
        return digits(done.stdout.decode())


class Tesseract(msgspec.Struct, frozen=True):
    """The peer."""

    name: str = "tesseract"

    def missing(self) -> str | None:
        """As `Peer.missing`."""
        if shutil.which("tesseract") is None or "eng" not in _told("--list-langs"):
            return "apt install tesseract-ocr tesseract-ocr-eng"
        return None

    def readers(self) -> list[TesseractReader]:
        """As `Peer.readers`."""
        whole = [
            TesseractReader(m, False, turned, scale) for m in _WHOLE for turned in (False, True) for scale in (1, 2)
        ]
        return whole + [TesseractReader(m, True, turned, 1) for m in _CROP for turned in (False, True)]

    def files(self) -> set[Path]:
        """Return the program, the libraries that it loads, and the language data for English."""
        program = shutil.which("tesseract") or ""
        linked = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
        libraries = re.findall(r"(/\S+) \(0x", linked)
        listed = re.search(r'"(.+)"', _told("--list-langs")[0])
        data = [Path(listed[1]) / "eng.traineddata"] if listed else []
        return {path.resolve() for path in (Path(program), *map(Path, libraries), *data) if path.is_file()}


@cache
def _told(question: str) -> list[str]:
    """Return the lines that Tesseract answers a question with."""
    return subprocess.run(["tesseract", question], capture_output=True, text=True).stdout.splitlines()
