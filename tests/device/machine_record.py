"""What was seen with the emulated machine, written as it is seen."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from machine import Machine

from digitcam.benchmarks.environment import environment
from digitcam.benchmarks.results import FlashResult, PowerCut, Seen, write_result
from digitcam.core.bundle import CARD, open_bundle
from digitcam.flash.remote import sha256_of

NAMES = ("kernel", "system", "systemd", "python", "cloud-init", "openssh", "v4l2loopback")
VERSIONS = """
uname -r; . /etc/os-release; echo "$PRETTY_NAME"; systemctl --version | head -n 1; python3 --version
dpkg-query -W -f '${Version}\\n' cloud-init openssh-server; /usr/sbin/modinfo -F version v4l2loopback
"""
FLASHED = ("canvas", "digitcam-s")


class Record:
    """A result file and what goes into it."""

    def __init__(self, out: Path) -> None:
        self.out, self.begun_s = out, time.monotonic()
        self.seen: list[Seen] = []
        self.cuts: list[PowerCut] = []
        self.parts: list[str] = []
        self.machine: dict[str, str] = {}
        command = ["qemu-system-aarch64", "--version"]
        self.emulator = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[0]
        self.bundles = {name: hashes(name) for name in FLASHED}

    def knows(self, machine: Machine) -> None:
        """Take note of what the machine is, which has to be on."""
        self.machine = dict(zip(NAMES, machine.ask(VERSIONS).splitlines(), strict=True))
        self.machine |= {"processor": "cortex-a72, 2 cores, TCG", "memory_mb": str(machine.memory_mb)}

    def note(self, what: str, seen: str, begun_s: float, end_s: float | None = None) -> None:
        """Take note of something that went as it should."""
        seconds = (time.monotonic() if end_s is None else end_s) - begun_s
        self.seen.append(Seen(what, seen, round(seconds, 1)))
        self._write(f"{what}: {seen}, {seconds:.0f} s")

    def cut(self, cut: PowerCut) -> None:
        """Take note of a power cut that was survived."""
        self.cuts.append(cut)
        told = f"the {cut.runs} slot reads {cut.number} after {cut.reading_s:.0f} s, settled on the {cut.settled} one"
        self._write(f"power cut after {cut.after}: {told}")

    def end(self, part: str) -> None:
        """Take note that a part has come to its end."""
        self.parts.append(part)
        self._write(f"all of {part} seen, after {time.monotonic() - self.begun_s:.0f} s")

    def _write(self, line: str) -> None:
        print(f"flash_machine: {line} (emulated)", flush=True)
        seconds = round(time.monotonic() - self.begun_s)
        told = (self.machine, self.bundles, self.seen, self.cuts, self.parts, seconds)
        write_result(self.out, FlashResult(True, self.emulator, environment(), *told))


def hashes(name: str) -> dict[str, str]:
    """Return the SHA-256 of each file of a shipped bundle."""
    bundle = open_bundle(name)
    return {CARD: sha256_of(bundle.path / CARD), **bundle.card.files}
