"""What flashing an emulated machine writes: see `tests/device/flash_machine.sh`."""

from __future__ import annotations

from typing import Literal

import msgspec

from digitcam.benchmarks.environment import Environment
from digitcam.benchmarks.results.subject import SCHEMA


class Seen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that was tried and went as it should.

    what
        Was tried.
    seen
        What came of it.
    seconds
        From its beginning until that was seen; emulated.
    """

    what: str
    seen: str
    seconds: float


class PowerCut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A power cut in the middle of a flash: the emulator killed, and the machine switched on again.

    after
        The step whose end had been told when it was cut off, as `switch link`.
    runs
        Which slot gave the first reading after it: the one before the flash, or the one flashed.
    number
        What it read.
    reading_s
        From switching on to that reading; emulated.
    settled
        Which slot runs once the installer has nothing under way any more.
    """

    after: str
    runs: Literal["old", "new"]
    number: str
    reading_s: float
    settled: Literal["old", "new"]


class FlashResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="flash", tag_field="kind"):
    """What `flash_machine.sh` writes, after each thing anew; it ends at the first that does not go as it should.

    emulated
        Always true: no time here is that of a device.
    emulator
        Which, with its version.
    environment
        The machine it ran on, which is the workstation.
    machine
        What was emulated: its processor, memory, and the versions of what runs there.
    bundles
        SHA-256 of each file of the shipped bundles that were flashed, by bundle and file.
    seen, power_cuts
        In the order in which they happened, on one machine but for the card.
    parts
        Which of `first`, `bad`, `card` and `cuts` went to their end.
    seconds
        All of it.
    """

    emulated: Literal[True]
    emulator: str
    environment: Environment
    machine: dict[str, str]
    bundles: dict[str, dict[str, str]]
    seen: list[Seen]
    power_cuts: list[PowerCut]
    parts: list[str]
    seconds: float
    schema: int = SCHEMA
