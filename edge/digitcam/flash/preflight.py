"""What is looked at before anything changes on a device: each thing in a line, what is wrong with its mend."""

from __future__ import annotations

import re
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from digitcam.core.errors import ConfigError, DigitcamError, SinkError, SourceError
from digitcam.flash.payload import Payload
from digitcam.flash.target import MACHINES, PYTHONS, Target, target_for

if TYPE_CHECKING:
    from digitcam.edge.config import RunConfig

Json = dict[str, Any]

MEMORY_MB, DISK_MB, SPARE_MB = 200, 300, 20
"""The least memory a device has; the least room on its disk for a first flash, before it is known what is to be sent;
and what is left of it whatever comes."""
CLOCK_S, CLOCK_TLS_S = 60, 86400
"""How far a clock may be off before it is told, and before no certificate can be relied on."""
NO_CAMERAS = ("bcm2835-codec", "bcm2835-isp", "rpi-hevc-dec", "rpivid", "pispbe")
"""How the names of video nodes begin that are a Pi's codec or ISP, by its kernel (raspberrypi/linux, drivers/media and
drivers/staging; Documentation/admin-guide/media/bcm2835-isp.rst and raspberrypi-pisp-be.rst)."""
CSI = ("unicam", "rp1-cfe")
"""And those of what a CSI camera hangs on: there are such nodes only once its sensor has answered."""


class Look(NamedTuple):
    """One thing looked at: what was found, and what stops the flash, if it does."""

    what: str
    found: str
    error: DigitcamError | None = None

    @property
    def line(self) -> str:
        """The look in a line."""
        return f"  {'wrong' if self.error else 'ok':5}  {self.what}: {self.error or self.found}"


def look_at(facts: Json, config: RunConfig, now_s: float | None = None) -> list[Look]:
    """Return what the installer's facts mean for a configuration.

    Parameters
    ----------
    facts
        As `install.py facts` tells them.
    now_s
        This machine's clock, in seconds since 1970; None to ask it.
    """
    machine, python = facts["machine"], facts["python"]
    mend = ": put a 64-bit system on it" if machine in ("armv6l", "armv7l", "i686") else ""
    looks = [
        _look("architecture", machine, machine not in MACHINES, f"{machine}, for which there are no engines{mend}"),
        _look("Python", python, python not in PYTHONS, f"{python}: digitcam runs on {PYTHONS[0]} to {PYTHONS[-1]}"),
        _look("systemd", str(facts["systemd"]), not facts["systemd"], "there is none: it has to run the service"),
    ]
    memory, disk = facts["memory_mb"], facts["disk_free_mb"]
    looks.append(_look("memory", f"{memory} MB", memory < MEMORY_MB, f"{memory} MB, {MEMORY_MB} MB are needed"))
    # Where there is a slot already, another one may share nearly all with it.
    looks.append(_disk(disk, SPARE_MB if facts["current"] else DISK_MB))
    return [*looks, _clock(facts, config, time.time() if now_s is None else now_s), _camera(facts, config)]


def settle(looks: list[Look]) -> None:
    """Raise what is wrong, if anything is: the first, as its exit code is the command's."""
    if wrong := [look for look in looks if look.error]:
        first = wrong[0]
        more = f" (and {len(wrong) - 1} more, see above)" if len(wrong) > 1 else ""
        raise type(first.error or ConfigError())(f"{first.what}: {first.error}{more}: nothing was changed")


def check_room(facts: Json, payload: Payload, folder: Path, missing: Mapping[str, str], shared: bool = False) -> None:
    """Refuse a payload for which there is no room: what is to be sent, the slot's copy of it, its wheels unpacked.

    Parameters
    ----------
    missing
        SHA-256 of what is to be sent, by its path in the payload's folder.
    shared
        Whether a slot there has the same wheels, so that the new one gets them by hard links.

    Raises
    ------
    SinkError
        With how much is needed and how much is free.
    """
    need = sum((folder / path).stat().st_size for path in missing)
    for path in payload.files:
        file = folder / path
        if not file.exists() or (shared and path.startswith("wheels/")):
            continue
        need += file.stat().st_size
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                need += int(1.3 * sum(info.file_size for info in archive.infolist()))
    settle([_disk(facts["disk_free_mb"], need // 10**6 + SPARE_MB)])


def target_of(facts: Json, config: RunConfig, system_packages: bool | None, numpy: str | None) -> Target:
    """Return what wheels have to suit on a device.

    Raises
    ------
    ConfigError
        When there are none for it.
    """
    glibc = re.fullmatch(r"2\.(\d+)", facts["glibc"] or "")
    known = {"glibc": int(glibc[1])} if glibc else {}
    if config.source.startswith("picamera2:"):
        numpy = numpy or facts["numpy"]
    return target_for(config, facts["machine"], facts["python"], system_packages, numpy, **known)


def config_for(facts: Json) -> str:
    """Return a configuration for a device that nobody gave one for: its own camera, all else left out.

    Raises
    ------
    ConfigError
        When it is not plain which camera is meant.
    """
    cameras = _cameras(facts)
    if facts["picamera2"] and any(name.startswith(CSI) for name in cameras.values()):
        return 'source = "picamera2://0"\n'
    names = ", ".join(f"/dev/{node} ({name})" for node, name in sorted(cameras.items())) or "none"
    raise ConfigError(f"which camera to read is not plain, there are: {names}: say it with --config, see edge/configs/")


def _look(what: str, found: str, wrong: bool, why: str) -> Look:
    return Look(what, found, ConfigError(why) if wrong else None)


def _disk(free_mb: int, need_mb: int) -> Look:
    short = SinkError(f"{free_mb} MB are free, {need_mb} MB are needed: make room") if free_mb < need_mb else None
    return Look("disk", f"{free_mb} MB free", short)


def _clock(facts: Json, config: RunConfig, now_s: float) -> Look:
    off_s = facts["clock"]["unix_s"] - now_s
    told = f"{abs(off_s):.0f} s {'ahead of' if off_s > 0 else 'behind'} this machine's"
    if abs(off_s) > CLOCK_TLS_S and config.mqtt and config.mqtt.tls:
        mend = "certificates will not hold: set it (timedatectl set-ntp true)"
        return Look("clock", told, ConfigError(f"{told}: {mend}"))
    if abs(off_s) <= CLOCK_S:
        return Look("clock", "right")
    return Look("clock", f"{told}; readings will carry its time")


def _cameras(facts: Json) -> dict[str, str]:
    return {node: name for node, name in facts["cameras"].items() if not name.startswith(NO_CAMERAS)}


def _camera(facts: Json, config: RunConfig) -> Look:
    scheme, cameras = config.source.partition(":")[0], _cameras(facts)
    named = ", ".join(f"{node} ({name})" for node, name in sorted(cameras.items())) or "none"
    if scheme == "picamera2":
        if not facts["picamera2"]:
            mend = "apt install --no-install-recommends python3-picamera2"
            return Look("camera", "", ConfigError(f"{config.source} needs picamera2: {mend}"))
        if not cameras:
            return Look("camera", "", SourceError("none is found: see its cable, and rpicam-hello --list-cameras"))
    node = re.match(r"v4l2:(?://)?/dev/(video\d+)\b", config.source)
    if node and node[1] not in cameras:
        return Look("camera", "", SourceError(f"/dev/{node[1]} is none; there are: {named}: mend source"))
    return Look("camera", named if scheme in ("picamera2", "v4l2") else f"source is of kind {scheme}:, not looked at")
