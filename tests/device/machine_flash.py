"""`digitcam flash`, as edge/README.md has it, from this workstation onto the emulated machine."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import tomlkit
from machine import HOST, Machine
from machine_broker import ADDRESS, Broker

REPOSITORY = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "digitcam.cli")
SOURCE = "v4l2:///dev/video0?width=640&height=320&fps=5&format=YUYV"


class Flashed(NamedTuple):
    """How the command ended, what it said on standard error, and how long it took."""

    code: int
    lines: list[str]
    seconds: float

    @property
    def last(self) -> str:
        """Its last word."""
        return self.lines[-1].removeprefix("digitcam: ")


def configuration(folder: Path, broker: Broker, format: str | None = None) -> Path:
    """Write `meter.toml` of edge/configs with what the README says is one's own; return its path."""
    tree = tomlkit.parse((REPOSITORY / "edge/configs/meter.toml").read_text())
    tree["source"] = SOURCE
    del tree["rules"]  # of one water meter
    tree["mqtt"] |= {"host": ADDRESS, "port": broker.port, "ca_file": "/etc/digitcam/ca.pem"}  # type: ignore[operator]
    if format:
        tree["format"] = format
    folder.mkdir(exist_ok=True)
    path = folder / "meter.toml"
    path.write_text(tomlkit.dumps(tree))
    return path


def readme_command() -> list[str]:
    """Return the words of edge/README.md's `digitcam flash`."""
    lines = (REPOSITORY / "edge/README.md").read_text().splitlines()
    return shlex.split(next(line for line in lines if line.startswith(f"digitcam flash {HOST} ")))


class Workstation:
    """Where one flashes from: a folder with `meter.toml`, and what the command needs to know of this emulation."""

    def __init__(self, machine: Machine, broker: Broker, cache: Path) -> None:
        self.machine = machine
        self._environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
        self._ssh = ["--ssh-config", str(machine.ssh_config)]
        # What else would be asked for in a terminal.
        self._secrets = ["--secret", f"mqtt-password={broker.password}", "--secret", f"ca.pem={broker.ca}"]

    def readme(self, folder: Path) -> Flashed:
        """Run the README's command in a folder."""
        return self._run([*readme_command()[1:], *self._secrets], folder)

    def flash(self, payload: Path, *more: object, cut_after: str = "") -> Flashed:
        """Flash a payload; cut the machine's power off as soon as a step is told to be done."""
        words = ["flash", HOST, "--payload", payload.name, *map(str, more)]
        while (done := self._run(words, payload.parent, cut_after)).last.startswith(f"{HOST}: Connection timed out"):
            pass  # a machine that is emulated beside others' work may be slow to answer
        return done

    def payload(self, model: str | Path, config: Path, out: Path) -> Path:
        """Make a payload, as is done once for many devices, and return its folder."""
        words = ["payload", "--model", str(model), "--config", str(config), "--out", str(out)]
        subprocess.run([*COMMAND, *words], check=True, env=self._environment, capture_output=True)
        return out

    def rest(self, *words: str) -> Flashed:
        """Run `digitcam flash` with one of its other verbs."""
        return self._run(["flash", HOST, *words], self.machine.folder)

    def _run(self, words: list[str], folder: Path, cut_after: str = "") -> Flashed:
        begun_s, lines = time.monotonic(), []
        process = subprocess.Popen(
            [*COMMAND, *words, *self._ssh],
            cwd=folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout
        cut: Callable[[], None] | None = self.machine.cut if cut_after else None
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if cut and line.rstrip() == f"  {cut_after}":
                cut()
                cut = None
                process.kill()
        code = process.wait()
        assert cut is None or "Connection timed out" in lines[-1], f"{cut_after} was never told: {lines}"
        return Flashed(code, lines, time.monotonic() - begun_s)
