"""The steps of `digitcam flash`: look, build, send, install, switch, watch; each may be done again.

Nothing runs otherwise on the device before the switch, and from then on the device itself goes on or back, whatever
becomes of this process or the connection.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from digitcam.core.errors import ConfigError, DigitcamError, SinkError
from digitcam.core.every import every
from digitcam.flash.handover import gather_secrets, send_secrets
from digitcam.flash.payload import CONFIG, Payload
from digitcam.flash.preflight import check_room, look_at, settle
from digitcam.flash.prepare import config_text, payload_for
from digitcam.flash.remote import Json, Remote, RolledBackError
from digitcam.flash.wish import Wish, check_bundle, load

EVERY_S = 5.0
"""How often it is told how a trial goes."""


def flash(remote: Remote, wish: Wish, dry_run: bool = False) -> Json:
    """Flash a device and return what the installer says at the end, with the slot; every step is noted.

    Parameters
    ----------
    wish
        What `check_here` has nothing against.
    dry_run
        Whether only to say what would be done.

    Raises
    ------
    DigitcamError
        When a step fails: before the switch nothing that runs has changed; after it, the device has gone back.
    """
    note, host = remote.note, remote.ssh.host
    note("looking at the device")
    facts = remote.do("facts")
    text = config_text(remote, facts, wish)
    with tempfile.TemporaryDirectory(prefix="digitcam-") as scratch:
        file = Path(scratch) / CONFIG
        file.write_bytes(text)
        config = load(file, wish.config or f"{host}'s configuration")
        if wish.model:
            check_bundle(wish.model, config, wish.signers)
        looks = look_at(facts, config)
        for look in looks:
            note(look.line)
        settle([look._replace(what=f"{host}: {look.what}") for look in looks])
        values = gather_secrets(remote, config, wish, dry_run)
        folder, payload = payload_for(facts, config, file, wish, note)
    told = _offer(remote, facts, payload, folder, dry_run)
    if dry_run:
        names = ", ".join(values) or "none"
        note(f"would send {len(told['missing'])} of {len(payload.files)} files and these secrets: {names}")
        note(f"would install {payload.id}, digitcam {payload.digitcam} with {payload.model}, and switch to it on trial")
        return {"slot": payload.id, "dry_run": True}
    install(remote, payload, folder, told)
    return switch(remote, payload.id, wish.trial, send_secrets(remote, values))


def install(remote: Remote, payload: Payload, folder: Path, told: Json) -> None:
    """Send what is missing of a payload and make its slot; `told` is what the installer says is missing."""
    if told["ready"]:
        remote.note(f"{payload.id} is installed already")
        return
    deliver(remote, payload, folder, told["missing"])
    remote.note(f"installing {payload.id}: digitcam {payload.digitcam}, {payload.model}")
    remote.do("install", stdin=encode(payload))


def deliver(remote: Remote, payload: Payload, folder: Path, missing: Mapping[str, str]) -> None:
    """Send files until they are there whole; what comes damaged is sent once more.

    Raises
    ------
    SinkError
        When one comes damaged again.
    """
    for turn in ("sending", "sending again, as they came damaged:"):
        if not missing:
            return
        size = sum((folder / path).stat().st_size for path in missing)
        remote.note(f"{turn} {len(missing)} files, {size / 1e6:.1f} MB")
        remote.send({sha256: folder / path for path, sha256 in missing.items()})
        missing = remote.do("missing", stdin=encode(payload))["missing"]
    if missing:
        raise SinkError(f"{remote.ssh.host}: {min(missing)} came damaged twice: see to its card and its network")


def switch(remote: Remote, slot: str, trial: tuple[object, ...], secrets: Sequence[str] = ()) -> Json:
    """Have a slot run on trial, which the device watches itself; return what the installer says.

    Parameters
    ----------
    trial
        Options of the installer's switch.
    secrets
        The names of those that were sent for it.

    Raises
    ------
    RolledBackError
        When the device went back; its log is noted.
    """
    program, names = f"{remote.home}/slots/{slot}/install.py", [word for name in secrets for word in ("--secret", name)]
    remote.note(f"switching to {slot} and watching it")
    try:
        with _watched(remote):
            told = remote.do("switch", slot, *trial, *names, program=program)
    except RolledBackError as error:
        for line in error.told.get("log", []):
            remote.note(f"  its log: {line}")
        raise
    if not told.get("confirmed"):
        raise ConfigError(f"{remote.ssh.host}: {slot} was gone back from meanwhile: {told.get('reason', 'asked for')}")
    remote.note(f"{slot} {'has proved itself' if told['switched'] else 'runs already'}")
    return told


def encode(payload: Payload) -> bytes:
    """Return a payload's description as the installer reads it."""
    return msgspec.json.encode(payload)


def _offer(remote: Remote, facts: Json, payload: Payload, folder: Path, dry_run: bool) -> Json:
    """Return which files of a payload are missing there, once there is room for them."""
    told = remote.do("missing", stdin=encode(payload))
    if not told["ready"]:
        try:
            check_room(facts, payload, folder, told["missing"], told["twin"])
        except DigitcamError as error:
            raise type(error)(f"{remote.ssh.host}: {error}") from None
    return told


def _watched(remote: Remote) -> AbstractContextManager[None]:
    """Tell meanwhile how what runs does."""

    def tell() -> None:
        try:
            health = msgspec.json.decode(remote.read("/run/digitcam/health.json") or b"null")
        except (DigitcamError, msgspec.DecodeError):
            return
        if health:
            remote.note(f"  {health['frames']} frames, {health['accepted']} accepted")

    return every(EVERY_S, tell, "watch")
