"""The boot partition of a Raspberry Pi OS card, as the workstation sees it: a FAT folder that is added to."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from digitcam.core.errors import ConfigError, SinkError
from digitcam.core.whole import write_file
from digitcam.flash import cloudinit
from digitcam.flash.payload import PAYLOAD, Payload

CLUSTER, SPARE = 16 * 1024, 16 * 2**20
"""Bytes a file's size is rounded up to, at most, on such a partition; and bytes that are left free for the system."""
_PSK = re.compile(r'("?password"?: *)\S.*')
_FORBIDDEN = frozenset('"*:<>?|\\')


class Settings(NamedTuple):
    """What else the Pi is told; None of it where Raspberry Pi Imager or nobody has.

    user_data
        Of cloud-init; None to leave what is there.
    wifi
        None to leave the network as it is there.
    secrets
        By their names in /etc/digitcam.
    packages
        Of apt, which the first boot fetches if the system has them not.
    """

    user_data: str | None = None
    wifi: cloudinit.Wifi | None = None
    secrets: Mapping[str, bytes] = {}
    packages: tuple[str, ...] = ()


def check_boot_folder(boot: Path) -> None:
    """Refuse what is not the boot partition of a 64-bit Raspberry Pi OS with cloud-init.

    Raises
    ------
    ConfigError
        Saying what it is not, or lacks.
    """
    if not boot.is_dir():
        raise ConfigError(f"{boot}: no such folder: give where the card's boot partition (bootfs) is mounted")
    if missing := next((name for name in ("config.txt", "cmdline.txt") if not (boot / name).is_file()), None):
        raise ConfigError(f"{boot}: has no {missing}: not the boot partition of Raspberry Pi OS: give that of the card")
    if (boot / "kernel7.img").exists():
        raise ConfigError(f"{boot}: a 32-bit system, for which there are no engines: write the 64-bit Raspberry Pi OS")
    if not (boot / "meta-data").is_file():
        mend = "write Raspberry Pi OS Trixie, of October 2025 or newer"
        raise ConfigError(f"{boot}: has no meta-data, so its system would not read what is put there: {mend}")


def plan(
    boot: Path, payload: Payload, folder: Path, settings: Settings, replace: bool = False
) -> dict[str, bytes | Path]:
    """Return what is to lie on the partition, by its path there, in the order of writing; a Path is a file to copy.

    Parameters
    ----------
    boot
        The partition.
    payload, folder
        What is to be installed, and where it is.
    replace
        Whether settings of somebody else in user-data and network-config go.

    Raises
    ------
    ConfigError
        When there are such settings and they would be lost.
    """
    # Nothing of ours is begun before `todo` is there, and nothing is read of cloud-init's before the next boot.
    files: dict[str, bytes | Path] = {}
    for path in (*payload.files, PAYLOAD):
        if set(path) & _FORBIDDEN or len(path.rpartition("/")[2]) > 255:
            raise ConfigError(f"{path}: a boot partition, which is FAT, takes no such name: rename the file")
        files[f"{cloudinit.FOLDER}/payload/{path}"] = folder / path
    ours: dict[str, bytes | Path] = {
        "first-boot.sh": Path(__file__).with_name("first-boot.sh"),
        "packages": "".join(f"{package}\n" for package in settings.packages).encode(),
        **{f"secrets/{name}": value for name, value in settings.secrets.items()},
        "todo": f"{payload.id}\n".encode(),
    }
    files |= {f"{cloudinit.FOLDER}/{name}": content for name, content in ours.items()}
    seed = {
        "user-data": settings.user_data,
        "network-config": settings.wifi and cloudinit.network_config(settings.wifi),
    }
    if not (boot / "user-data").exists():
        seed["user-data"] = settings.user_data or cloudinit.user_data(None, [], None, None)
    seed["vendor-data"] = cloudinit.vendor_data()
    for name, text in seed.items():
        if text is None:
            continue
        if not replace and not cloudinit.ours(_text(boot / name)):
            made = "Raspberry Pi Imager" if "rpi-imager" in _text(boot / "meta-data") else "somebody"
            mend = "leave them to it, or give --replace to have yours in their place"
            raise ConfigError(f"{boot / name}: {made} has put settings there: {mend}")
        files[name] = text.encode()
    instance = cloudinit.instance_id(*(_text(boot / name) if text is None else text for name, text in seed.items()))
    country = settings.wifi.country if settings.wifi else None
    files["cmdline.txt"] = cloudinit.command_line(_text(boot / "cmdline.txt"), instance, country).encode()
    files["meta-data"] = cloudinit.meta_data(instance).encode()
    return files


def write(boot: Path, files: Mapping[str, bytes | Path]) -> list[str]:
    """Write what is not there yet, and take away what an earlier payload left; return the paths that were written.

    Broken off and repeated, it goes on: each file is whole or not there, and those that are right are left alone.

    Raises
    ------
    SinkError
        When there is not enough room, before anything is written, or writing fails.
    """
    changed = [path for path, content in files.items() if not _same(boot / path, content)]
    ours = boot / cloudinit.FOLDER
    stale = [path for path in ours.rglob("*") if path.is_file() and path.relative_to(boot).as_posix() not in files]
    room = shutil.disk_usage(boot).free + sum(path.stat().st_size for path in stale)
    needed = sum(-(-_size(files[path]) // CLUSTER) * CLUSTER for path in changed) + SPARE
    if changed and needed > room:
        raise SinkError(f"{boot}: {needed / 1e6:.0f} MB are needed, {room / 1e6:.0f} MB are free: make room there")
    try:
        for old in stale:
            old.unlink()
        for path in changed:
            _put(boot / path, files[path])
    except OSError as error:
        raise SinkError(f"{error.filename or boot}: cannot write: {error.strerror}: do it again") from None
    return changed


def describe(boot: Path, files: Mapping[str, bytes | Path]) -> list[str]:
    """Return a line for each file that would be written, with the texts for cloud-init; nothing secret is in them."""
    lines = []
    for path, content in files.items():
        state = "as it is" if _same(boot / path, content) else "replaces" if (boot / path).exists() else "new"
        lines.append(f"{path}  {_size(content)} bytes, {state}")
        if "/" not in path and isinstance(content, bytes):
            text = _PSK.sub(r"\g<1>***", content.decode(errors="replace"))
            lines += [f"    {line}" for line in text.splitlines()]
    return lines


def _put(path: Path, content: bytes | Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, content if isinstance(content, bytes) else content.read_bytes())


def _same(path: Path, content: bytes | Path) -> bool:
    if not path.is_file() or path.stat().st_size != _size(content):
        return False
    data = content if isinstance(content, bytes) else content.read_bytes()
    return hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(data).digest()


def _size(content: bytes | Path) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
