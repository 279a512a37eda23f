"""What the computer is: its Python and numpy, memory, heat, power, clock and disk."""

from __future__ import annotations

import os
import platform
import struct
import sys
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path

from digitcam.core.errors import ConfigError, ModelError, SinkError
from digitcam.edge.board import Board, throttle_words
from digitcam.edge.doctor import Finding
from digitcam.edge.folders import nearest

PYTHONS = ((3, 10), (3, 13))
"""The oldest and the newest Python for which the engines' wheels were tried."""
MACHINES = ("x86_64", "aarch64")
"""The processors there are wheels for."""
SYSTEM = Path("/usr/lib/python3/dist-packages")
"""Where apt puts Python's libraries."""
FREE_MB, CMA_MB, DISK_MB = 150, 32, 200
"""Less than this is a warning: free memory, memory in one piece for a camera, and space on a disk.

digitcam with LiteRT takes some 120 MB; four raw buffers of a 2-megapixel camera take 20 MB in one piece.
"""
HOT_C = 80
"""From here on a Raspberry Pi slows itself down."""


def python(
    version: tuple[int, int] | None = None, processor: str | None = None, bits: int = 8 * struct.calcsize("P")
) -> Finding:
    """Return whether there are wheels for this Python, `version` (major, minor), on this processor."""
    version, processor = version or sys.version_info[:2], processor or platform.machine()
    found = f"Python {version[0]}.{version[1]}, {bits}-bit, {processor}"
    oldest, newest = PYTHONS
    between = f"{oldest[0]}.{oldest[1]} to {newest[0]}.{newest[1]}"
    if bits == 32:
        # The classic one: Raspberry Pi OS (32-bit) has a 64-bit kernel too, so the processor looks right.
        why = "there are no wheels of the engines for a 32-bit system" + (
            ", and this one is, though processor and kernel are not" if processor in MACHINES else ""
        )
        mend = "put the 64-bit Raspberry Pi OS on the card"
        return Finding("python", "fail", f"{found}: {why}", mend, ModelError.exit_code)
    if processor not in MACHINES:
        why, mend = f"{found}: there are wheels for {' and '.join(MACHINES)} only", "use a machine with one of these"
        return Finding("python", "fail", why, mend, ModelError.exit_code)
    if version < oldest:
        return Finding("python", "fail", found, f"install Python {between}", ConfigError.exit_code)
    if version > newest:
        return Finding("python", "warn", f"{found}: not tried; the engines may have no wheels", f"use {between}")
    return Finding("python", "ok", found)


def numpy(
    source: str | None, paths: Sequence[str] | None = None, system: Path = SYSTEM, venv: Path = Path(sys.prefix)
) -> Finding:
    """Return which numpy is used, and whether picamera2, where it is the source, can use it too.

    Parameters
    ----------
    source
        The configured one, None where there is none.
    paths
        Where Python looks for libraries, None for sys.path.
    system, venv
        Where apt's libraries are, and the environment in use.
    """
    places = [Path(path) for path in (sys.path if paths is None else paths)]
    numpys = [(place, version) for place in dict.fromkeys(places) if (version := _version("numpy", place))]
    if not numpys:
        mend = "install digitcam anew, see the README's quickstart"
        return Finding("numpy", "fail", "numpy is not installed", mend, ModelError.exit_code)
    (_, used), *others = numpys
    hidden = "".join(f", {version} in {place} unused" for place, version in others)
    if not (source or "").startswith("picamera2:"):
        return Finding("numpy", "ok", f"{used}{hidden}")
    code = ConfigError.exit_code  # as a run ends with it
    camera = next((place for place in places if (place / "picamera2").is_dir()), None)
    if camera is None and (system / "picamera2").is_dir():
        found = f"{used}; picamera2 is in {system}, where {venv} does not look"
        mend = f"set include-system-site-packages = true in {venv / 'pyvenv.cfg'}"
        return Finding("numpy", "fail", found, mend, code)
    if camera is None:
        return Finding("numpy", "fail", f"{used}; no picamera2", "sudo apt install python3-picamera2", code)
    theirs = _version("numpy", camera)
    # What was compiled against numpy 1 breaks with 2; what was compiled against 2 runs with both.
    if theirs and _major(theirs) < 2 <= _major(used):
        found = f"{used}{hidden}: simplejpeg in {camera}, which picamera2 needs, was compiled against {theirs}"
        # OpenCV's wheels ask for numpy 2 from 4.12 on.
        return Finding("numpy", "fail", found, "pip install 'numpy<2' 'opencv-python-headless<4.12'", code)
    return Finding("numpy", "ok", f"{used}{hidden}, with picamera2 in {camera}")


def _version(name: str, place: Path) -> str | None:
    """Return the version of a distribution installed in a folder."""
    return next((found.version for found in distributions(name=name, path=[str(place)])), None)


def _major(version: str) -> int:
    first = version.partition(".")[0]
    return int(first) if first.isdecimal() else 0


