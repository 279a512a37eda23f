"""Bundles as folders, as archives, and signed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from digitcam.core.archive import archive_of
from digitcam.core.bundle import CARD, SHIPPED, SIGNATURE, Bundle
from digitcam.core.errors import ConfigError, SinkError
from digitcam.core.whole import write_file, write_folder


def unpack(bundle: Bundle, folder: Path) -> None:
    """Write a bundle as a folder: its card as it is, its signature, and the files that the card lists.

    A `folder.part` that an interrupted call left is removed.

    Raises
    ------
    ConfigError
        When `folder` exists.
    ModelError
        As `Bundle.verify`, before anything is written.
    SinkError
        When it cannot be written.
    """
    _must_not_exist(folder)
    bundle.verify()
    with _writing(folder):
        write_folder(folder, _contents(bundle))


def pack(bundle: Bundle, path: Path) -> None:
    """Write a bundle as an archive, of the same files always the same bytes.

    Raises
    ------
    ConfigError
        When `path` exists.
    ModelError, SinkError
        As `unpack`.
    """
    _must_not_exist(path)
    bundle.verify()
    with _writing(path):
        write_file(path, archive_of(dict(_contents(bundle))))


def check_signable(bundle: Bundle, anew: bool) -> None:
    """See whether a bundle can be signed, before a key is asked for.

    Raises
    ------
    ConfigError
        When the bundle is a shipped one, or signed already and not to be signed `anew`.
    ModelError
        As `Bundle.verify`.
    """
    if bundle.path.resolve().parent == SHIPPED.resolve():
        name = bundle.path.name
        raise ConfigError(f"{name}: came with digitcam: sign a copy: digitcam bundle unpack {name} --out FOLDER")
    if bundle.signature() is not None and not anew:
        raise ConfigError(f"{bundle.path}: is signed already: give --anew to sign it anew")
    bundle.verify()


def put_signature(bundle: Bundle, signature: bytes) -> None:
    """Put a signature beside the card, in a bundle's folder or archive, in place of one that is there.

    Raises
    ------
    SinkError
        When it cannot be written.
    """
    with _writing(bundle.path):
        if bundle.path.is_dir():
            write_file(bundle.path / SIGNATURE, signature)
        else:
            write_file(bundle.path, archive_of({**dict(_contents(bundle)), SIGNATURE: signature}))


def _contents(bundle: Bundle) -> Iterator[tuple[str, bytes]]:
    """Yield what belongs to a bundle, always in the same order."""
    yield CARD, bundle.card_data
    for name in sorted(bundle.card.files):
        yield name, bundle.read(name)
    if (signature := bundle.signature()) is not None:
        yield SIGNATURE, signature


def _must_not_exist(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise ConfigError(f"{path}: exists already: remove it or give another --out")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SinkError(f"{path}: cannot write: {error.strerror}: choose another place or make room") from None
