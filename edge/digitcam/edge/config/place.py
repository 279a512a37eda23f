"""Where in a TOML file an error stands, and what its key may have meant. The TOML reader tells no lines."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any, get_args, get_type_hints

import msgspec

Path = tuple[str | int, ...]
"""Keys and places in lists, from the outside in."""
_HEADER = re.compile(r"\s*(\[\[?)\s*([^\]#]+?)\s*\]")
_KEY = re.compile(r"\s*([\w\"'-]+(?:\s*\.\s*[\w\"'-]+)*)\s*=\s*(\"{3}|'{3})?")


def explain(message: str, text: str, kind: type[msgspec.Struct]) -> tuple[int | None, str]:
    """Return the line of msgspec's error in a file, None where it has none, and the error in words for people.

    Parameters
    ----------
    message
        msgspec's, which ends in the path.
    text
        The file's.
    kind
        The struct that it was to become.
    """
    what, _, at = message.partition(" - at `$")
    at = at.strip("`.")
    path: Path = tuple(int(n) if n else key for key, n in re.findall(r"([\w-]+)|\[(\d+)\]", at))
    known = _keys(kind, path)
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
    return line_of(text, path), f"{at}: {what[:1].lower()}{what[1:]}" if at else what


def line_of(text: str, path: Path) -> int | None:
    """Return the line, from 1, on which a key first stands, or else the innermost table around it; None for neither."""
    best: tuple[int, int | None] = (0, None)
    table: Path = ()
    counts: dict[Path, int] = {}
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


def _table(names: tuple[str, ...], listed: bool, counts: dict[Path, int]) -> Path:
    """Return the path of a table's header, counting those that make a list."""
    path: Path = ()
    for place, name in enumerate(names):
        path = (*path, name)
        if listed and place == len(names) - 1:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = (*path, counts[path])
    return path


def _names(dotted: str) -> tuple[str, ...]:
    return tuple(name.strip(" \t\"'") for name in dotted.split("."))


def _written(path: Path) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _keys(kind: Any, path: Path) -> tuple[str, ...]:
    """Return the keys of the struct at a path below another one; none where there is no struct."""
    for part in path:
        if isinstance(part, str):
            kind = get_type_hints(kind).get(part) if _is_struct(kind) else None
        kind = next((k for k in (kind, *get_args(kind)) if _is_struct(k)), kind)
    return tuple(kind.__struct_fields__) if _is_struct(kind) else ()


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
