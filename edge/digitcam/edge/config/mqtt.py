"""A broker and how to log in: the table [mqtt]."""

from __future__ import annotations

from digitcam.edge.config.quantity import Quantity
from digitcam.edge.config.types import Port, Text


class Mqtt(Quantity, frozen=True, forbid_unknown_fields=True, kw_only=True):
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
    commands
        Whether numbers may be set and pictures asked for through the broker, by whoever it lets write there.
    name
        Of the device in Home Assistant; None for the last part of the topic.
    unit, device_class, state_class
        Of the number, where its region says nothing else; see `Quantity`.
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
    commands: bool = True
    name: Text | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
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
