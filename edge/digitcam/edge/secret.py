"""Secrets, which have no place in a configuration: it names a file or an environment variable that holds them."""

from __future__ import annotations

import os
from pathlib import Path

from digitcam.core.errors import ConfigError

CREDENTIALS = "/run/credentials/"
"""Where systemd puts the secrets of a service, for that service alone and while it runs."""
FOLDER = "/etc/digitcam/"
"""Where they lie on a device, readable by root alone where the device was flashed."""


def handed(path: str) -> str:
    """Return where a file is read: one of /etc/digitcam that systemd hands to this service, where it put it.

    So a configuration may name it by either path, and the service needs no right to the folder.
    """
    given = os.environ.get("CREDENTIALS_DIRECTORY")
    name = path.removeprefix(FOLDER)
    if not given or name == path or not Path(given, name).is_file():
        return path
    return str(Path(given, name))


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
        value = Path(handed(file)).read_bytes().decode().partition("\n")[0].rstrip("\r")
    except OSError as error:
        raise ConfigError(f"{file}: cannot read {table}.{what}_file: {error.strerror}") from None
    except UnicodeDecodeError as error:
        # The error's own text shows a byte of the secret.
        raise ConfigError(f"{file}: cannot read {table}.{what}_file: not UTF-8 at byte {error.start}") from None
    if not value:
        raise ConfigError(f"{file}: the first line of {table}.{what}_file is empty: put the {what} there")
    return value