def memory(board: Board, source: str | None) -> Finding:
    """Return how much memory is free, and how much of that a camera can have in one piece."""
    free = board.memory()
    if free is None:
        return Finding("memory", "warn", "unknown: no /proc/meminfo", "run digitcam on Linux")
    found = f"{free.available_mb:.0f} of {free.total_mb:.0f} MB free"
    if free.cma_total_mb is not None and free.cma_free_mb is not None:
        found += f", CMA {free.cma_free_mb:.0f} of {free.cma_total_mb:.0f} MB"
    if free.available_mb < FREE_MB:
        return Finding("memory", "warn", found, "end other programs, the desktop first: raspi-config, Boot")
    wanted = (source or "").startswith("picamera2:")
    if wanted and free.cma_free_mb is not None and free.cma_free_mb < CMA_MB:
        mend = "end what else uses the camera, or set dtoverlay=vc4-kms-v3d,cma-128 in /boot/firmware/config.txt"
        return Finding("memory", "warn", found, mend)
    return Finding("memory", "ok", found)


def temperature(board: Board) -> Finding:
    """Return how hot the processor is, and its clock."""
    heat_c, clock_mhz = board.temperature_c(), board.clock_mhz()
    at = f" at {clock_mhz:.0f} MHz" if clock_mhz else ""
    if heat_c is None:
        return Finding("temperature", "ok", f"no sensor{at}")
    found = f"{heat_c:.1f} °C{at}"
    if heat_c >= HOT_C:
        return Finding("temperature", "warn", found, f"cool it: from {HOT_C} °C on a Raspberry Pi slows down")
    return Finding("temperature", "ok", found)


def power(board: Board) -> Finding:
    """Return whether a Raspberry Pi has had the voltage it needs, and has not been slowed down."""
    if (bits := board.throttled()) is None:
        if board.has("vcgencmd"):
            mend = "add this user to the group video (sudo usermod -aG video USER), and log in anew"
            return Finding("power", "warn", "unknown: vcgencmd gives no answer", mend)
        if board.is_pi():
            mend = "sudo apt install raspi-utils"
            return Finding("power", "warn", "unknown: no vcgencmd", mend)
        return Finding("power", "ok", board.model() or "not a Raspberry Pi: nothing to ask")
    now, before = throttle_words(bits)
    told = ([f"now: {', '.join(now)}"] if now else []) + ([f"since it started: {', '.join(before)}"] if before else [])
    if not told:
        return Finding("power", "ok", f"{board.model() or 'Raspberry Pi'}: never too little voltage, never slowed down")
    low = "under-voltage" in now + before
    mend = "use the board's own supply and a short cable, and unplug what it feeds over USB" if low else "cool it"
    return Finding("power", "warn", "; ".join(told), mend)


def clock(board: Board) -> Finding:
    """Return whether the clock is set by a time server: readings carry its time, certificates are checked by it."""
    mend = "sudo timedatectl set-ntp true, and see that the network lets NTP (UDP 123) through"
    known = board.synchronised()
    if known is None:
        return Finding("clock", "warn", "unknown whether a time server sets it", mend)
    if not known:
        return Finding("clock", "warn", "no time server sets it", mend)
    return Finding("clock", "ok", "set by a time server")


def disk(board: Board, written: Sequence[Path] = ()) -> Finding:
    """Return whether there is space, and leave to write, where something is `written`: files or folders, if any."""
    if not written:
        free_mb, read_only = _space(board.root)
        found = f"digitcam writes nothing; {board.root}: {free_mb:.0f} MB free"
        if read_only:
            mend = "if that is not meant, the card is worn out: replace it"
            return Finding("disk", "warn", f"{found}, its file system is read-only", mend)
        return Finding("disk", "ok", found)
    found_all = [_place(place) for place in written]
    return max(found_all, key=lambda finding: ("ok", "warn", "fail").index(finding.state))


def _place(place: Path) -> Finding:
    # A file or folder that is not there yet will be made.
    try:
        there = nearest(place.absolute())
    except PermissionError:
        return Finding("disk", "warn", f"{place}: this user may not look there", "sudo digitcam doctor")
    return judged_space(str(place), *_space(there), os.access(there, os.W_OK))


def _space(folder: Path) -> tuple[float, bool]:
    """Return how many MB are free, and whether the file system is read-only."""
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize / 1e6, bool(stat.f_flag & os.ST_RDONLY)


def judged_space(name: str, free_mb: float, read_only: bool, allowed: bool) -> Finding:
    """Return what to say of a place that is written to."""
    found, code = f"{name}: {free_mb:.0f} MB free", SinkError.exit_code
    if read_only:
        mend = "sudo mount -o remount,rw its file system; where that fails, the card is worn out: replace it"
        return Finding("disk", "fail", f"{found}, its file system is read-only", mend, code)
    if free_mb < 1:
        return Finding("disk", "fail", f"{found}: full", "delete what is not needed, or choose another disk", code)
    if not allowed:
        # The service has a user of its own, who may be allowed.
        mend = f"if digitcam runs as this user: sudo chown USER {name}"
        return Finding("disk", "warn", f"{found}, but this user may not write there", mend)
    if free_mb < DISK_MB:
        return Finding("disk", "warn", found, "delete what is not needed, or choose another disk")
    return Finding("disk", "ok", found)
