"""The run configuration: one TOML file says what to watch, how to read it and where to send it. Every key is checked.

Paths, like those on a command line, start from the working directory; a service's should be absolute.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from digitcam.core.formats import FORMATS
from digitcam.core.toml import TomlFile, read_toml, to_struct
from digitcam.edge.config.mqtt import Mqtt
from digitcam.edge.config.outputs import HardFrames, History, Webhook
from digitcam.edge.config.regions import Region
from digitcam.edge.config.rules import Rules
from digitcam.edge.config.types import Positive, Share, Text
from digitcam.edge.config.web import Web
from digitcam.edge.log import Format


class RunConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that `digitcam run` depends on.

    source
        An URI; see `edge.sources.open_source`.
    model, format
        A bundle's path or shipped name, and one of its formats; None for `bundle`'s choice, and for the int8 one of the
        engine at hand.
    signers
        A file of allowed signers, see `edge.signature`: a bundle that none of them signed is refused. None to take any.
    threads
        Of the engine.
    accept
        Confidence 0..1 from which a reading counts; None for the card's.
    close_up
        Whether a number of small digits is read a second time, enlarged, see `core.closeup`.
    rules
        Of the number, or of those of all regions that have none of their own; None to trust every accepted reading.
    regions
        Parts of the frame, read one after another from the same frame; none to read the whole frame.
    log
        How messages are written, see `edge.log`.
    mqtt, web, history, webhook, hard_frames
        Each None when its table is not there: then off.
    """

    source: Text = "demo:"
    model: Text | None = None
    format: str | None = None
    signers: Text | None = None
    threads: Positive = 1
    accept: Share | None = None
    close_up: bool = True
    rules: Rules | None = None
    regions: tuple[Region, ...] = ()
    log: Format = "plain"
    mqtt: Mqtt | None = None
    web: Web | None = None
    history: History | None = None
    webhook: Webhook | None = None
    hard_frames: HardFrames | None = None

    def __post_init__(self) -> None:
        if self.format is not None and self.format not in FORMATS:
            raise ValueError(f"format is {self.format!r}: choose from {', '.join(FORMATS)}")
        name, count = max(Counter(r.name for r in self.regions).items(), key=lambda item: item[1], default=("", 0))
        if count > 1:
            raise ValueError(f"regions: {count} of them are named {name}: give each its own name")

    @property
    def bundle(self) -> str:
        """The bundle that reads: `model`, or by default the one for photographs, or for the demo's drawings."""
        return self.model or ("canvas" if self.source.startswith("demo:") else "digitcam-s")

    def rules_of(self, region: str) -> Rules | None:
        """Return the rules of a region's number; `region` is its name, or empty for the whole frame."""
        own = next((r.rules for r in self.regions if r.name == region), None)
        return own or self.rules

    @property
    def numbers(self) -> tuple[str, ...]:
        """The names under which numbers are read: of the regions, or one empty name for the whole frame."""
        return tuple(region.name for region in self.regions) or ("",)


def load_config(path: Path | None, **given: Any) -> RunConfig:
    """Read a run configuration, all defaults where there is no file; what is `given` wins over it, key by key.

    Raises
    ------
    ConfigError
        Naming the file, line and key, when the file is missing, no TOML, or a key is unknown or of a wrong value.
    """
    file = read_toml(path, "the configuration") if path else TomlFile(None, "", {})
    return to_struct(_over(file.tree, given), RunConfig, file)


def _over(value: Any, given: Any) -> Any:
    if not (isinstance(value, dict) and isinstance(given, dict)):
        return given
    return {**value, **{key: _over(value.get(key), one) for key, one in given.items()}}


class ConfigFile(NamedTuple):
    """Where a configuration comes from: a file, if any, and what is given beside it and wins over it."""

    path: Path | None = None
    given: Mapping[str, Any] = MappingProxyType({})

    def load(self) -> RunConfig:
        """Read it; see `load_config`."""
        return load_config(self.path, **self.given)
