"""Secrets, which have no place in a configuration: it names a file or an environment variable that holds them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from digitcam.core.errors import ConfigError

CREDENTIALS = "/run/credentials/"
"""Where systemd puts the secrets of a service, for that service alone and while it runs."""
FOLDER = "/etc/digitcam/"
"""Where they lie on a device, readable by root alone, and systemd takes them from."""


def handed(path: str) -> str:
    """Return where a file that systemd hands to the service is read: where it put it, and by hand where it lies.

    So a configuration may name it by either path: the service needs no right to /etc/digitcam, and who runs digitcam
    by hand no service.
    """
    match = re.fullmatch(f"(?:{CREDENTIALS}[^/]+/|{FOLDER})([^/]+)", path)
    if not match:
        return path
    if given := os.environ.get("CREDENTIALS_DIRECTORY"):
        own = str(Path(given, match[1]))
        return own if os.access(own, os.F_OK) else path
    return path if os.access(path, os.F_OK) else FOLDER + match[1]


def read_file(key: str, path: str) -> bytes:
    """Return what is in a file that the configuration's `key` names.

    Raises
    ------
    ConfigError
        When it cannot be read.
    """
    where = handed(path)
    try:
        return Path(where).read_bytes()
    except OSError as error:
        mend = ": try sudo" if isinstance(error, PermissionError) else ""
        raise ConfigError(f"{where}: cannot read {key}: {error.strerror}{mend}") from None


def read_secret(table: str, what: str, file: str | None, env: str | None) -> str | None:
    """Return the first line of a file, or an environment variable; None where neither is named.

    Parameters
    ----------
    table, what
        The secret's place in the configuration, for errors: `mqtt`, `password` are of the keys `mqtt.password_file` and
        `mqtt.password_env`.
    file, env
        What these keys say; the variable wins.

    Raises
    ------
    ConfigError
        When the file cannot be read, the variable is not set, or there is nothing in it. What it holds is never shown.
    """
    if env is not None:
        if (value := os.environ.get(env)) is None:
            raise ConfigError(f"{table}.{what}_env: the environment has no {env}: set it")
        if not value:
            raise ConfigError(f"{table}.{what}_env: {env} is empty: put the {what} into it")
        return value
    if file is None:
        return None
    try:
        value = read_file(f"{table}.{what}_file", file).decode().partition("\n")[0].rstrip("\r")
    except UnicodeDecodeError as error:
        # The error's own text shows a byte of the secret.
        raise ConfigError(f"{file}: cannot read {table}.{what}_file: not UTF-8 at byte {error.start}") from None
    if not value:
        raise ConfigError(f"{file}: the first line of {table}.{what}_file is empty: put the {what} there")
    return value
