"""How a broker is logged in to: the password and the certificates, wherever the configuration says they are."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from digitcam.core.errors import ConfigError
from digitcam.edge.config import Mqtt


def password(config: Mqtt) -> str | None:
    """Return the first line of the password's file, or the environment variable; None where neither is named.

    Raises
    ------
    ConfigError
        When the file cannot be read, or the variable is not set.
    """
    if config.password_env is not None:
        if (value := os.environ.get(config.password_env)) is None:
            raise ConfigError(f"mqtt.password_env: the environment has no {config.password_env}: set it")
        return value
    if config.password_file is None:
        return None
    try:
        return _read("password_file", config.password_file).decode().partition("\n")[0].rstrip("\r")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{config.password_file}: cannot read mqtt.password_file: {error}") from None


def tls_context(config: Mqtt) -> ssl.SSLContext:
    """Return what checks the broker's certificate and name, and shows ours where there is one.

    Raises
    ------
    ConfigError
        When a certificate or key cannot be read, is none, needs a passphrase, or does not fit the other.
    """
    for key in ("ca_file", "cert_file", "key_file"):
        if path := getattr(config, key):
            _read(key, path)  # ssl's own errors do not say which file it is
    try:
        context = ssl.create_default_context(cafile=config.ca_file)
    except ssl.SSLError as error:
        raise ConfigError(f"{config.ca_file}: cannot read mqtt.ca_file: {error.strerror}") from None
    if config.cert_file:
        key_file = config.key_file or config.cert_file

        def passphrase() -> str:
            # Without this OpenSSL would ask the terminal, and a service wait for an answer for ever.
            raise ConfigError(f"{key_file}: the key is encrypted: write it without a passphrase (openssl pkey)")

        try:
            context.load_cert_chain(config.cert_file, config.key_file, passphrase)
        except ssl.SSLError as error:
            used = f"{config.cert_file}, {key_file}: cannot use mqtt.cert_file and mqtt.key_file"
            raise ConfigError(f"{used}: {error.strerror}") from None
    return context


def _read(key: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot read mqtt.{key}: {error.strerror}") from None
