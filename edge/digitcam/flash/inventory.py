"""An inventory: the devices of a fleet in one TOML file. Every key is checked; paths start from the file's folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import msgspec

from digitcam.core.toml import read_toml, to_struct
from digitcam.edge.config.types import Positive, Text

Name = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=63)]


class Host(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One device.

    name, address
        What it is called here, and as `ssh` takes it; by default the same.
    model, config, payload
        In place of those of the whole inventory.
    values
        Keys of the configuration that are others here, as a tree: `values.mqtt.topic = "kitchen/meter"`.
    secrets
        Files of secrets by their names, besides those of the whole inventory.
    """

    name: Name
    address: Text | None = None
    model: Text | None = None
    config: Text | None = None
    payload: Text | None = None
    values: dict[str, Any] = {}
    secrets: dict[str, Text] = {}


class Inventory(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A fleet.

    canary
        The host that is flashed first, alone: when it fails, nothing else is done.
    wave
        How many are then flashed at the same time.
    max_failures
        After a wave with which there are so many, no other begins.
    model, config, payload, secrets
        Of hosts that have no others.
    """

    hosts: Annotated[tuple[Host, ...], msgspec.Meta(min_length=1)]
    canary: Name | None = None
    wave: Positive = 5
    max_failures: Positive = 1
    model: Text | None = None
    config: Text | None = None
    payload: Text | None = None
    secrets: dict[str, Text] = {}

    def __post_init__(self) -> None:
        name, count = Counter(host.name for host in self.hosts).most_common(1)[0]
        if count > 1:
            raise ValueError(f"hosts: {count} of them are named {name}: give each its own name")
        if self.canary is not None and self.canary not in {host.name for host in self.hosts}:
            raise ValueError(f"canary is {self.canary!r}, which is none of the hosts: name one of them")

    def waves(self) -> list[tuple[Host, ...]]:
        """Return the hosts in the order they are flashed in, those of a wave together."""
        rest = [host for host in self.hosts if host.name != self.canary]
        first = [tuple(host for host in self.hosts if host.name == self.canary)] if self.canary else []
        return first + [tuple(rest[start : start + self.wave]) for start in range(0, len(rest), self.wave)]


def load_inventory(path: Path) -> Inventory:
    """Read an inventory.

    Raises
    ------
    ConfigError
        Naming the file, line and key, when the file is missing, no TOML, or a key is unknown or of a wrong value.
    """
    file = read_toml(path, "the inventory")
    return to_struct(file.tree, Inventory, file)


def merged(text: str, values: dict[str, Any]) -> str:
    """Return a configuration's text with some of its keys changed; all else, comments too, stays."""
    import tomlkit

    def put(tree: Any, values: dict[str, Any]) -> None:
        for key, value in values.items():
            if isinstance(value, dict) and isinstance(tree.get(key), dict):
                put(tree[key], value)
            else:
                tree[key] = value

    document = tomlkit.parse(text)
    put(document, values)
    return tomlkit.dumps(document)
