"""What was measured, and the version of the result files."""

from __future__ import annotations

import msgspec

SCHEMA = 1


class Subject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The bundle measured; `sha256` by format."""

    name: str
    images_trained: int
    commit: str
    parameters: int
    macs: int
    sha256: dict[str, str]
    bytes: dict[str, int]
