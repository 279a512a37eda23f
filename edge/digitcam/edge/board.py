"""What a Linux board says of itself: model, memory, heat, clock and power, from /proc, /sys and a few small tools.

Nothing here raises: what a machine does not say is None. `vcgencmd` is a Raspberry Pi's own tool, others lack it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
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


class Board(NamedTuple):
    """A board; `root` is where its file system is, `path` where its tools are looked for, None for $PATH."""

    root: Path = Path("/")
    path: str | None = None

    def model(self) -> str | None:
        """Return its name, as `Raspberry Pi 4 Model B Rev 1.4`; a PC tells none."""
        return self._text("proc/device-tree/model")

    def is_pi(self) -> bool:
        """Return whether it is a Raspberry Pi."""
        return (self.model() or "").startswith("Raspberry Pi")

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

    def clock_mhz(self) -> float | None:
        """Return the processor's clock: as a Raspberry Pi measures it, else as the kernel asked for it."""
        found = re.fullmatch(r"frequency\(\d+\)=(\d+)", self.ask("vcgencmd", "measure_clock", "arm") or "")
        if found and int(found[1]):
            return int(found[1]) / 1e6
        asked_khz = self._text("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq") or ""
        return int(asked_khz) / 1e3 if asked_khz.isdecimal() else None

    def governor(self) -> str | None:
        """Return what decides on the processor's clock, as `ondemand`."""
        return self._text("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")

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


def throttle_words(bits: int) -> tuple[list[str], list[str]]:
    """Return what `throttled` says in words: what is so now, and what was since the board started and is over."""
    now = [word for bit, word in enumerate(THROTTLED) if bits >> bit & 1]
    return now, [word for bit, word in enumerate(THROTTLED, 16) if bits >> bit & 1 and word not in now]
