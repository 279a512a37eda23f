"""The secrets a configuration names. They are never in a payload: they go to /etc/digitcam on the device, apart.

So does the file of allowed signers: it is no secret, but what is signed must not bring along who may sign.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from digitcam.core.errors import ConfigError
from digitcam.edge.secret import CREDENTIALS, FOLDER

if TYPE_CHECKING:
    from digitcam.edge.config import RunConfig

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?<!\.toml)")
_LINES = ("mqtt.password_file", "web.token_file", "webhook.token_file")
_FILES = ("signers", "mqtt.ca_file", "mqtt.cert_file", "mqtt.key_file", "webhook.ca_file")


class Secret(NamedTuple):
    """A file the service is to find: its name in /etc/digitcam, the key that names it, and whether it is one line."""

    name: str
    key: str
    line: bool


def wanted(config: RunConfig) -> list[Secret]:
    """Return the files of /etc/digitcam that a configuration names, as such or as credentials of the service.

    What it names elsewhere is the device's own affair.

    Raises
    ------
    ConfigError
        When a name is none that systemd takes for a credential.
    """
    found: dict[str, Secret] = {}
    for key in (*_LINES, *_FILES):
        table, _, field = key.rpartition(".")
        path = getattr(getattr(config, table) if table else config, field, None)
        if path and path.startswith((FOLDER, CREDENTIALS)):
            name = PurePosixPath(path).name
            if not _NAME.fullmatch(name):
                raise ConfigError(f"{key} is {path}: name the file with letters, digits, '-', '_' and '.'")
            found.setdefault(name, Secret(name, key, key in _LINES))
    return list(found.values())


def gather(config: RunConfig, given: Iterable[str], ask: Callable[[str], str]) -> dict[str, bytes]:
    """Return the content of each secret by its name, from the files given or asked for.

    Parameters
    ----------
    given
        NAME=FILE each.
    ask
        Is called with a prompt for a password or token that no file is given for.

    Raises
    ------
    ConfigError
        When a file cannot be read, is empty or names no secret of the configuration, or one that is no line is missing.
    """
    needed = {secret.name: secret for secret in wanted(config)}
    found: dict[str, bytes] = {}
    for pair in given:
        name, equals, file = pair.partition("=")
        if not equals or name not in needed:
            names = ", ".join(needed) or "none"
            raise ConfigError(f"--secret {name}: write it as NAME=FILE; the configuration names {names}")
        found[name] = read_file(Path(file), f"--secret {name}")
    for name, secret in needed.items():
        if name in found:
            continue
        if not secret.line:
            raise ConfigError(f"{secret.key} is {name}: give the file with --secret {name}=FILE")
        value = ask(f"{secret.key} ({name})")
        if not value:
            raise ConfigError(f"{secret.key}: nothing was given: give the file with --secret {name}=FILE")
        found[name] = value.encode() + b"\n"
    return found


def read_file(path: Path, option: str) -> bytes:
    """Return the content of a secret's file.

    Raises
    ------
    ConfigError
        When it cannot be read or is empty. What it holds is never shown.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{option}: cannot read {path}: {error.strerror}") from None
    if not data.strip():
        raise ConfigError(f"{option}: {path} is empty: put the secret into it")
    return data


def first_line(path: Path, option: str) -> str:
    """Return the first line of a secret's file, its password.

    Raises
    ------
    ConfigError
        When it cannot be read, is empty or no UTF-8. What it holds is never shown.
    """
    try:
        return read_file(path, option).decode().partition("\n")[0].rstrip("\r")
    except UnicodeDecodeError as error:
        # The error's own text shows a byte of the secret.
        raise ConfigError(f"{option}: {path} is not UTF-8 at byte {error.start}") from None
