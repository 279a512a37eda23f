"""A bundle: one folder, or the same zipped as `NAME.digitcam`, with a card, networks and golden inputs.

Every file is checked against the card's SHA-256 when it is read. Beside the card there may be a signature over it, see
`edge.signature`: it vouches for the card, and the card for the files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from digitcam.core.archive import LARGEST_MB, Archive, is_plain
from digitcam.core.card import Card, decode_card, encode_card
from digitcam.core.errors import ConfigError, ModelError, SinkError
from digitcam.core.formats import FORMATS
from digitcam.core.golden import Golden, read_golden
from digitcam.core.whole import write_folder

SHIPPED = Path(__file__).parents[1] / "bundles"
CARD, GOLDEN, SIGNATURE = "card.json", "golden.npz", "card.json.sig"


class Bundle:
    """A bundle opened for reading; `path` is the folder or archive, `card` its contract.

    `card_data` are the bytes that `card` was read from: those that a signature is over.
    """

    def __init__(self, path: Path, card: Card, read: Callable[[str], bytes], card_data: bytes | None = None) -> None:
        self.path = path
        self.card = card
        self.card_data = encode_card(card) if card_data is None else card_data
        self._read = read

    @property
    def formats(self) -> list[str]:
        """The formats in this bundle, of `core.card.FORMATS`."""
        return [format for format in FORMATS if f"model.{format}" in self.card.files]

    def read(self, name: str) -> bytes:
        """Return a file's content.

        Raises
        ------
        ModelError
            When the card does not list it, it cannot be read, or its SHA-256 differs from the card's.
        """
        expected = self.card.files.get(name)
        if expected is None:
            raise ModelError(f"{self.path}: has no {name}: it holds {', '.join(self.card.files) or 'nothing'}")
        data = _try(self._read, name, self.path)
        if (found := hashlib.sha256(data).hexdigest()) != expected:
            raise ModelError(
                f"{self.path}: {name} is damaged: SHA-256 {found[:12]}, the card says {expected[:12]}: copy it again"
            )
        return data

    def verify(self) -> None:
        """Read every file and check it.

        Raises
        ------
        ModelError
            As `read`; and when there is a file that the card does not list, as nobody vouches for that.
        """
        for name in self.card.files:
            self.read(name)
        try:
            found = _place(self.path).names()
        except OSError as error:
            raise ModelError(f"{self.path}: cannot list its files: {error.strerror}") from None
        if unknown := sorted({*found} - {CARD, SIGNATURE, *self.card.files}):
            raise ModelError(f"{self.path}: its card does not list {', '.join(unknown)}: remove it or copy all again")

    def signature(self) -> bytes | None:
        """Return the signature over the card, unchecked; None when there is none."""
        try:
            return self._read(SIGNATURE)
        except (KeyError, FileNotFoundError):
            return None
        except OSError as error:
            raise ModelError(f"{self.path}: cannot read {SIGNATURE}: {error.strerror}") from None

    def golden(self) -> Golden:
        """Return the golden inputs and answers; ModelError as `read`, and when they do not fit the card."""
        return read_golden(self.read(GOLDEN), self.card, self.formats, f"{self.path}: {GOLDEN}")


def open_bundle(where: str | Path) -> Bundle:
    """Open a bundle by its path or by the name of a shipped one.

    Raises
    ------
    ModelError
        When there is none, or its card cannot be used.
    """
    path = Path(where)
    if not path.exists() and (SHIPPED / path.name).is_dir() and path.name == str(where):
        path = SHIPPED / path.name
    if not (path.is_dir() or path.is_file()):
        shipped = ", ".join(sorted(folder.name for folder in SHIPPED.glob("*/")))
        raise ModelError(f"{where}: no such bundle: give a folder, a .digitcam file, or a shipped name ({shipped})")
    if path.suffix == ".pt":
        raise ModelError(f"{path}: is a checkpoint: make a bundle of it: digitcam export {path} --out FOLDER")
    read = _place(path).read
    data = _try(read, CARD, path)
    card = decode_card(data, path / CARD)
    for name in card.files:
        if not is_plain(name) or name in (CARD, SIGNATURE):
            raise ModelError(f"{path / CARD}: field 'files' has {name!r}, no name of a bundle's file: do not trust it")
    bundle = Bundle(path, card, read, data)
    if not bundle.formats:
        raise ModelError(f"{path / CARD}: field 'files' names no network (model.{FORMATS[0]}, ...): export it again")
    return bundle


def write_bundle(path: Path, card: Card, files: Mapping[str, bytes]) -> Card:
    """Write a bundle folder, whole or not at all; return the card with the files' SHA-256.

    Raises
    ------
    ConfigError
        When `path` exists.
    SinkError
        When it cannot be written.
    """
    if path.exists():
        raise ConfigError(f"{path}: exists already: remove it or give another --out")
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    card = msgspec.structs.replace(card, files=hashes)
    try:
        write_folder(path, {**files, CARD: encode_card(card)}.items())
    except OSError as error:
        raise SinkError(f"{path}: cannot write the bundle: {error.strerror}: make room or give another --out") from None
    return card


class _Folder:
    """The files of a bundle that is a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        return [found.name for found in self.path.iterdir()]

    def read(self, name: str) -> bytes:
        path = self.path / name
        if (size := path.stat().st_size) > LARGEST_MB << 20:
            raise ModelError(f"{path}: has {size >> 20} MB, a bundle's file at most {LARGEST_MB} MB")
        return path.read_bytes()


def _place(path: Path) -> _Folder | Archive:
    return _Folder(path) if path.is_dir() else Archive(path)


def _try(read: Callable[[str], bytes], name: str, path: Path) -> bytes:
    try:
        return read(name)
    except (KeyError, FileNotFoundError):
        raise ModelError(f"{path}: cannot read {name}: no such file in it") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot read {name}: {error.strerror}") from None
