"""What the comparison of processors under emulation writes: see `tests/device/arm64_outputs.sh`."""

from __future__ import annotations

from typing import Literal

import msgspec

from digitcam.benchmarks.environment import Environment
from digitcam.benchmarks.results.subject import SCHEMA


class OutputDifference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a format gave there beside what it gave here, on the very same inputs.

    images
        Golden inputs of the bundle.
    same_numbers
        Inputs of which both answers decode to the same numbers, boxes aside.
    values, equal
        Numbers that the network gave in all, and how many of them are the same bit for bit.
    largest
        Difference of any of them.
    """

    images: int
    same_numbers: int
    values: int
    equal: int
    largest: float


class EmulatedProcessor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A processor played by an emulator; `bundles` by name, then by format. No times: they would mean nothing."""

    machine: str
    libc: str
    python: str
    packages: dict[str, str]
    bundles: dict[str, dict[str, OutputDifference]]


class OutputsResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="outputs", tag_field="kind"):
    """What `arm64_outputs.sh` writes.

    emulated
        Always true: nothing here was measured on such a processor.
    emulator
        Which, with its version.
    environment
        The machine whose answers are compared with.
    sha256
        By bundle and format, of the networks.
    processors
        By the emulator's name for them.
    """

    emulated: Literal[True]
    emulator: str
    environment: Environment
    sha256: dict[str, dict[str, str]]
    processors: dict[str, EmulatedProcessor]
    schema: int = SCHEMA
