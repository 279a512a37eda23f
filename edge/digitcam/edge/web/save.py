"""The regions that somebody drew on the page, written into the configuration; all else in the file stays as it is."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import tomlkit
from tomlkit.exceptions import TOMLKitError

from digitcam.core.errors import ConfigError, SinkError
from digitcam.core.whole import sync_folder
from digitcam.edge.config import ConfigFile, load_config
from digitcam.edge.config.regions import Name, Region
from digitcam.edge.regions import cut

GEOMETRY = ("box", "turn", "quad")
_HEADER = re.compile(r"\s*(\[\[?)\s*([\w\"'-]+)[^\[\],]*\]\]?\s*(#.*)?$")
"""A table's first line. A line of a list that goes over several may begin with a bracket too, but has commas."""


class Drawn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A region as the page sends it; `was` is the name it had, None if it is new. See `Region` for the rest."""

    name: Name
    was: str | None = None
    box: tuple[float, float, float, float] | None = None
    turn: float = 0.0
    quad: tuple[tuple[float, float], ...] | None = None

    def geometry(self) -> dict[str, Any]:
        """Return what stands in the configuration of it, whole numbers as such."""
        found: dict[str, Any] = {}
        if self.box is not None:
            found["box"] = [_plain(value) for value in self.box]
        if self.turn:
            found["turn"] = _plain(self.turn)
        if self.quad is not None:
            found["quad"] = [[_plain(value) for value in point] for point in self.quad]
        return found


class StaleError(ConfigError):
    """The file is not as the page saw it."""


def version_of(file: ConfigFile) -> str:
    """Return what changes whenever the configuration file does; empty where there is none."""
    if file.path is None:
        return ""
    try:
        return hashlib.sha256(file.path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise ConfigError(f"{file.path}: cannot read the configuration: {error.strerror}") from None


def check(drawn: Sequence[Drawn], size: tuple[int, int] | None) -> None:
    """See whether regions can be read in frames of a size (width, height); None where it is not known yet.

    Raises
    ------
    ConfigError
        Naming the region.
    """
    for one in drawn:
        try:
            region = msgspec.convert({"name": one.name, **one.geometry()}, Region)
        except msgspec.ValidationError as error:
            raise ConfigError(str(error)) from None
        if size:
            cut(region, *size)


def save(file: ConfigFile, drawn: Sequence[Drawn], version: str) -> None:
    """Write regions into the configuration file, which is replaced as a whole or not at all.

    A region keeps its rules and whatever else the file says of it; a comment goes only with the line it stands on.

    Raises
    ------
    StaleError
        When the file is no longer of that version (`version_of`).
    ConfigError
        When there is no file, or the regions make it one that cannot be used.
    SinkError
        When it cannot be written.
    """
    if file.path is None:
        raise ConfigError("digitcam runs without a configuration file: start it with --config FILE")
    if version_of(file) != version:
        raise StaleError(f"{file.path} was changed meanwhile: load the page anew and draw again")
    path = file.path.resolve()
    before = path.read_bytes().decode("utf-8")
    _replace(path, edited(before, drawn), file)


def edited(text: str, drawn: Sequence[Drawn]) -> str:
    """Return a configuration's text with these regions in place of those it has: those kept first, then the new ones.

    Raises
    ------
    ConfigError
        When it is no TOML, or written in a way that this cannot edit.
    """
    try:
        tree = msgspec.toml.decode(text)
        old: list[dict[str, Any]] = tree.get("regions", [])
        kept = {one.was: one for one in drawn if one.was in {region["name"] for region in old}}
        new = [one for one in drawn if one.was not in kept]
        wanted = [_moved(region, kept[region["name"]]) for region in old if region["name"] in kept]
        wanted += [{"name": one.name, **one.geometry()} for one in new]
        listed = any(_begins_region(line) for line in text.splitlines())
        result = _edit_tables(text, kept, new) if listed or not old else _edit_inline(text, kept, new)
        after = msgspec.toml.decode(result)
    except (msgspec.DecodeError, TOMLKitError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"the configuration cannot be edited from here: {error}: edit its regions by hand") from None
    if after != ({**tree, "regions": wanted} if wanted else {k: v for k, v in tree.items() if k != "regions"}):
        raise ConfigError("the configuration is written in a way that cannot be edited from here: edit it by hand")
    return result


def snippet(drawn: Sequence[Drawn]) -> str:
    """Return the regions as they would stand in a configuration."""
    return "\n".join(_table({"name": one.name, **one.geometry()}) for one in drawn)


def _edit_tables(text: str, kept: Mapping[str | None, Drawn], new: Sequence[Drawn]) -> str:
    document = tomlkit.parse(text)
    tables = list(document.get("regions", []))
    for table in tables:
        if one := kept.get(table["name"]):
            _move(table, one)
    old = msgspec.toml.decode(text).get("regions", [])
    gone = [place for place, table in enumerate(old) if table["name"] not in kept]
    # Lines rather than the library's tables: to these belong the comments above the next table, too.
    lines = tomlkit.dumps(document).splitlines(keepends=True)
    spans = _spans(lines)
    added = "".join("\n" + _table({"name": one.name, **one.geometry()}) for one in new)
    if added:
        at = spans[-1][1] if spans else len(lines)
        if at and not lines[at - 1].endswith("\n"):
            lines[at - 1] += "\n"
        lines.insert(at, added)
    for place in reversed(gone):
        start, end = spans[place]
        # Of the blank lines around it one is enough.
        blank_before = start > 0 and not lines[start - 1].strip()
        if blank_before and (end == len(lines) or not lines[end].strip()):
            start -= 1
        del lines[start:end]
    return "".join(lines)


def _edit_inline(text: str, kept: Mapping[str | None, Drawn], new: Sequence[Drawn]) -> str:
    document = tomlkit.parse(text)
    array: Any = document["regions"]
    for place in reversed(range(len(array))):
        if one := kept.get(array[place]["name"]):
            _move(array[place], one)
        else:
            del array[place]
    for one in new:
        table = tomlkit.inline_table()
        table.update({"name": one.name, **one.geometry()})
        array.append(table)
    if not array:
        del document["regions"]
    return tomlkit.dumps(document)


def _spans(lines: Sequence[str]) -> list[tuple[int, int]]:
    """Return first line and end of each region's table, to its last line that is neither blank nor a comment."""
    spans: list[tuple[int, int]] = []
    inside = False
    for place, line in enumerate(lines):
        if header := _HEADER.match(line):
            inside = header[2].strip("\"'") == "regions"
            if _begins_region(line):
                spans.append((place, place + 1))
        if inside and spans and line.strip() and not line.lstrip().startswith("#"):
            spans[-1] = (spans[-1][0], place + 1)
    return spans


