"""The run configuration: one TOML file says what to watch, how to read it and where to send it. Every key is checked.

Paths, like those on a command line, start from the working directory; a service's should be absolute.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from digitcam.core.card import FORMATS
from digitcam.core.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Positive = Annotated[int, msgspec.Meta(ge=1)]
Digits = Annotated[int, msgspec.Meta(ge=1, le=20)]
Decimals = Annotated[int, msgspec.Meta(ge=0, le=19)]
Amount = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Text = Annotated[str, msgspec.Meta(min_length=1)]

_LOOPBACK = ("127.0.0.1", "localhost")


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    r"""From what frames read to a number that is trusted; see `edge.trust`.

    window, needed
        A digit stands when `needed` of the last `window` frames read it so. Where pictures are taken so seldom that
        each shows another number, 1 and 1.
    digits
        How many the number has; None for any.
    decimals
        How many of them stand behind the decimal point: the network reads digits only.
    pattern
        A regular expression that the number fits from end to end, with its point: `'\d{5}\.\d'`. None for any.
    leading_zeros
        keep or strip, in the number published.
    rising
        Whether it is a counter: only rises, until it is replaced or starts anew from 0.
    wheels
        Whether the counter is mechanical, so that wheels may stand between two digits; needs rising.
    sure
        Confidence 0..1 from which a wheel is taken to stand still.
    per_minute
        The largest change in a minute, in the number's own unit; None for any.
    takeover_s
        Seconds after which a number that is not plausible, but stays, takes over.
    held_after_s
        Seconds without being read after which the trusted number is told to be held.
    """

    window: Positive = 5
    needed: Positive = 3
    digits: Digits | None = None
    decimals: Decimals = 0
    pattern: Text | None = None
    leading_zeros: Literal["keep", "strip"] = "keep"
    rising: bool = False
    wheels: bool = False
    sure: Share = 0.9
    per_minute: Amount | None = None
    takeover_s: Seconds = 600.0
    held_after_s: Seconds = 300.0

    def __post_init__(self) -> None:
        # With half of the window or less, two numbers could both be the trusted one.
        if not self.needed <= self.window < 2 * self.needed:
            raise ValueError(f"needed is {self.needed}: make it more than half of window ({self.window}), at most all")
        if self.digits and self.digits <= self.decimals:
            raise ValueError(f"decimals is {self.decimals}: leave a digit before the point (digits is {self.digits})")
        if self.wheels and not self.rising:
            raise ValueError("wheels needs rising = true")
        if self.pattern is not None and not _possible(self.pattern, self.digits, self.decimals):
            of = f" of {self.digits} digits" if self.digits else ""
            raise ValueError(f"pattern is {self.pattern!r}: no number{of} with decimals = {self.decimals} fits it")


def _possible(pattern: str, digits: int | None, decimals: int) -> bool:
    """Return whether some number fits a pattern; ValueError when it is no regular expression."""
    try:
        given = re.compile(pattern)
        # Whichever digits it asks for, of this a number of zeros is an example.
        shape = re.compile(re.sub(r"(\{[\d,]+\})|\\d|\[[^]]*\]|\d", lambda found: found[1] or "0", pattern))
    except (re.error, OverflowError) as error:
        raise ValueError(f"pattern is {pattern!r}: not a regular expression: {error}") from None
    for length in [digits] if digits else range(decimals + 1, 21):
        for digit in "01":
            number = digit * (length - decimals) + ("." + digit * decimals if decimals else "")
            if given.fullmatch(number) or shape.fullmatch(number):
                return True
    return False


DEVICE_CLASSES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # Home Assistant's: the units of each, and the state classes it takes, ours by default first.
    "current": (("A", "mA"), ("measurement",)),
    "distance": (("km", "m", "cm", "mm", "mi", "yd", "ft", "in"), ("total", "total_increasing", "measurement")),
    "duration": (("d", "h", "min", "s"), ("total", "total_increasing", "measurement")),
    "energy": (("Wh", "kWh", "MWh", "GWh", "MJ", "GJ"), ("total", "total_increasing")),
    "frequency": (("Hz", "kHz", "MHz", "GHz"), ("measurement",)),
    "gas": (("m³", "ft³", "CCF"), ("total", "total_increasing")),
    "humidity": (("%",), ("measurement",)),
    "power": (("W", "kW", "MW"), ("measurement",)),
    "pressure": (("Pa", "hPa", "kPa", "mbar", "bar", "psi", "mmHg", "inHg"), ("measurement",)),
    "speed": (("m/s", "km/h", "mph", "kn"), ("measurement",)),
    "temperature": (("°C", "°F", "K"), ("measurement",)),
    "voltage": (("V", "mV"), ("measurement",)),
    "volume": (("m³", "L", "mL", "gal", "ft³", "CCF"), ("total", "total_increasing")),
    "water": (("m³", "L", "gal", "ft³", "CCF"), ("total", "total_increasing")),
    "weight": (("kg", "g", "mg", "lb", "oz", "st"), ("measurement", "total", "total_increasing")),
}


class Mqtt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A broker, how to log in, and what Home Assistant is to make of the number.

    host, port
        Of the broker; without TLS the usual port is 1883.
    topic
        What all topics begin with: `<topic>/reading`, `<topic>/number`, `<topic>/status`, `<topic>/diagnostics`.
    username, password_file, password_env
        The password is the file's first line, or what the environment variable of that name holds: a secret has no
        place in a configuration. None for no login.
    tls
        Encrypt, and check the broker's certificate and name.
    ca_file
        PEM certificates to trust in place of the system's: a private broker's own authority.
    cert_file, key_file
        A client certificate, PEM, and its key, not encrypted; no key_file where cert_file holds both.
    discovery, discovery_prefix
        Whether to appear in Home Assistant, and the prefix under which it looks for devices.
    name
        Of the device in Home Assistant; None for the last part of the topic.
    unit, device_class, state_class
        Of the number, as Home Assistant calls them. A device class needs a unit. The state class is `total` unless
        the device class asks for another: with it a misreading put right takes back what it added, where
        `total_increasing` would take the fall for a meter begun anew. With `none` the number is text that keeps its
        leading zeros, without statistics.
    """

    host: Text
    port: Port = 8883
    topic: Text = "digitcam"
    username: Text | None = None
    password_file: Text | None = None
    password_env: Text | None = None
    tls: bool = True
    ca_file: Text | None = None
    cert_file: Text | None = None
    key_file: Text | None = None
    discovery: bool = True
    discovery_prefix: Text = "homeassistant"
    name: Text | None = None
    unit: Text | None = None
    device_class: Text | None = None
    state_class: Literal["measurement", "total", "total_increasing", "none"] | None = None

    def __post_init__(self) -> None:
        for key in ("topic", "discovery_prefix"):
            topic: str = getattr(self, key)
            if set(topic) & set("+#\0") or topic.startswith(("/", "$")) or topic.endswith("/"):
                raise ValueError(f"{key} is {topic!r}: write it like 'home/meter', without + # $ or outer slashes")
        if self.password_file and self.password_env:
            raise ValueError("password_file and password_env: keep one of them")
        if (self.password_file or self.password_env) and not self.username:
            raise ValueError(f"{'password_file' if self.password_file else 'password_env'} needs a username")
        for key in ("ca_file", "cert_file"):
            if getattr(self, key) and not self.tls:
                raise ValueError(f"{key} needs tls = true")
        if self.key_file and not self.cert_file:
            raise ValueError("key_file needs cert_file")
        self._check_classes()

    def _check_classes(self) -> None:
        """ValueError unless Home Assistant takes the unit, device class and state class together."""
        if self.device_class is None:
            if self.state_class == "none" and self.unit:
                raise ValueError("state_class is 'none': leave out unit, with which a number is no text")
            return
        if self.device_class not in DEVICE_CLASSES:
            raise ValueError(f"device_class is {self.device_class!r}: choose from {', '.join(DEVICE_CLASSES)}")
        units, states = DEVICE_CLASSES[self.device_class]
        if self.unit not in units:
            raise ValueError(f"unit is {self.unit!r}: device_class {self.device_class!r} has {', '.join(units)}")
        if self.state_class not in (None, *states):
            raise ValueError(f"state_class is {self.state_class!r}: {self.device_class!r} has {', '.join(states)}")


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
    rules, mqtt, web
        Each None when its table is not there: then off.
    """

    source: Text = "demo:"
    model: Text = "canvas"
    format: str | None = None
    threads: Positive = 1
    accept: Share | None = None
    rules: Rules | None = None
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
