"""Many devices: a canary first, then waves, no more of them after failures; and a table of how all do at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from digitcam.core.errors import ConfigError, DigitcamError
from digitcam.flash.inventory import Host, Inventory, merged
from digitcam.flash.remote import Json, Note, Remote
from digitcam.flash.ssh import Ssh
from digitcam.flash.wish import Wish, check_here

HEAD = ("host", "digitcam", "model", "slot", "service", "frames", "accepted", "result")
NOT_TRIED = "not tried"


class Row(NamedTuple):
    """What became of a host: what the installer says of it, None where it could not be asked, and what failed."""

    host: Host
    status: Json | None
    result: str
    error: DigitcamError | None = None


class Fleet(NamedTuple):
    """An inventory, where its paths start from, and how its devices are reached.

    wish
        What holds for all: it wins over the inventory, and a bundle or a configuration also over a payload there.
    """

    inventory: Inventory
    folder: Path
    wish: Wish
    note: Note
    ssh_config: Path | None = None
    root: str = "/"

    def wish_for(self, host: Host, scratch: Path) -> Wish:
        """Return what is wanted on a host; a configuration with its own values is written into a scratch folder.

        Raises
        ------
        ConfigError
            When there is no configuration to put its values into, or they do not fit.
        """
        given, all_ = self.wish, self.inventory
        payload, model, config = given.payload, given.model, given.config
        if not (payload or model or config):
            payload = self._path(_first(host.payload, None if host.model or host.config else all_.payload))
        if payload is None:
            model = model or self._bundle(_first(host.model, all_.model))
            config = config or self._path(_first(host.config, all_.config))
        if host.values:
            if config is None:
                raise ConfigError("has values, but no config to put them into: name one")
            try:
                text = config.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"{config}: cannot read the configuration: {error}") from None
            config = scratch / f"{host.name}.toml"
            config.write_text(merged(text, host.values), encoding="utf-8")
        secrets = {name: self.folder / path for name, path in (all_.secrets | host.secrets).items()}
        return given._replace(
            model=model, config=config, payload=payload, secrets={**secrets, **given.secrets}, ask=None
        )

    def act(self, act: Callable[[Remote, Wish], str], wishes: Mapping[str, Wish]) -> list[Row]:
        """Do something with all hosts, the canary first, and return what became of each.

        Parameters
        ----------
        act
            What is done with a host; it returns what the table is to say of it.
        wishes
            What is wanted, by the hosts' names.
        """
        rows: dict[str, Row] = {}
        failed = 0
        for turn, wave in enumerate(self.inventory.waves()):
            if failed >= self.inventory.max_failures or (failed and turn == 1 and self.inventory.canary):
                break
            self.note(f"wave {turn + 1}: {', '.join(host.name for host in wave)}")
            for row in _together(lambda host: self._visit(host, act, wishes[host.name]), wave):
                rows[row.host.name] = row
                failed += row.error is not None
        return [rows.get(host.name) or Row(host, None, NOT_TRIED) for host in self.inventory.hosts]

    def status(self) -> list[Row]:
        """Return how all do."""
        waves = self.inventory.waves()
        rows = [row for wave in waves for row in _together(lambda host: self._visit(host, _ok, self.wish), wave)]
        return sorted(rows, key=lambda row: self.inventory.hosts.index(row.host))

    def wishes(self, scratch: Path, verb: str | None = None) -> dict[str, Wish]:
        """Return what is wanted on each host; without another verb, all that can be is checked here.

        Raises
        ------
        ConfigError, ModelError
            When it cannot be: before any device is touched.
        """
        found = {}
        for host in self.inventory.hosts:
            try:
                found[host.name] = self.wish_for(host, scratch)
                if verb is None:
                    check_here(found[host.name])
            except DigitcamError as error:
                raise type(error)(f"{host.name}: {error}") from None
        return found

    def _visit(self, host: Host, act: Callable[[Remote, Wish], str], wish: Wish) -> Row:
        """Do something with a host, and ask it how it does."""
        status = None
        try:
            with self._remote(host) as remote:
                try:
                    result = act(remote, wish)
                finally:
                    with suppress(DigitcamError):
                        status = remote.do("status")
        except DigitcamError as error:
            self.note(f"{host.name}: failed: {error}")
            return Row(host, status, "failed", error)
        return Row(host, status, result)

    @contextmanager
    def _remote(self, host: Host) -> Iterator[Remote]:
        with Ssh(host.address or host.name, self.ssh_config) as ssh:
            yield Remote(ssh, lambda text: self.note(f"{host.name}: {text}"), self.root.replace("{name}", host.name))

    def _path(self, path: str | None) -> Path | None:
        return None if path is None else self.folder / path

    def _bundle(self, model: str | None) -> str | None:
        path = self._path(model)
        return str(path) if path and path.exists() else model


def table(rows: Sequence[Row]) -> list[str]:
    """Return the lines of a table of versions, models and health."""
    cells = [HEAD, *((row.host.name, *summary(row.status), row.result) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEAD))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def summary(status: Json | None) -> tuple[str, ...]:
    """Return what a table says of an installer's status: digitcam, model, slot, service, frames, accepted."""
    if status is None:
        return ("-",) * 6
    slot: dict[str, Any] = status["slots"].get(status["current"]) or {}
    health = status["health"] or {}
    state = status["service"].get("ActiveState", "-")
    trial = " (on trial)" if status["trial"] else ""
    told = (slot.get("digitcam"), slot.get("model"), status["current"], f"{state}{trial}")
    return tuple(
        str(cell) if cell is not None else "-" for cell in (*told, health.get("frames"), health.get("accepted"))
    )


def _ok(remote: Remote, wish: Wish) -> str:
    return "ok"


def _together(act: Callable[[Host], Row], hosts: Sequence[Host]) -> list[Row]:
    with ThreadPoolExecutor(max_workers=max(len(hosts), 1)) as pool:
        return list(pool.map(act, hosts))


def _first(*values: str | None) -> str | None:
    return next((value for value in values if value is not None), None)
