"""What a source's URI says: options, checked, and a form of it that may be shown to anybody."""

from __future__ import annotations

import re
from typing import TypeVar
from urllib.parse import parse_qsl

import msgspec

from digitcam.core.errors import ConfigError

T = TypeVar("T", bound=msgspec.Struct)

# Greedy up to the last @: a password with an unescaped / or @ in it is hidden too, rather too much than too little.
_LOGIN = re.compile(r"(://[^:/?#@]*):.*@", re.DOTALL)
# Cheap cameras want the login in the query or even in the path: /user=admin&password=1234&channel=1. A GStreamer
# element has it as user-pw="geheim", and what follows in the pipeline is hidden with it.
_SECRET = re.compile(
    r"((?:(?:pass?|pw|psw|secret|token|key|auth|session)[\w.-]*|\b_?sid|[?&]p)\s*=)[^&#]*", re.IGNORECASE
)


def redact(uri: str) -> str:
    """Return the URI with passwords, keys and tokens replaced by `***`, for readings, errors and logs."""
    return _SECRET.sub(r"\1***", _LOGIN.sub(r"\1:***@", uri))


def read_options(shown: str, text: str, kind: type[T]) -> T:
    """Read `key=value&key=value` into a strict struct.

    Parameters
    ----------
    shown
        The URI that the text is from, redacted, for errors.
    text
        The part of it behind `?` or `#`; may be empty.
    kind
        A struct whose fields are the known options.

    Raises
    ------
    ConfigError
        When an option is unknown, given twice, or its value does not fit.
    """
    known = kind.__struct_fields__
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text))
    except ValueError:
        raise ConfigError(f"{shown}: write options as {known[0]}=VALUE, with & between them") from None
    options = dict(pairs)
    for name in options:
        if name not in known:
            raise ConfigError(f"{shown}: option {name!r} is not known: use {', '.join(known)}")
    if len(options) < len(pairs):
        raise ConfigError(f"{shown}: an option is given twice: leave one out")
    try:
        return msgspec.convert(options, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{shown}: {str(error).replace(' | null', '')}") from None
