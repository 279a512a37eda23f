"""Secrets, handed to a device apart from the payload."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from digitcam.core.errors import ConfigError
from digitcam.edge.secret import FOLDER
from digitcam.flash import secrets
from digitcam.flash.remote import Remote
from digitcam.flash.wish import Wish

if TYPE_CHECKING:
    from digitcam.edge.config import RunConfig


def gather_secrets(remote: Remote, config: RunConfig, wish: Wish, dry_run: bool) -> dict[str, bytes]:
    """Return the secrets to write: those given, those that lie here by the same path, those asked for."""
    wanted = {secret.name: secret for secret in secrets.wanted(config)}
    if unknown := sorted(set(wish.secrets) - set(wanted)):
        names = ", ".join(wanted) or "none"
        raise ConfigError(f"--secret {unknown[0]}: the configuration names {names}")
    found = {name: secrets.read_file(path, f"--secret {name}") for name, path in wish.secrets.items()}
    there = remote.secrets() if set(wanted) - set(found) else {}
    for name, secret in wanted.items():
        here = Path(FOLDER) / name
        if name in found or name in there:
            continue
        if here.is_file():
            found[name] = secrets.read_file(here, secret.key)
        elif dry_run:
            remote.note(f"  {secret.key} ({name}) would be asked for")
        elif secret.line and wish.ask and (value := wish.ask(f"{secret.key} ({name})")):
            found[name] = value.encode() + b"\n"
        else:
            raise ConfigError(f"{secret.key} is {name}, which the device has not: give it with --secret {name}=FILE")
    return found


def send_secrets(remote: Remote, values: Mapping[str, bytes]) -> list[str]:
    """Send the secrets that are others than those there, and return their names: a switch puts them in their place."""
    before = remote.secrets() if values else {}
    changed = [name for name, value in values.items() if before.get(name) != hashlib.sha256(value).hexdigest()]
    for name in changed:
        remote.note(f"sending {name} for /etc/digitcam")
        remote.put_secret(name, values[name])
    return changed
