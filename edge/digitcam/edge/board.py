"""What a Linux board says of itself: model, memory, heat, clock, load and power, from /proc, /sys and small tools.

Nothing here raises: what a machine does not say is None. `vcgencmd` is a Raspberry Pi's own tool, others lack it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

TOOL_S = 5.0
"""How long a tool may take to answer."""

THROTTLED = ("under-voltage", "clock capped", "throttled", "soft temperature limit")
"""What bits 0 to 3 of `throttled` say of now, and bits 16 to 19 of the time since the board started."""


class Memory(NamedTuple):
    """Memory in MB of a million bytes; `cma` is the part for cameras that must be in one piece, None where unknown."""

    total_mb: float
    available_mb: float
    cma_total_mb: float | None
    cma_free_mb: float | None


class CpuTimes(NamedTuple):
    """Processor seconds since the machine started, over some CPUs: at work, taken by a virtual machine's host, all."""

    busy_s: float
    stolen_s: float
    total_s: float


class EnergyCounter(NamedTuple):
    """A counter of the energy spent in microjoules; after `range_uj` it begins again at 0."""

    spent_uj: int
    range_uj: int


class Board(NamedTuple):
    """A board; `root` is where its file system is, `path` where its tools are looked for, None for $PATH."""

    root: Path = Path("/")
    path: str | None = None

    def model(self) -> str | None:
        """Return its name, as `Raspberry Pi 4 Model B Rev 1.4`; a PC tells none."""
        return self._text("proc/device-tree/model")

    def is_pi(self) -> bool:
        """Return whether it is a Raspberry Pi."""
        return is_pi(self.model())

    def revision(self) -> str | None:
        """Return a Raspberry Pi's revision code in hexadecimal, as `c03114`."""
        try:
            code = (self.root / "proc/device-tree/system/linux,revision").read_bytes()
        except OSError:
            return None
        return f"{int.from_bytes(code, 'big'):x}" if len(code) == 4 else None

    def memory(self) -> Memory | None:
        """Return how much memory there is and how much is free."""
        found = re.findall(r"^(\w+): +(\d+) kB$", self._text("proc/meminfo") or "", re.MULTILINE)
        mb = {key: int(kib) * 1024 / 1e6 for key, kib in found}
        if not {"MemTotal", "MemAvailable"} <= mb.keys():
            return None
        # A kernel without CMA has no such lines, one without a reserve says 0.
        cma = (mb["CmaTotal"], mb.get("CmaFree")) if mb.get("CmaTotal") else (None, None)
        return Memory(mb["MemTotal"], mb["MemAvailable"], *cma)

    def temperature_c(self) -> float | None:
        """Return the processor's temperature, or the highest there is where none is said to be the processor's."""
        zones = {}
        for zone in (self.root / "sys/class/thermal").glob("thermal_zone*"):
            try:
                zones[zone] = int((zone / "temp").read_text()) / 1e3
            except (OSError, ValueError):  # a sensor that is switched off
                continue
        kinds = {zone: self._text(zone / "type") or "" for zone in zones}
        own = [zones[zone] for zone, kind in kinds.items() if "cpu" in kind.lower() or kind == "x86_pkg_temp"]
        return max(own or zones.values(), default=None)

    def throttled(self) -> int | None:
        """Return a Raspberry Pi's word on power and heat, see `throttle_words`."""
        found = re.fullmatch(r"throttled=0x([0-9a-fA-F]+)", self.ask("vcgencmd", "get_throttled") or "")
        return int(found[1], 16) if found else None

    def throttle_events(self) -> int | None:
        """Return how often an Intel processor was slowed down by heat since the machine started, over all its cores."""
        counters = (self.root / "sys/devices/system/cpu").glob("cpu*/thermal_throttle/core_throttle_count")
        found = [int(text) for path in counters if (text := self._text(path) or "").isdecimal()]
        return sum(found) if found else None

    def clock_mhz(self, cpus: Collection[int] = (0,)) -> float | None:
        """Return the clock: as a Raspberry Pi measures it, else the highest that the kernel asked of some CPUs."""
        found = re.fullmatch(r"frequency\(\d+\)=(\d+)", self.ask("vcgencmd", "measure_clock", "arm") or "")
        if found and int(found[1]):
            return int(found[1]) / 1e6
        asked = (self._text(f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq") or "" for cpu in cpus)
        return max((int(khz) / 1e3 for khz in asked if khz.isdecimal()), default=None)

    def governor(self) -> str | None:
        """Return what decides on the processor's clock, as `ondemand`."""
        return self._text("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")

    def cpu_times(self, cpus: Collection[int] | None = None) -> CpuTimes | None:
        """Return what some CPUs, by default all, have done since the machine started."""
        lines = re.findall(r"^cpu(\d+) ([\d ]+)$", self._text("proc/stat") or "", re.MULTILINE)
        counts = [[int(n) for n in rest.split()[:8]] for cpu, rest in lines if cpus is None or int(cpu) in cpus]
        if not counts or any(len(count) < 8 for count in counts):
            return None
        # What guests of this machine took is in `user` already.
        user, nice, system, idle, waiting, irq, softirq, stolen = (sum(kind) for kind in zip(*counts, strict=True))
        busy = user + nice + system + irq + softirq
        tick_s = 1 / os.sysconf("SC_CLK_TCK")
        return CpuTimes(busy * tick_s, stolen * tick_s, (busy + idle + waiting + stolen) * tick_s)

    def energy(self) -> dict[str, EnergyCounter]:
        """Return the processor packages' energy counters by zone (RAPL); none where only root may read them."""
        counters = {}
        for zone in (self.root / "sys/class/powercap").glob("intel-rapl:*"):
            numbers = [self._text(zone / name) or "" for name in ("energy_uj", "max_energy_range_uj")]
            # The zones within a package, and the one of the whole board, count the same energy once more.
            if (self._text(zone / "name") or "").startswith("package") and all(map(str.isdecimal, numbers)):
                counters[zone.name] = EnergyCounter(*map(int, numbers))
        return counters

    def power_w(self) -> float | None:
        """Return what a Raspberry Pi 5's power chip gives to all rails at this moment, without its own losses."""
        told = self.ask("vcgencmd", "pmic_read_adc") or ""
        rails = re.findall(r"^\s*(\w+)_([AV])(?: \w+\(\d+\))?=([\d.]+)[AV]$", told, re.MULTILINE)
        volts, amperes = ({rail: float(value) for rail, unit, value in rails if unit == kind} for kind in "VA")
        powers = [volts[rail] * amperes[rail] for rail in amperes if rail in volts]
        return sum(powers) if powers else None

    def synchronised(self) -> bool | None:
        """Return whether the clock is set by a time server."""
        if (self.root / "run/systemd/timesync/synchronized").exists():
            return True
        answer = self.ask("timedatectl", "show", "--property=NTPSynchronized", "--value")
        return {"yes": True, "no": False}.get(answer or "")

    def has(self, tool: str) -> bool:
        """Return whether a tool is installed."""
        return shutil.which(tool, path=self.path) is not None

    def ask(self, tool: str, *words: str) -> str | None:
        """Return what a tool says, stripped; None where it is not there, fails, or takes more than `TOOL_S`."""
        found = shutil.which(tool, path=self.path)
        if found is None:
            return None
        try:
            done = subprocess.run([found, *words], capture_output=True, text=True, timeout=TOOL_S, check=False)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    def _text(self, name: str | Path) -> str | None:
        """Return a file's text; device trees end theirs with a zero byte."""
        try:
            return (self.root / name).read_text(encoding="utf-8", errors="replace").strip("\0 \n") or None
        except OSError:
            return None


def is_pi(model: str | None) -> bool:
    """Return whether `Board.model` names a Raspberry Pi."""
    return (model or "").startswith("Raspberry Pi")


def throttle_words(bits: int) -> tuple[list[str], list[str]]:
    """Return what `throttled` says in words: what is so now, and what was since the board started and is over."""
    now = [word for bit, word in enumerate(THROTTLED) if bits >> bit & 1]
    return now, [word for bit, word in enumerate(THROTTLED, 16) if bits >> bit & 1 and word not in now]


def energy_spent_j(before: dict[str, EnergyCounter], after: dict[str, EnergyCounter]) -> float | None:
    """Return what was spent between two looks at `Board.energy`, in joules; None where there are no counters."""
    spent = [(now.spent_uj - before[zone].spent_uj) % now.range_uj for zone, now in after.items() if zone in before]
    return sum(spent) / 1e6 if spent else None
