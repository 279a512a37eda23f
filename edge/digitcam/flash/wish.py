"""What a user wants on a device, and whether it can be, as far as that is seen without one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from digitcam.core.errors import ConfigError, ModelError
from digitcam.flash.payload import CONFIG, read_payload
from digitcam.flash.target import Engine

if TYPE_CHECKING:
    from digitcam.edge.config import RunConfig


class Wish(NamedTuple):
    """What a user wants on a device; None for what is there or usual.

    model, config
        A bundle; a configuration's file, None to keep the device's.
    payload
        A folder of `digitcam payload`, in place of both.
    engine, system_packages, numpy, wheels, upgrade
        As in `flash.payload.build_payload` and `flash.target.target_for`.
    secrets
        The files of secrets, by their names.
    signers
        Allowed signers of the bundle.
    trial
        Options of `install.py switch`.
    ask
        Is called for a password that no file is given for; None where nobody can be asked.
    """

    model: str | None = None
    config: Path | None = None
    payload: Path | None = None
    engine: Engine | None = None
    system_packages: bool | None = None
    numpy: str | None = None
    wheels: Path | None = None
    upgrade: bool = False
    secrets: Mapping[str, Path] = {}
    signers: Path | None = None
    trial: tuple[object, ...] = ()
    ask: Callable[[str], str] | None = None


def check_here(wish: Wish) -> None:
    """Refuse what can be seen to be wrong without a device.

    Raises
    ------
    ConfigError, ModelError
        When the bundle is damaged or not signed as it must be, or the configuration cannot be used.
    """
    bundle = str(wish.payload / "model") if wish.payload else wish.model
    if wish.payload:
        read_payload(wish.payload)
    elif not bundle:
        raise ConfigError("say what is to be flashed: --model BUNDLE, or --payload FOLDER")
    file = wish.payload / CONFIG if wish.payload else wish.config
    check_bundle(str(bundle), load(file) if file else None, wish.signers)


def check_bundle(model: str, config: RunConfig | None, signers: Path | None) -> None:
    """Refuse a bundle that is damaged, not signed as asked, or has not what the configuration asks of it.

    Raises
    ------
    ConfigError, ModelError
        When it cannot be used.
    """
    from digitcam.core.bundle import open_bundle
    from digitcam.edge.signature import is_signed, signer_of
    from digitcam.edge.sources import open_source

    bundle = open_bundle(model)
    bundle.verify()
    if signers:
        signer_of(bundle, signers)
    if config is None:
        return
    if config.signers and not is_signed(bundle):
        raise ModelError(f"{bundle.path}: is not signed, and the configuration has signers: sign it, or have it signed")
    if config.format and config.format not in bundle.formats:
        raise ModelError(f"{bundle.path}: has no {config.format}: the configuration's format must be one it has")
    open_source(config.source)  # opens nothing, but its URI has to be one


def load(file: Path, name: object = None) -> RunConfig:
    """Return the configuration in a file, which errors call by another name if it has one."""
    from digitcam.edge.config import load_config

    try:
        return load_config(file)
    except ConfigError as error:
        raise ConfigError(str(error).replace(str(file), str(name or file))) from None
