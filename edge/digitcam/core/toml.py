"""TOML files that become structs. An error names file, line and key, and what the key may have meant."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args, get_type_hints

import msgspec

from digitcam.core.errors import ConfigError

Kind = TypeVar("Kind", bound=msgspec.Struct)
Place = tuple[str | int, ...]
"""Keys and places in lists, from the outside in."""
_HEADER = re.compile(r"\s*(\[\[?)\s*([^\]#]+?)\s*\]")
_KEY = re.compile(r"\s*([\w\"'-]+(?:\s*\.\s*[\w\"'-]+)*)\s*=\s*(\"{3}|'{3})?")
_WORDS = {
    "str": "text in quotes",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}
"""What msgspec's names of types are called by those who write TOML."""


class TomlFile(NamedTuple):
    """What was written and what stands in it; path None where there is no file."""

    path: Path | None
    text: str
    tree: dict[str, Any]


def read_toml(path: Path, what: str) -> TomlFile:
    """Read a file; `what` is its name in the error, as in `the recipe`.

    Raises
    ------
    ConfigError
        When it cannot be read or is no TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return TomlFile(path, text, msgspec.toml.decode(text))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read {what}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None


def to_struct(tree: Mapping[str, Any], kind: type[Kind], file: TomlFile) -> Kind:
    """Return the struct in a tree that is a file's own, or made of it.

    Raises
    ------
    ConfigError
        Naming file, line and key, when a key is unknown, missing, or of a wrong value.
    """
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        line, message = explain(str(error), file.text, kind, tree)
        where = f"{file.path}, line {line}" if file.path and line else f"{file.path or 'options'}"
        raise ConfigError(f"{where}: {message}") from None


def explain(message: str, text: str, kind: type[msgspec.Struct], tree: Any) -> tuple[int | None, str]:
    """Return the line of msgspec's error in a file, None where it has none, and the error in words for people.

    Parameters
    ----------
    message
        msgspec's, which ends in the path.
    text
        The file's. The TOML reader tells no lines.
    kind
        The struct that it was to become.
    tree
        What was to become it.
    """
    what, _, at = message.partition(" - at `$")
    at = at.strip("`.")
    path: Place = tuple(int(n) if n else key for key, n in re.findall(r"([\w-]+)|\[(\d+)\]", at))
    known = _keys(kind, path, tree)
    if found := re.fullmatch(r"Object contains unknown field `(.*)`", what):
        path = (*path, found[1])
        near = get_close_matches(found[1], known, 1)
        return line_of(text, path), f"{_written(path)} is not known: " + (
            f"did you mean {near[0]}?" if near else f"use {', '.join(known)}"
        )
    if found := re.fullmatch(r"Object missing required field `(.*)`", what):
        return line_of(text, path), f"{_written((*path, found[1]))} is missing"
    # Our own messages begin with the key.
    key = re.split(r"\W", what, maxsplit=1)[0]
    if key in known:
        return line_of(text, (*path, key)), f"{at}.{what}" if at else what
    what = re.sub(r"`([a-z |]+)`", _in_words, what[:1].lower() + what[1:])
    return line_of(text, path), f"{at}: {what}" if at else what


def _in_words(types: re.Match[str]) -> str:
    """Return msgspec's types, as in `int | null`, in words: a key that may be left out cannot be null in TOML."""
    return " or ".join(_WORDS.get(name, name) for name in types[1].split(" | ") if name != "null")


def line_of(text: str, path: Place) -> int | None:
    """Return the line, from 1, on which a key first stands, or else the innermost table around it; None for neither."""
    best: tuple[int, int | None] = (0, None)
    table: Place = ()
    counts: dict[Place, int] = {}
    quotes = ""
    for number, line in enumerate(text.splitlines(), 1):
        if quotes:  # in a text of several lines
            quotes = "" if quotes in line else quotes
            continue
        if header := _HEADER.match(line):
            table = _table(_names(header[2]), header[1] == "[[", counts)
            here = table
        elif key := _KEY.match(line):
            here = (*table, *_names(key[1]))
            quotes = key[2] if key[2] and key[2] not in line[key.end() :] else ""
        else:
            continue
        depth = min(len(here), len(path))
        if here[:depth] == path[:depth] and depth > best[0]:
            best = (depth, number)
    return best[1]


def _table(names: tuple[str, ...], listed: bool, counts: dict[Place, int]) -> Place:
    """Return the path of a table's header, counting those that make a list."""
    path: Place = ()
    for place, name in enumerate(names):
        path = (*path, name)
        if listed and place == len(names) - 1:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = (*path, counts[path])
    return path


def _names(dotted: str) -> tuple[str, ...]:
    return tuple(name.strip(" \t\"'") for name in dotted.split("."))


def _written(path: Place) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _keys(kind: Any, path: Place, tree: Any) -> tuple[str, ...]:
    """Return the keys of the struct at a path below another one; none where there is no struct."""
    for part in path:
        if isinstance(part, str):
            kind = get_type_hints(kind).get(part) if _is_struct(kind) else None
        tree = tree.get(part) if isinstance(tree, Mapping) else tree[part] if isinstance(part, int) else None
        kind = _struct(kind, tree)
    if not _is_struct(kind):
        return ()
    tag = kind.__struct_config__.tag_field
    return (*kind.__struct_fields__, *([tag] if tag else []))


def _struct(kind: Any, value: Any) -> Any:
    """Return the struct that a value is to become, of several the one its tag names; the type where there is none."""
    structs = [k for k in (kind, *get_args(kind)) if _is_struct(k)]
    if isinstance(value, Mapping):
        for config, one in ((k.__struct_config__, k) for k in structs):
            if config.tag is not None and value.get(config.tag_field) == config.tag:
                return one
    return structs[0] if structs else kind


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