def _begins_region(line: str) -> bool:
    return re.match(r"\s*\[\[\s*regions\s*\]\]", line) is not None


def _moved(region: Mapping[str, Any], one: Drawn) -> dict[str, Any]:
    others = {key: value for key, value in region.items() if key not in GEOMETRY}
    return {**others, "name": one.name, **one.geometry()}


def _move(table: Any, one: Drawn) -> None:
    """Bring a table up to date; what does not change keeps how it is written."""
    for key, value in {"name": one.name, **one.geometry()}.items():
        if key in table and table[key] == value:
            continue
        if key in table or "rules" not in table or not isinstance(table["rules"], tomlkit.items.Table):
            table[key] = value
            continue
        # Behind [regions.rules] the key would belong to the rules.
        rules = table.pop("rules")
        table[key] = value
        table["rules"] = rules
    for key in GEOMETRY:
        if key in table and key not in one.geometry():
            del table[key]


def _table(values: Mapping[str, Any]) -> str:
    document = tomlkit.document()
    document.update(values)
    return f"[[regions]]\n{tomlkit.dumps(document)}"


def _replace(path: Path, text: str, file: ConfigFile) -> None:
    """Put a text in a file's place once it has proved to be a configuration and is safe on the disk."""
    beside: Path | None = None
    try:
        mode = path.stat().st_mode & 0o777
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        beside = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as out:
            out.write(text)
            out.flush()
            os.fchmod(out.fileno(), mode)
            os.fsync(out.fileno())
        try:
            load_config(beside, **file.given)
        except ConfigError as error:
            raise ConfigError(str(error).replace(str(beside), str(path))) from None
        beside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        mend = f"let the user that digitcam runs as write the folder {path.parent}, or put the regions in by hand"
        raise SinkError(f"{path}: cannot write: {error.strerror}: {mend}") from None
    finally:
        if beside:
            with suppress(OSError):
                beside.unlink()


def _plain(value: float) -> int | float:
    rounded = round(value, 4)
    return int(rounded) if rounded == int(rounded) else rounded
