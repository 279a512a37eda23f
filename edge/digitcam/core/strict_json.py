"""JSON that others wrote, or a disk damaged: whatever is wrong with it is one kind of error."""

from __future__ import annotations

from typing import Any

import msgspec


def decode_json(data: bytes, kind: Any) -> Any:
    """Return JSON as a value of `kind`.

    Raises
    ------
    msgspec.DecodeError
        When it is none or does not fit. msgspec itself lets what Python says of bytes that are no UTF-8, and of
        thousands of brackets, through as it is.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(f"byte {error.object[error.start]:#04x} is not UTF-8") from None
    except RecursionError:
        raise msgspec.DecodeError("nested too deeply") from None
