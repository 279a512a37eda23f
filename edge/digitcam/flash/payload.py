"""A payload: one folder that holds all a device needs, made here, sent, put on a card or copied, and installed there.

`install.py`, the installer; `wheels/`, with pip to install them, and `requirements.txt`, their exact versions;
`model/`, a bundle; `digitcam.toml`; the units; and `payload.json`, which says what it is for and holds the SHA-256 of
every other file. No secret is ever in it.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from digitcam.core.bundle import CARD, SIGNATURE, open_bundle
from digitcam.core.card import Sha256
from digitcam.core.errors import ConfigError, ModelError
from digitcam.edge.config import load_config
from digitcam.flash.ownwheel import own_wheel, pip_wheel
from digitcam.flash.target import Engine, Target, extras_for
from digitcam.flash.wheels import gather, wheel_version

PAYLOAD, INSTALLER, CONFIG = "payload.json", "install.py", "digitcam.toml"
UNITS = ("digitcam.service", "digitcam-trial.service")


class Requires(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The machine it is for: `uname -m`, Python as 3.13, and whether its environment sees what apt has installed."""

    machine: str
    python: str
    system_packages: bool


class Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is in a payload.

    id
        Stands for its content: the first 12 hex digits of the SHA-256 of `contents`.
    digitcam, model
        digitcam's version, the bundle's name.
    files
        SHA-256 of every file but payload.json, by its path in the folder.
    """

    schema: Literal[1] = 1
    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{12}$")]
    digitcam: str
    model: str
    requires: Requires
    files: dict[str, Sha256]


def payload_id(files: dict[str, str]) -> str:
    """Return the id of files by their paths and SHA-256: of their lines as `sha256sum` writes them, sorted."""
    lines = sorted(f"{sha256}  {path}\n" for path, sha256 in files.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:12]


def build_payload(
    out: Path,
    model: str,
    config: Path,
    target: Target,
    engine: Engine | None = None,
    *,
    wheels: Path | None = None,
    upgrade: bool = False,
    replace: bool = False,
    note: Callable[[str], None] = lambda message: None,
) -> Payload:
    """Write a payload, whole or not at all; one that is there already and is the same stays.

    Parameters
    ----------
    out
        Its folder.
    model
        A bundle's path or shipped name; every file is checked against its card.
    config
        A configuration, checked and taken as it is.
    engine
        None for that of the configuration's format, or LiteRT.
    wheels, upgrade
        As in `flash.wheels.gather`.
    replace
        Whether another payload may be there; anything else is never overwritten.

    Raises
    ------
    ConfigError, ModelError, SourceError
        When the configuration or the bundle cannot be used, or wheels cannot be had.
    """
    loaded = load_config(config)
    extras = extras_for(loaded, engine)
    before = _before(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
        part = Path(scratch) / out.name
        (part / "wheels").mkdir(parents=True)
        name = _write_bundle(model, part / "model")
        shutil.copyfile(config, part / CONFIG)
        for unit in UNITS:
            shutil.copyfile(unit_file(unit), part / unit)
        shutil.copyfile(installer(), part / INSTALLER)
        note("packing digitcam")
        own = own_wheel(part / "wheels")
        gather(own, extras, target, part / "wheels", wheels, upgrade, note)
        pins = sorted("{}=={}".format(*wheel_version(wheel)) for wheel in (part / "wheels").iterdir())
        pip_wheel(part / "wheels")
        (part / "requirements.txt").write_text("".join(f"{pin}\n" for pin in pins))
        files = _hashes(part)
        payload = Payload(
            id=payload_id(files),
            digitcam=wheel_version(own)[1],
            model=name,
            requires=Requires(target.machine, target.python, target.system_packages),
            files=files,
        )
        if before is not None and before == payload:
            return payload
        if before is not None and not replace:
            raise ConfigError(f"{out}: holds another payload, {before.id}: give --replace or another folder")
        (part / PAYLOAD).write_bytes(msgspec.json.format(msgspec.json.encode(payload), indent=2) + b"\n")
        if before is not None:
            out.rename(Path(scratch) / "before")
        part.rename(out)
    return payload


def read_payload(folder: Path) -> Payload:
    """Return what is in a payload, every file checked.

    Raises
    ------
    ModelError
        When it is none, or a file is missing, damaged, or not listed.
    """
    payload = _read(folder)
    found = _hashes(folder)
    for path, sha256 in payload.files.items():
        if path not in found:
            raise ModelError(f"{folder}: {path} is missing: make the payload anew")
        if found[path] != sha256:
            raise ModelError(f"{folder}: {path} is damaged: SHA-256 {found[path][:12]}, expected {sha256[:12]}")
    if unknown := next((path for path in found if path not in payload.files), None):
        raise ModelError(f"{folder}: {unknown} is not listed in {PAYLOAD}: take it away")
    if payload.id != payload_id(payload.files):
        raise ModelError(f"{folder / PAYLOAD}: id is {payload.id}, its files give {payload_id(payload.files)}")
    return payload


def unit_file(name: str) -> Path:
    """Return the path of a systemd unit: beside this in an installed wheel, in edge/deploy in a checkout."""
    installed = Path(__file__).parent / "units" / name
    return installed if installed.exists() else Path(__file__).parents[2] / "deploy" / name


def installer() -> Path:
    """Return the path of the program that installs a payload on a device."""
    return Path(__file__).with_name("device.py")


def _read(folder: Path) -> Payload:
    try:
        data = (folder / PAYLOAD).read_bytes()
    except OSError as error:
        raise ModelError(f"{folder}: not a payload: {PAYLOAD}: {error.strerror}") from None
    try:
        return msgspec.json.decode(data, type=Payload)
    except msgspec.MsgspecError as error:
        raise ModelError(f"{folder / PAYLOAD}: not of a payload: {error}") from None


def _before(out: Path) -> Payload | None:
    """Return the payload that is where another is to be; None where nothing is."""
    if not out.exists():
        return None
    try:
        return _read(out)
    except ModelError:
        mend = "remove it or give another folder"
        raise ConfigError(f"{out}: exists already and is no payload: {mend}") from None


def _write_bundle(model: str, folder: Path) -> str:
    """Write a bundle's files, each checked by its SHA-256, and return the bundle's name."""
    bundle = open_bundle(model)
    folder.mkdir()
    for name in bundle.card.files:
        (folder / name).write_bytes(bundle.read(name))
    # Byte for byte: a signature is over the card.
    (folder / CARD).write_bytes(bundle.card_data)
    if (signature := bundle.signature()) is not None:
        (folder / SIGNATURE).write_bytes(signature)
    return bundle.card.name


def _hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file in a folder but payload.json, by its path there; a link is nobody's."""
    paths = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {
        name: "a link" if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in names.items()
        if name != PAYLOAD
    }
