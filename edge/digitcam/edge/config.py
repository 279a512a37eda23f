"""The run configuration: one TOML file says what to watch, how to read it and where to send it. Every key is checked.

Paths, like those on a command line, start from the working directory; a service's should be absolute.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec

from digitcam.core.card import FORMATS
from digitcam.core.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Positive = Annotated[int, msgspec.Meta(ge=1)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Text = Annotated[str, msgspec.Meta(min_length=1)]

_LOOPBACK = ("127.0.0.1", "localhost")


class Tracking(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number counts as stable once `needed` of the last `window` accepted ones agree; see `edge.tracking`."""

    window: Positive = 5
    needed: Positive = 3

    def __post_init__(self) -> None:
        # With half of the window or less, two numbers could both be the stable one.
        if not self.needed <= self.window < 2 * self.needed:
            raise ValueError(f"needed is {self.needed}: make it more than half of window ({self.window}), at most all")


class Mqtt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A broker and how to log in.

    host, port
        Of the broker; without TLS the usual port is 1883.
    topic
        What all topics begin with: `<topic>/reading`, `<topic>/number`, `<topic>/status`.
    username, password_file
        The password is the file's first line: a secret has no place in a configuration. None for no login.
    tls
        Encrypt, and check the broker's certificate and name.
    ca_file
        PEM certificates to trust in place of the system's: a private broker's own authority.
    """

    host: Text
    port: Port = 8883
    topic: Text = "digitcam"
    username: Text | None = None
    password_file: Text | None = None
    tls: bool = True
    ca_file: Text | None = None

    def __post_init__(self) -> None:
        if set(self.topic) & set("+#\0") or self.topic.startswith(("/", "$")) or self.topic.endswith("/"):
            raise ValueError(f"topic is {self.topic!r}: write it like 'home/meter', without + # $ or outer slashes")
        if self.password_file and not self.username:
            raise ValueError("password_file needs a username")
        if self.ca_file and not self.tls:
            raise ValueError("ca_file needs tls = true")


class Web(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the page is served: on this machine only, for it knows no login."""

    host: str = "127.0.0.1"
    port: Port = 8080

    def __post_init__(self) -> None:
        if self.host not in _LOOPBACK:
            tunnel = f"ssh -L {self.port}:127.0.0.1:{self.port} DEVICE"
            raise ValueError(f"host is {self.host!r}: only 127.0.0.1 is served as yet; look in from afar by {tunnel}")


class RunConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that `digitcam run` depends on.

    source
        An URI; see `edge.sources.open_source`.
    model, format
        A bundle's path or shipped name, and one of its formats; None for the int8 one of the engine at hand.
    threads
        Of the engine.
    accept
        Confidence 0..1 from which a reading counts; None for the card's.
    tracking, mqtt, web
        Each None when its table is not there: then off.
    """

    source: Text = "demo:"
    model: Text = "canvas"
    format: str | None = None
    threads: Positive = 1
    accept: Share | None = None
    tracking: Tracking | None = None
    mqtt: Mqtt | None = None
    web: Web | None = None

    def __post_init__(self) -> None:
        if self.format is not None and self.format not in FORMATS:
            raise ValueError(f"format is {self.format!r}: choose from {', '.join(FORMATS)}")


def load_config(path: Path | None, **given: Any) -> RunConfig:
    """Read a run configuration, all defaults where there is no file; what is `given` wins over it.

    Raises
    ------
    ConfigError
        Naming the file and the key, when the file is missing, no TOML, or a key is unknown or of a wrong value.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8")) if path else {}
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    try:
        return msgspec.convert({**tree, **given}, RunConfig)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path or 'options'}: {error}") from None
