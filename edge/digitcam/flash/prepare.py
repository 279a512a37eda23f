"""The payload for a device, made of its facts here in the cache of the workstation."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from digitcam.core.errors import ConfigError
from digitcam.flash.payload import CONFIG, Payload, build_payload, read_payload
from digitcam.flash.preflight import config_for, target_of
from digitcam.flash.remote import Json, Note, Remote
from digitcam.flash.wheels import cache_folder
from digitcam.flash.wish import Wish

if TYPE_CHECKING:
    from digitcam.edge.config import RunConfig

KEEP = 4
"""How many payloads are kept in the cache."""


def payload_cache() -> Path:
    """Return the folder of the payloads once made."""
    return cache_folder().parent / "payloads"


def config_text(remote: Remote, facts: Json, wish: Wish) -> bytes:
    """Return the configuration to flash: the one given, or the device's, or one for its camera."""
    given = wish.payload / CONFIG if wish.payload else wish.config
    if given:
        return given.read_bytes()
    if facts["current"] and (text := remote.read("/opt/digitcam/current/digitcam.toml")) is not None:
        remote.note("  keeping the device's configuration")
        return text
    try:
        return config_for(facts).encode()
    except ConfigError as error:
        raise ConfigError(f"{remote.ssh.host}: {error}") from None


def payload_for(facts: Json, config: RunConfig, file: Path, wish: Wish, note: Note) -> tuple[Path, Payload]:
    """Return a payload for a device, and its folder: the one given, or one made in the cache."""
    if wish.payload:
        payload = read_payload(wish.payload)
        for what in ("machine", "python"):
            if (wants := getattr(payload.requires, what)) != facts[what]:
                raise ConfigError(f"{wish.payload}: is for {what} {wants}, the device has {facts[what]}: make another")
        return wish.payload, payload
    target = target_of(facts, config, wish.system_packages, wish.numpy)
    model = str(wish.model)
    question = [model, file.read_text(), target, wish.engine, str(wish.wheels)]
    cache = payload_cache()
    folder = cache / hashlib.sha256(msgspec.json.encode(question)).hexdigest()[:16]
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache):
        note("making the payload")
        payload = build_payload(
            folder, model, file, target, wish.engine, wheels=wish.wheels, upgrade=wish.upgrade, replace=True, note=note
        )
        os.utime(folder)
        made = sorted((path for path in cache.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
        day_ago_s = time.time() - 86400
        for old in (path for path in made[:-KEEP] if path.stat().st_mtime < day_ago_s):
            shutil.rmtree(old)
    return folder, payload


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep others from making the same payload at the same time."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
