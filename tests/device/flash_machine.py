"""Flash an emulated arm64 machine with systemd as a user flashes a Pi, break it in every way, and see what reads.

`flash_machine.py LAB OUT.json [PART...]`, called by `flash_machine.sh`. The parts are `first`, `bad` and `cuts`, which
go on from what is flashed, and `card`. What was seen is written to OUT.json as it is seen; the first thing that is not
as it should be ends it.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from pathlib import Path

from machine import WAIT_S, Machine
from machine_broker import Broker, Reading
from machine_card import first_boot
from machine_cuts import PowerCuts, Version
from machine_flash import REPOSITORY, Flashed, Workstation, configuration, readme_command
from machine_outputs import digests
from machine_picture import NUMBER
from machine_record import Record

from digitcam.core.bundle import open_bundle

sys.path.insert(0, str(REPOSITORY / "tests/flash"))
from spoilt import spoilt

MODEL, FORMAT = "digitcam-s", "int8.tflite"
"""What the README's command has read: its bundle, and the network of LiteRT that is taken where none is named."""
BAD = {
    "rubbish": ("all zeros", r"none of \d+ frames gave a reading that is accepted"),
    "crash": ("crashing", "its process ended with exit code 1"),
    "hungry": ("too hungry", r"it takes \d+ MB of memory, \d+ MB are allowed"),
}
"""Bundles spoilt on purpose, what they are, and the reason that has to be told."""


class Scenes:
    """One machine, and what is done with it."""

    def __init__(self, lab: Path, folder: Path, machine: Machine, broker: Broker, record: Record) -> None:
        self.folder, self.machine, self.broker, self.record = folder, machine, broker, record
        self.workstation = Workstation(machine, broker, lab / "cache")
        self.config = configuration(folder / "readme", broker)
        self.is_flashed = False

    def version(self, model: str | Path, config: Path, format: str) -> Version:
        """Return a bundle as it is flashed, and as it is read with one of its networks."""
        name = Path(model).name
        return Version(self.workstation.payload(model, config, config.with_name(f"{name}-{format}")), name, format)

    def make(self) -> None:
        """Make all payloads, of one state of the code: what is flashed later has the same wheels."""
        self.old, self.new = (self.version(model, self.config, FORMAT) for model in (MODEL, "canvas"))
        float_config = configuration(self.folder / "float", self.broker, "fp32.onnx")
        self.spoilt = {}
        for change in BAD:
            self.spoilt[change] = self.version(spoilt(self.folder / change, change), float_config, "fp32.onnx")

    def flashed(self) -> tuple[float, Flashed]:
        """Switch the machine on and run the README's command; return when that began, and how it ended."""
        self.machine.on()
        self.make()
        self.machine.wait()
        self.record.knows(self.machine)
        begun_s = time.monotonic()
        done = self.workstation.readme(self.config.parent)
        assert done.code == 0, done
        self.is_flashed = True
        return begun_s, done

    def first(self) -> None:
        """Flash by the README's command; kill what runs; start the machine anew."""
        assert self.broker.refuses() == ["no TLS", "wrong password"]
        begun_s, done = self.flashed()
        reading = self.broker.wait(WAIT_S, since_s=begun_s)
        assert reads(reading), reading
        command = f"`{' '.join(readme_command())}`"
        self.record.note(f"{command}, to the first reading", said(reading), begun_s, reading.at_s)
        self.record.note(f"{command}, to its end", done.last, begun_s)
        self.same_outputs(MODEL, FORMAT)
        self.killed()
        self.rebooted()

    def same_outputs(self, model: str, format: str) -> None:
        """Compare what the int8 network answers there with what it answers here."""
        begun_s = time.monotonic()
        program = Path(__file__).with_name("machine_outputs.py").read_text()
        current = "/opt/digitcam/current"
        there = json.loads(self.machine.ask(f"sudo {current}/venv/bin/python - {current}/model", program))
        here = digests(model)
        assert list(there) == [format] and there[format] == here[format], (there, here)
        images = len(open_bundle(model).golden().images)
        told = f"every answer to its {images} golden inputs equals x86-64's bit for bit"
        self.record.note(f"{model} {format} on arm64", told, begun_s)

    def killed(self) -> None:
        """Kill the process that reads."""
        self.machine.ask("sudo kill -9 $(systemctl show -p MainPID --value digitcam)")
        killed_s = time.monotonic()
        reading = self.broker.wait(WAIT_S)
        restarts = self.machine.ask("systemctl show -p NRestarts --value digitcam").strip()
        assert reads(reading) and restarts == "1", (reading, restarts)
        told = f"started anew by systemd: {said(reading)}"
        self.record.note("`kill -9` of what reads", told, killed_s, reading.at_s)

    def rebooted(self) -> None:
        """Have the machine start anew."""
        begun_s = time.monotonic()
        self.machine.reboot()
        reading = self.broker.wait(WAIT_S)
        assert reads(reading), reading
        self.record.note("a reboot", said(reading), begun_s, reading.at_s)

    def bad(self) -> None:
        """Flash bundles that do not do: what ran before has to run again, and the reason be told."""
        for change, (what, reason) in BAD.items():
            begun_s = time.monotonic()
            done = self.workstation.flash(self.spoilt[change].payload, "--window", "20")
            assert done.code == 3 and re.search(f"went back from .* to .*: {reason}", done.last), done
            reading = self.broker.wait(WAIT_S)
            assert reads(reading), reading
            told = self.workstation.rest("--status")
            assert told.code == 0 and any(re.search(f"^failed .*{reason}", line) for line in told.lines), told
            self.record.note(f"a bundle that is {what}", f"exit code 3: {done.last}; {said(reading)}", begun_s)

    def cuts(self) -> None:
        """Cut the power off after every step."""
        cuts = PowerCuts(self.machine, self.broker, self.workstation, self.record.cut)
        cuts.all(self.old, self.new, self.spoilt["crash"])


def reads(reading: Reading) -> bool:
    """Return whether what the README's command flashed has read the right number."""
    return (reading.number, reading.model, reading.format) == (NUMBER, MODEL, FORMAT)


def said(reading: Reading) -> str:
    """Return what came at the broker."""
    return f"{reading.number} at the broker over TLS, read by {reading.model} {reading.format}"


def main(lab: Path, out: Path, parts: list[str]) -> None:
    record = Record(out)
    with tempfile.TemporaryDirectory(dir=lab, prefix="run-") as scratch, Broker(Path(scratch) / "broker") as broker:
        folder = Path(scratch)
        with Machine(lab, folder / "machine", lab / "key") as machine:
            scenes = Scenes(lab, folder, machine, broker, record)
            for part in parts:
                if part == "card":
                    machine.cut()  # lest its readings, which come by the same topic, be taken for the card's
                    first_boot(lab, folder / "card", broker, record)
                else:
                    if part != "first" and not scenes.is_flashed:
                        scenes.flashed()
                    getattr(scenes, part)()
                record.end(part)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:] or ["first", "bad", "cuts", "card"])
