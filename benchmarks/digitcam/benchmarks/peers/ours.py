"""digitcam itself, and a network trained with one of the seed's recipes, behind the protocol of the others."""

from __future__ import annotations

import importlib.util
from datetime import datetime, timezone
from functools import cache
from importlib.metadata import version
from pathlib import Path

import msgspec

from digitcam.benchmarks.peers.footprint import package_files
from digitcam.core.arrays import FloatArray, UInt8Array
from digitcam.core.bundle import open_bundle
from digitcam.edge.pipeline import Reader
from digitcam.edge.sources import Frame

_ENGINES = {"onnx": "onnxruntime", "tflite": "ai-edge-litert"}
"""The package that runs a format, by the format's ending."""


class OurReader(msgspec.Struct, frozen=True):
    """A bundle's network in one format, or a checkpoint's in torch where `format` is empty."""

    path: Path
    format: str
    crop: bool = False
    close_up: bool = True

    @property
    def version(self) -> str:
        """Of the package."""
        return version("digitcam")

    @property
    def setting(self) -> str:
        """In words."""
        reader = _reader(self.path, self.format, self.close_up)
        threads = "one thread" if self.format else "all cores"
        looks = "whole frames, small digits once more" if reader.card.looks_twice else "whole frames"
        return f"{reader.model.name}, {reader.model.format}, {looks}, {threads}"

    def read(self, image: UInt8Array, box_xywh: FloatArray | None) -> str:
        """Read an image: preprocess, network, decode, readings."""
        frame = Frame(image, datetime.now(timezone.utc), 0, "", 0.0)
        return _reader(self.path, self.format, self.close_up).read(frame)[0].number


class Digitcam(msgspec.Struct, frozen=True):
    """A bundle; `close_up` as `RunConfig.close_up`."""

    path: Path
    format: str
    name: str = "digitcam"
    close_up: bool = True

    def missing(self) -> str | None:
        """Nothing: loading a bundle says what it lacks."""
        return None

    def readers(self) -> list[OurReader]:
        """As `Peer.readers`."""
        return [OurReader(self.path, self.format, close_up=self.close_up)]

    def files(self) -> set[Path]:
        """As `Peer.files`; digitcam's own are all four parts and the shipped bundles."""
        bundle = set(self.path.rglob("*")) if self.path.is_dir() else {self.path}
        packages = package_files("digitcam", _ENGINES[self.format.rpartition(".")[2]])
        return packages | _own_files() | {path.resolve() for path in bundle if path.is_file()}


class Seed(msgspec.Struct, frozen=True):
    """A checkpoint of a network trained with one of the recipes in train/recipes/seed."""

    path: Path | None
    name: str = "seed"

    def missing(self) -> str | None:
        """As `Peer.missing`."""
        if self.path is None:
            return "train one of train/recipes/seed and give it: --seed CHECKPOINT"
        if importlib.util.find_spec("torch") is None:
            return "pip install 'digitcam[train]'"
        return None

    def readers(self) -> list[OurReader]:
        """As `Peer.readers`."""
        return [OurReader(self.path, "")] if self.path else []

    def files(self) -> set[Path]:
        """As `Peer.files`."""
        checkpoint = {self.path.resolve()} if self.path else set()
        return package_files("digitcam", "torch") | _own_files() | checkpoint


@cache
def _reader(path: Path, format: str, close_up: bool) -> Reader:
    if format:
        return Reader(open_bundle(str(path)), format, close_up=close_up)
    from digitcam.benchmarks.checkpoint import CheckpointReader

    return CheckpointReader(path)


def _own_files() -> set[Path]:
    """Return digitcam's files, where it is installed from a checkout too, whose RECORD lists none of them."""
    import digitcam

    inside = (path for root in digitcam.__path__ for path in Path(root).rglob("*"))
    return {path.resolve() for path in inside if path.is_file() and path.suffix != ".pyc"}
