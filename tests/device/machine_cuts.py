"""The power of the emulated machine cut off after every step of a flash, and what runs when it is on again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from machine import WAIT_S, Machine
from machine_broker import Broker, Reading
from machine_flash import Workstation
from machine_picture import NUMBER

from digitcam.benchmarks.results import PowerCut
from digitcam.flash import device as installer

QUICK = ("--window", "5")
"""A trial's window: the power cuts are many, and what a window sees is tried elsewhere."""


class Version(NamedTuple):
    """What is flashed: a payload, and what its readings call it."""

    payload: Path
    model: str
    format: str

    def read(self, reading: Reading) -> bool:
        """Return whether it has read a reading."""
        return (reading.model, reading.format) == (self.model, self.format)


def steps(task: str) -> list[str]:
    """Return the steps of a task of the installer, as it tells of them."""
    nothing, journal = installer.Device(Path("/nowhere")), {"slot": "a", "before": None, "returning": {}}
    made = {
        "install": lambda: installer.install_steps(nothing, {"id": "a"}, Path),
        "switch": lambda: installer.switch_steps(nothing, journal),
        "confirm": lambda: installer.confirm_steps(nothing, journal),
        "return": lambda: installer.return_steps(nothing, journal),
    }[task]()
    return [f"{task} {name}" for name in made]


class PowerCuts:
    """A machine on which a version runs, and is flashed with another again and again."""

    def __init__(
        self, machine: Machine, broker: Broker, workstation: Workstation, seen: Callable[[PowerCut], None]
    ) -> None:
        self.machine, self.broker, self.workstation, self.seen = machine, broker, workstation, seen

    def all(self, old: Version, new: Version, crashing: Version) -> None:
        """Cut it off after each step, from where `old` runs and of `new` nothing is there yet."""
        for step in steps("install"):
            self.cut(step, old, new, "old")
        for step in steps("switch"):
            # Until it is written down what is under way, nothing has changed; from then on the boot goes on with it.
            if self.cut(step, old, new, "old" if step == "switch keep" else "new") == "new":
                old, new = new, old
        for step in steps("confirm"):
            self.cut(step, old, new, "new")
            old, new = new, old
        for step in steps("return"):
            self.cut(step, old, crashing, "old")

    def cut(self, step: str, old: Version, new: Version, settles: Literal["old", "new"]) -> str:
        """Flash `new`, cut the power off after a step, switch on again; return which of the two runs then."""
        self.machine.wait()
        self.workstation.flash(new.payload, *QUICK, cut_after=step)
        on_s = time.monotonic()
        self.machine.on()
        first = self.broker.wait(WAIT_S, since_s=on_s)
        self.machine.wait()
        end_s = time.monotonic() + WAIT_S
        while self.installed()["trial"]:
            assert time.monotonic() < end_s, f"{step}: still on trial"
        settled = self.broker.wait(WAIT_S)
        assert first.number == settled.number == NUMBER, (step, first, settled)
        which = ["old" if old.read(reading) else "new" if new.read(reading) else "" for reading in (first, settled)]
        assert all(which), (step, first, settled)
        assert which[1] == settles, (step, first, settled)
        self.seen(PowerCut(step, which[0], first.number, round(first.at_s - on_s, 1), which[1]))  # type: ignore[arg-type]
        return which[1]

    def installed(self) -> dict[str, Any]:
        """Return what the installer there says is installed."""
        told: dict[str, Any] = json.loads(self.machine.ask("sudo python3 /opt/digitcam/install.py status"))
        return told
