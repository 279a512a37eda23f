"""The installer on a device: makes slots, switches between them, watches a new one, goes back when it does not read.

One file of the standard library alone: it is copied, as install.py, onto devices on which nothing else is yet, and runs
there as root. What it does is `--help`; JSON goes to standard output, errors to standard error in one line.

Power may go at any moment. So each task is a row of named steps, each of which may be done again; what is relied on is
on the disk before what relies on it; and `trial.json`, written before the first change to what runs, says until the
last one what is under way: whoever finds it, the same command or digitcam-trial.service at the next boot, goes on with
it. A slot counts only with its `ready`, written last. Who switches also watches, in one process that no broken
connection ends. Secrets are sent as `.NAME.new`, and come and go with the slot they were sent for. Exit codes are those
of `core.errors`: 2 usage, configuration or system, 3 model, or a process that crashed or took too much memory, 4 no
frames, 5 broker or disk.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

Json = dict[str, Any]
Steps = dict[str, Callable[[], object]]

SCHEMA = 1
SERVICE, TRIAL_SERVICE = "digitcam.service", "digitcam-trial.service"
UNITS = (SERVICE, TRIAL_SERVICE)
USAGE, MODEL, SOURCE, SINK = 2, 3, 4, 5
MANUAL = "manual"
"""In place of a slot before: a digitcam that was installed by hand, as the README tells."""
TRIES = 3
"""How many boots a trial may take: a slot that takes the device down with it is not tried for ever."""
WINDOW_S, START_S = 60.0, 110.0
"""How long a new slot is watched, and how long it may take to its first frame (systemd gives it 120 s)."""
FRESH_S = 10.0
"""How old the newest frame and health.json, which is written every 2 s, may be."""
POLL_S = 0.5
LOG_LINES = 20
ROOM_BYTES = 20_000_000
"""What must be left on the disk once a slot is made."""
SECRET = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?<!\.toml)")
SIGNERS, CARD, SIGNATURE = "allowed_signers", "model/card.json", "model/card.json.sig"
"""Who may sign a bundle, where that is in /etc/digitcam; and what they sign, as `edge.signature` has it."""
DROP_IN = """# Written by digitcam's installer.
[Service]
ExecStart=
ExecStart=/opt/digitcam/current/venv/bin/digitcam run --config /opt/digitcam/current/digitcam.toml \
--model /opt/digitcam/current/model
LoadCredential=
"""


class Failure(Exception):  # noqa: N818 - what a user sees is its text
    """What cannot be done, in one line, and the exit code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Device:
    """Where everything lies; `root` is / but for tests."""

    def __init__(self, root: Path) -> None:
        self.root, self.home = root, root / "opt/digitcam"
        self.slots, self.incoming = self.home / "slots", self.home / "incoming"
        self.current, self.previous = self.home / "current", self.home / "previous"
        self.trial, self.failed = self.home / "trial.json", self.home / "failed.json"
        self.manual_unit = self.home / "manual.service"
        self.units, self.secrets = root / "etc/systemd/system", root / "etc/digitcam"
        self.drop_in = self.units / f"{SERVICE}.d" / "flash.conf"
        self.health = root / "run/digitcam/health.json"
        # Of a card that boots into digitcam.
        self.first_boot, self.first_log = root / "boot/firmware/digitcam", root / "boot/firmware/digitcam-log.txt"

    def slot_at(self, link: Path) -> str | None:
        """Return the slot that `current` or `previous` names; None where there is no such link."""
        return link.readlink().name if link.is_symlink() else None

    def ready(self, slot: str) -> bool:
        """Return whether a slot is whole."""
        return (self.slots / slot / "ready").is_file()

    def journal(self) -> Json | None:
        """Return what is under way, as `trial.json` has it."""
        return read_json(self.trial)


# Files that survive a power cut


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, each on the disk."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir()
        sync_folder(folder.parent)


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; one that holds this already is left alone."""
    if path.is_file() and not path.is_symlink() and path.read_bytes() == content:
        sync_folder(path.parent)  # the try that wrote it may not have come so far
        return
    make_folder(path.parent)
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)  # noqa: PTH105 - as in the comments of this file: a rename
    sync_folder(path.parent)


def write_json(path: Path, value: Json) -> None:
    """Write JSON whole or not at all."""
    write(path, (json.dumps(value, indent=2) + "\n").encode())


def read_json(path: Path) -> Json | None:
    """Return what a JSON file holds; None where there is none."""
    try:
        value: Json = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Failure(USAGE, f"{path}: not JSON: {error}: remove it") from None
    return value


def point(link: Path, slot: str) -> None:
    """Have a link name a slot, in one step."""
    part = link.with_name(f".{link.name}.part")
    part.unlink(missing_ok=True)
    part.symlink_to(Path("slots") / slot)
    os.replace(part, link)  # noqa: PTH105
    sync_folder(link.parent)


def erase(path: Path) -> None:
    """Remove a file, link or folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        # A slot broken off here must not look whole.
        if (path / "ready").exists():
            (path / "ready").unlink()
            sync_folder(path)
        shutil.rmtree(path)
    elif path.is_symlink() or path.exists():
        path.unlink()
    if path.parent.is_dir():
        sync_folder(path.parent)


@contextmanager
def locked(device: Device) -> Iterator[None]:
    """Keep other installers away; the lock is on the folder /opt, so that nothing is left of it, and ends with us."""
    where = device.root / "opt"
    make_folder(where)
    handle = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Failure(USAGE, "another installer is at work on this device: wait until it has ended") from None
    finally:
        os.close(handle)


# Programs


def run(
    *command: object,
    code: int = USAGE,
    timeout_s: float = 1800,
    env: dict[str, str] | None = None,
    stdin: Path = Path(os.devnull),
) -> str:
    """Return what a program says; Failure with its last line when it fails, and its own code if that is 2 to 5."""
    words = [str(word) for word in command]
    try:
        with stdin.open("rb") as given:
            done = subprocess.run(
                words,
                stdin=given,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
                env={**os.environ, **(env or {})},
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(code, f"{Path(words[0]).name}: {error}") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no word why").splitlines()[-1]
        own = done.returncode if USAGE <= done.returncode <= SINK and Path(words[0]).name == "digitcam" else code
        raise Failure(own, f"{' '.join([Path(words[0]).name, *words[1:3]])}: {last.removeprefix('digitcam: ')}")
    return done.stdout


def systemctl(*words: str, may_fail: bool = False) -> str:
    """Ask systemd for something."""
    try:
        return run("systemctl", *words, timeout_s=180)
    except Failure:
        if not may_fail:
            raise
        return ""


def restart() -> None:
    """Start the service anew, with its count of restarts at 0; does not wait for its first frame."""
    systemctl("stop", SERVICE)
    systemctl("reset-failed", SERVICE, may_fail=True)
    systemctl("start", "--no-block", SERVICE)


def unit_state() -> dict[str, str]:
    """Return how the service is, as systemd has it."""
    names = ("ActiveState", "SubState", "MainPID", "NRestarts", "ExecMainCode", "ExecMainStatus", "Result")
    told = systemctl("show", *(word for name in names for word in ("-p", name)), SERVICE, may_fail=True)
    return dict(line.split("=", 1) for line in told.splitlines() if "=" in line)


def last_log() -> list[str]:
    """Return the last lines of the service's log."""
    with suppress(Failure):
        last = ("--lines", LOG_LINES, "--output", "cat", "--no-pager")
        return run("journalctl", "--unit", SERVICE, *last, timeout_s=30).splitlines()
    return []


# Tasks: rows of steps, each of which may be done again


def done(step: str) -> None:
    """Take note that a step is done, as `switch link`."""
    tell(step)


def tell(line: str) -> None:
    """Say how it goes, to whom asked for it."""
    if PROGRESS:
        with suppress(OSError):  # nobody listens any more: the task goes on
            print(f"step {line}", file=sys.stderr, flush=True)


PROGRESS = False


def perform(task: str, steps: Steps, *only: str) -> None:
    """Do a task's steps in their order, or only those named."""
    for name, act in steps.items():
        if not only or name in only:
            act()
            done(f"{task} {name}")


def install_steps(device: Device, payload: Json, find: Callable[[str], Path]) -> Steps:
    """Make a slot of a payload, which `find` gives file by file; nothing that runs is touched."""
    slot = device.slots / payload["id"]
    python, command, pip_env = slot / "venv/bin/python", slot / "venv/bin/digitcam", {"PIP_CONFIG_FILE": os.devnull}

    def placed() -> dict[str, str]:
        files: dict[str, str] = payload["files"]
        # A twin's environment is made of the same wheels already.
        twin = twin_of(device, payload)
        return {path: sha256 for path, sha256 in files.items() if not (twin and path.startswith("wheels/"))}

    def clear() -> None:
        import zipfile

        erase(slot)
        sources = {path: find(path) for path in placed()}
        need = ROOM_BYTES + sum(source.stat().st_size for source in sources.values())
        for source in filter(zipfile.is_zipfile, (source for path, source in sources.items() if path.endswith(".whl"))):
            need += int(1.3 * sum(info.file_size for info in zipfile.ZipFile(source).infolist()))
        make_folder(device.slots)
        if (free := shutil.disk_usage(device.slots).free) < need:
            raise Failure(SINK, f"{slot}: needs {need // 10**6} MB, {free // 10**6} MB are free: make room")

    def place() -> None:
        for path, sha256 in placed().items():
            content = find(path).read_bytes()
            if hashlib.sha256(content).hexdigest() != sha256:
                raise damaged(path)
            (slot / path).parent.mkdir(parents=True, exist_ok=True)
            (slot / path).write_bytes(content)
        write_json(slot / "payload.json", payload)

    def venv() -> None:
        if twin := twin_of(device, payload):
            copy_venv(twin, slot)
            return
        sees = ["--system-site-packages"] if payload["requires"]["system_packages"] else []
        run(sys.executable, "-m", "venv", "--without-pip", *sees, slot / "venv")

    def packages() -> None:
        if command.exists():
            erase(slot / "wheels")
            return
        # Just the pinned wheels, whatever the system has. By the payload's own pip, the system's, or that of ensurepip,
        # which Debian parts from venv.
        if own := sorted((slot / "wheels").glob("pip-*.whl")):
            pip: list[object] = [python, f"{own[-1]}/pip"]
        elif importlib.util.find_spec("pip"):
            pip = [sys.executable, "-m", "pip", "--python", python]
        else:
            run(python, "-m", "ensurepip", env=pip_env)
            pip = [python, "-m", "pip"]
        options = "install --quiet --no-input --no-cache-dir --disable-pip-version-check --no-index --no-deps"
        pins = ("--ignore-installed", "--find-links", slot / "wheels", "-r", slot / "requirements.txt")
        run(*pip, *options.split(), *pins, env=pip_env)
        erase(slot / "wheels")

    def selftest() -> None:
        for line in run(command, "selftest", slot / "model", code=MODEL).splitlines():
            tell(line)

    config = ("--config", slot / "digitcam.toml", "--model", slot / "model")
    return {
        "clear": clear,
        "place": place,
        "venv": venv,
        "packages": packages,
        "selftest": selftest,
        "check": lambda: run(command, "run", "--check", *config),
        "sync": os.sync,  # thousands of files, so not one by one
        "seal": lambda: write(slot / "ready", b""),
    }


def twin_of(device: Device, payload: Json) -> Path | None:
    """Return a whole slot with the same wheels, as when the bundle alone is another; None where there is none."""

    def wheels(payload: Json) -> tuple[Json, Json]:
        files = payload["files"].items()
        return payload["requires"], {path: sha256 for path, sha256 in files if re.match("wheels/|requirements", path)}

    for slot in sorted(name for name in folder_names(device.slots) if device.ready(name)):
        found = read_json(device.slots / slot / "payload.json")
        if found and wheels(found) == wheels(payload):
            return device.slots / slot
    return None


def copy_venv(old: Path, new: Path) -> None:
    """Give a slot the environment of another one by hard links; what holds its path is written anew."""
    shutil.copytree(old / "venv", new / "venv", symlinks=True, copy_function=os.link)
    for path in (new / "venv/pyvenv.cfg", *(new / "venv/bin").iterdir()):
        if path.is_file() and not path.is_symlink():
            content, mode = path.read_bytes().replace(bytes(old), bytes(new)), path.stat().st_mode
            path.unlink()  # else the old one would change as well
            path.write_bytes(content)
            path.chmod(mode)


def switch_steps(device: Device, journal: Json) -> Steps:
    """Have the service run another slot, or the same with other secrets, on trial."""
    slot, service = journal["slot"], device.units / SERVICE

    def keep() -> None:
        # This file, where digitcam-trial.service finds it, and the unit of a digitcam installed by hand.
        write(device.home / "install.py", Path(__file__).read_bytes())
        if journal["before"] == MANUAL and not device.drop_in.exists():
            write(device.manual_unit, service.read_bytes())

    def units() -> None:
        place_secrets(device, journal["secrets"])
        write_units(device, slot)

    def enable() -> None:
        systemctl("daemon-reload")
        systemctl("enable", *UNITS)
        os.sync()  # systemctl's links too

    return {
        "keep": keep,
        "intend": lambda: write_json(device.trial, journal),
        "units": units,
        "enable": enable,
        "link": lambda: point(device.current, slot),
        "start": restart,
    }


def confirm_steps(device: Device, journal: Json) -> Steps:
    """Keep a slot that has proved itself, and the one before it; older ones go."""

    def link() -> None:
        if journal["before"] not in (None, MANUAL, journal["slot"]):
            point(device.previous, journal["before"])

    def prune() -> None:
        prune_slots(device)
        for name in journal["secrets"]:
            erase(device.secrets / f".{name}.old")
        # What this one was made of spares sending it again.
        used = (read_json(device.current / "payload.json") or {}).get("files", {}).values()
        for name in folder_names(device.incoming) - set(used):
            erase(device.incoming / name)

    def forget() -> None:
        erase(device.manual_unit)
        # What a first boot has not achieved is not to be tried over what reads.
        erase(device.first_boot / "todo")

    return {"link": link, "prune": prune, "settle": lambda: erase(device.trial), "forget": forget}


def prune_slots(device: Device) -> None:
    """Erase all slots but the one that runs, the one before it, and, of those made since, the newest."""
    current = device.slot_at(device.current)
    kept = {current, device.slot_at(device.previous)}
    made_ns = {
        slot: (device.slots / slot / "ready").stat().st_mtime_ns
        for slot in folder_names(device.slots)
        if device.ready(slot)
    }
    since_ns = made_ns.get(current or "", 0)
    later = sorted((ns, slot) for slot, ns in made_ns.items() if ns > since_ns and slot not in kept)
    for slot in folder_names(device.slots) - kept - {slot for _, slot in later[-1:]}:
        erase(device.slots / slot)


def return_steps(device: Device, journal: Json) -> Steps:
    """Go back to what ran before; `returning` in the journal says why, and code 0 that somebody asked for it."""
    before, why = journal["before"], journal["returning"]

    def units() -> None:
        secrets_back(device, journal.get("secrets", []))
        if before == MANUAL:
            write(device.units / SERVICE, device.manual_unit.read_bytes())
            erase(device.drop_in)
            if not folder_names(device.drop_in.parent):
                erase(device.drop_in.parent)
        elif before:
            write_units(device, before)
        systemctl("daemon-reload")

    def link() -> None:
        if before in (None, MANUAL):
            erase(device.current)
            return
        if journal.get("swap"):
            point(device.previous, journal["slot"])
        point(device.current, before)

    def start() -> None:
        if before:
            restart()
        else:
            systemctl("disable", *UNITS)
            systemctl("stop", SERVICE)

    def settle() -> None:
        prune_slots(device)
        erase(device.trial)

    return {
        "intend": lambda: write_json(device.trial, journal),
        "tell": lambda: write_json(device.failed, why) if why["code"] else None,
        "units": units,
        "link": link,
        "start": start,
        "settle": settle,
    }


def remove_steps(device: Device) -> Steps:
    """Leave nothing."""

    def stop() -> None:
        for unit in reversed(UNITS):
            systemctl("disable", "--now", unit, may_fail=True)

    def units() -> None:
        for unit in UNITS:
            erase(device.units / unit)
            erase(device.units / f"{unit}.d")
        systemctl("daemon-reload")
        systemctl("reset-failed", *UNITS, may_fail=True)

    def folders() -> None:
        # With DynamicUser= the first of each two is a link to the second.
        for name in ("run/digitcam", "run/private/digitcam", "var/lib/digitcam", "var/lib/private/digitcam"):
            erase(device.root / name)
        for path in (device.first_boot, device.first_log, device.secrets, device.home):
            erase(path)

    return {"stop": stop, "units": units, "folders": folders}


def place_secrets(device: Device, names: list[str]) -> None:
    """Put secrets that were sent, as `.NAME.new`, in their place; those before are kept as `.NAME.old`."""
    for name in names:
        new, secret, old = (device.secrets / text for text in (f".{name}.new", name, f".{name}.old"))
        if new.exists():
            if secret.exists() and not old.exists():
                os.link(secret, old)
            os.replace(new, secret)  # noqa: PTH105
    if names:
        sync_folder(device.secrets)


def secrets_back(device: Device, names: list[str]) -> None:
    """Put the secrets before in their place again."""
    for name in names:
        old = device.secrets / f".{name}.old"
        if old.exists():
            os.replace(old, device.secrets / name)  # noqa: PTH105
            tell(f"the former {name} came back")
    if names:
        sync_folder(device.secrets)


def write_units(device: Device, slot: str) -> None:
    """Write a slot's units; a drop-in has the service run from `current`, with the secrets that there are."""
    names = sorted(name for name in folder_names(device.secrets) if SECRET.fullmatch(name))
    secrets = "".join(f"LoadCredential={name}:/etc/digitcam/{name}\n" for name in names)
    # The drop-in first: a unit without one was installed by hand.
    write(device.drop_in, (DROP_IN + secrets).encode())
    for unit in UNITS:
        write(device.units / unit, (device.slots / slot / unit).read_bytes())


def folder_names(folder: Path) -> set[str]:
    """Return the names in a folder; none where there is none."""
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


# The health of what runs


def read_health(device: Device, pid: str) -> Json | None:
    """Return what the service's process said last of itself; None when it has not, or not for long."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        health: Json = json.loads(device.health.read_bytes())
        # Both by the clock that nobody sets: a device may learn the time of day just now.
        if str(health["pid"]) == pid and time.monotonic() - health["at_s"] <= FRESH_S:
            return health
    return None


def resident_mb(pid: str) -> float:
    """Return what a process holds of the memory, in 10^6 bytes; 0 when there is none."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return 0.0


def runs(slot: str, pid: str) -> bool:
    """Return whether a process is a slot's: its command was started by the slot's Python."""
    with suppress(OSError):
        return f"/slots/{slot}/".encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def watch(device: Device, slot: str, asks: Json) -> Failure | None:
    """Watch the service run a slot for its window; return what it lacks."""
    begun_s, since_s, pid, first = time.monotonic(), None, "0", None
    while True:
        state, now_s = unit_state(), time.monotonic()
        pid = pid if pid != "0" else state.get("MainPID", "0")
        if (
            state.get("NRestarts", "0") != "0"
            or state.get("ActiveState") == "failed"
            or state.get("MainPID", "0") != pid
        ):
            return ended(state)
        if (memory_mb := resident_mb(pid)) > asks["memory_mb"]:
            return Failure(MODEL, f"it takes {memory_mb:.0f} MB of memory, {asks['memory_mb']:.0f} MB are allowed")
        health = read_health(device, pid)
        if since_s is None and health and state.get("ActiveState") == "active" and runs(slot, pid):
            since_s, first = now_s, health
        if first is None and now_s - begun_s > asks["start_s"]:
            return Failure(SOURCE, f"it has not read a first frame in {asks['start_s']:.0f} s")
        if since_s is not None and first and now_s - since_s >= asks["window_s"]:
            return lacking(first, health, asks)
        time.sleep(POLL_S)


def ended(state: dict[str, str]) -> Failure:
    """Return how the service's process ended, with its own exit code where that says what failed."""
    status = int(state.get("ExecMainStatus") or 0)
    how = f"with exit code {status}" if state.get("ExecMainCode") == "1" else f"by signal {status}" if status else ""
    own = state.get("ExecMainCode") == "1" and USAGE <= status <= SINK
    return Failure(status if own else MODEL, f"its process ended {how or '(' + state.get('Result', 'unknown') + ')'}")


def lacking(first: Json, last: Json | None, asks: Json) -> Failure | None:
    """Return what a run lacks at the end of its window; None when nothing."""
    if last is None:
        return Failure(MODEL, f"it has not said how it does for {FRESH_S:.0f} s")
    age_s = last["since_frame_s"]
    if asks["frames"] and (last["frames"] <= first["frames"] or age_s is None or age_s > FRESH_S):
        return Failure(SOURCE, f"no fresh frames: {last['frames']} in all, the newest {age_s} s old")
    if last["broker"] is False:
        return Failure(SINK, "the broker is not connected")
    if asks["reading"] and not last["accepted"]:
        why = ", ".join(f"{reason} {count}" for reason, count in sorted(last["rejected"].items()))
        return Failure(MODEL, f"none of {last['frames']} frames gave a reading that is accepted ({why})")
    return None


# What is asked for


def read_payload(text: str | bytes) -> Json:
    """Return a payload's description; Failure when it is none, or names files outside its folder."""
    try:
        payload: Json = json.loads(text)
        files, requires = payload["files"], payload["requires"]
        lines = sorted(f"{sha256}  {path}\n" for path, sha256 in files.items())
        good = payload["schema"] == SCHEMA and set(requires) == {"machine", "python", "system_packages"}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failure(USAGE, f"payload.json: not a payload's: {error!r}") from None
    for path, sha256 in files.items():
        names = path.split("/")
        # No "..", no folder of the slot's own, nothing hidden.
        if names[0] in ("venv", "ready", "payload.json") or not re.fullmatch("[0-9a-f]{64}", sha256):
            good = False
        good &= all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+!-]*", name) is not None for name in names)
    if not good or payload["id"] != hashlib.sha256("".join(lines).encode()).hexdigest()[:12]:
        raise Failure(USAGE, "payload.json: schema, a file's path or the id is not as it should be: send it again")
    if needed := {"requirements.txt", "digitcam.toml", *UNITS, CARD} - set(files):
        raise Failure(USAGE, f"payload.json: names no {', '.join(sorted(needed))}")
    return payload


def damaged(path: str) -> Failure:
    """Return what to say of a payload's file that is not what it should be."""
    return Failure(MODEL if path.startswith("model/") else USAGE, f"{path} is damaged or missing: send it again")


def whole(path: Path, sha256: str) -> bool:
    """Return whether a file is there, a plain one, and has this SHA-256."""
    return path.is_file() and not path.is_symlink() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def missing(device: Device, payload: Json) -> Json:
    """Return which files have not come whole yet, one path for each content."""
    wanted = {sha256: path for path, sha256 in payload["files"].items()}
    absent = {path: sha256 for sha256, path in wanted.items() if not whole(device.incoming / sha256, sha256)}
    told = {"id": payload["id"], "ready": device.ready(payload["id"]), "missing": absent}
    return {**told, "twin": twin_of(device, payload) is not None}


def install(device: Device, folder: Path | None) -> Json:
    """Make a payload's slot, unless it is there; Failure before anything is changed when it does not fit."""
    payload = read_payload((folder / "payload.json").read_bytes() if folder else sys.stdin.read())
    slot, here = payload["id"], {"machine": platform.machine(), "python": "{}.{}".format(*sys.version_info)}
    for what, found in here.items():
        if (wants := payload["requires"][what]) != found:
            raise Failure(USAGE, f"the payload is for {what} {wants}, this device has {found}: make it for this one")
    if device.ready(slot):
        return {"slot": slot, "installed": False}

    def find(path: str) -> Path:
        return folder / path if folder else device.incoming / str(payload["files"][path])

    for path, sha256 in payload["files"].items():
        if not whole(find(path), sha256):
            raise damaged(path)
    check_signature(device, payload, find)
    try:
        perform("install", install_steps(device, payload, find))
    except (Failure, OSError):
        erase(device.slots / slot)
        raise
    return {"slot": slot, "installed": True}


def check_signature(device: Device, payload: Json, find: Callable[[str], Path]) -> None:
    """Refuse a bundle that none of the device's allowed signers has signed, whatever its own configuration says."""
    signers = device.secrets / SIGNERS
    if not signers.exists():
        return
    if SIGNATURE not in payload["files"]:
        raise Failure(MODEL, f"the bundle is not signed, and {signers} names who must: digitcam bundle sign")
    # The signature vouches for the card, and the card for the other files.
    vouched = json.loads(find(CARD).read_bytes()).get("files", {})
    for path, sha256 in payload["files"].items():
        if path.startswith("model/") and path not in (CARD, SIGNATURE) and vouched.get(path[6:]) != sha256:
            raise Failure(MODEL, f"{path} is not the one that the bundle's card vouches for: make the payload anew")
    where, why = ("-f", signers, "-s", find(SIGNATURE)), ""
    try:
        # One key may stand there under several names; the first that may sign for us will do.
        for name in run("ssh-keygen", "-Y", "find-principals", *where).splitlines():
            try:
                run("ssh-keygen", "-Y", "verify", "-n", "digitcam", "-I", name, *where, stdin=find(CARD))
            except Failure as failure:
                why = why or str(failure)
            else:
                return
    except Failure as failure:
        why = str(failure)
    raise Failure(MODEL, f"the bundle is not signed as {signers} asks: {why}: have it signed anew")


def switch(device: Device, slot: str, given: argparse.Namespace) -> Json:
    """Have a slot run, watch it, and keep it or go back; one that runs already, and has proved itself, goes on."""
    if not re.fullmatch("[0-9a-f]{12}", slot) or not device.ready(slot):
        raise Failure(USAGE, f"{slot}: no such slot, or not a whole one: install it first")
    if wrong := [name for name in given.secret if not SECRET.fullmatch(name)]:
        raise Failure(USAGE, f"--secret {wrong[0]}: name it with letters, digits, '-', '_' and '.'")
    under_way, went_back = device.journal(), False
    if under_way and ("returning" in under_way or under_way["before"] == slot != under_way["slot"]):
        # Gone back from already, or the slot that has proved itself is asked for while another is on trial.
        why = {"slot": under_way["slot"], "before": under_way["before"], "code": 0, "reason": "another switch"}
        perform("return", return_steps(device, {"returning": why, **under_way}))
        under_way, went_back = None, True
    current = device.slot_at(device.current)
    if (read_json(device.failed) or {}).get("slot") == slot:
        erase(device.failed)  # it is tried once more
    if current == slot and not under_way and not given.secret:
        return {"slot": slot, "switched": went_back, "confirmed": True}
    if under_way:
        # A slot that has not proved itself is none to go back to.
        before, reading = under_way["before"], under_way["asks"]["reading"]
    else:
        by_hand = (device.units / SERVICE).exists() and not device.drop_in.exists()
        before = current or (MANUAL if by_hand else None)
        health = read_health(device, unit_state().get("MainPID", "0"))
        reading = bool(health and health["accepted"]) if current else True
    asks = {"window_s": given.window, "start_s": given.start, "memory_mb": given.memory_mb or total_memory_mb() / 2}
    asks |= {"frames": not given.no_frames_needed, "reading": reading and not given.no_reading_needed}
    secrets = sorted({*given.secret, *(under_way or {}).get("secrets", [])})
    journal = {"schema": SCHEMA, "slot": slot, "before": before, "boots": 0, "asks": asks, "secrets": secrets}
    perform("switch", switch_steps(device, journal))
    return {**trial(device, slot, started=True), "before": before, "switched": True}


def trial(device: Device, slot: str | None, started: bool = False) -> Json:
    """Watch what was switched to, and keep it or go back; Failure with the reason in the latter case."""
    journal, current = device.journal(), device.slot_at(device.current)
    if journal is None:
        if slot and (failed := read_json(device.failed)) and failed["slot"] == slot:
            raise Failed(failed)
        if slot and slot != current:
            raise Failure(USAGE, f"{slot} is not what runs: it was never switched to")
        return {"slot": current, "confirmed": current is not None}
    if "returning" not in journal:
        state = unit_state()
        other = state.get("MainPID", "0") != "0" and not runs(journal["slot"], state["MainPID"])
        if not started and (other or state.get("ActiveState") == "inactive"):
            # The switch was broken off.
            perform("switch", switch_steps(device, journal), "units", "enable", "link", "start")
        if failure := watch(device, journal["slot"], journal["asks"]):
            go_back(device, journal, failure)
        perform("confirm", confirm_steps(device, journal))
        return {"slot": journal["slot"], "confirmed": True}
    perform("return", return_steps(device, journal))
    if journal["returning"]["code"]:
        raise Failed(journal["returning"])
    return {"slot": device.slot_at(device.current), "confirmed": False, "reason": journal["returning"]["reason"]}


class Failed(Failure):
    """What was gone back from; `told` is what failed.json has."""

    def __init__(self, told: Json) -> None:
        to = "its former secrets" if told["before"] == told["slot"] else told["before"]
        super().__init__(told["code"], f"went back from {told['slot']} to {to}: {told['reason']}")
        self.told = told


def go_back(device: Device, journal: Json, failure: Failure) -> None:
    """Go back from a slot that failed, and raise why."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    told = {"slot": journal["slot"], "before": journal["before"], "at": at, "code": failure.code}
    told |= {"reason": str(failure), "log": last_log()}
    perform("return", return_steps(device, {**journal, "returning": told}))
    raise Failed(told)


def at_boot(device: Device) -> Json:
    """Go on with what a power cut broke off; what runs is settled before digitcam.service starts."""
    journal = device.journal()
    if journal and "returning" not in journal:
        journal["boots"] += 1
        write_json(device.trial, journal)
        if journal["boots"] > TRIES:
            go_back(device, journal, Failure(MODEL, f"the device went down {TRIES} times in its trial"))
        perform("switch", switch_steps(device, journal), "units", "enable", "link")
        # From here on systemd starts digitcam.service.
        notify("READY=1")
    return trial(device, None, started=True)


def notify(message: str) -> None:
    """Tell systemd something (sd_notify(3)), where it listens."""
    if where := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.connect("\0" + where[1:] if where.startswith("@") else where)
            manager.sendall(message.encode())


def rollback(device: Device, slot: str | None) -> Json:
    """Go back to the slot before: from one on trial, or from one that has proved itself, which is then `previous`."""
    journal, current = device.journal(), device.slot_at(device.current)
    why = {"slot": journal["slot"] if journal else current, "code": 0, "reason": "asked for"}
    if journal is None:
        before = device.slot_at(device.previous)
        if slot and slot == current:
            return {"slot": slot, "rolled_back": False}
        if before is None or before == current or slot not in (None, before) or not device.ready(before):
            raise Failure(USAGE, f"there is no slot {slot or 'before'} to go back to: flash it")
        journal = {"schema": SCHEMA, "slot": current, "before": before, "swap": True}
    perform("return", return_steps(device, {"returning": why, **journal}))
    return {"slot": device.slot_at(device.current), "rolled_back": True}


def total_memory_mb() -> float:
    """Return the machine's memory in 10^6 bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e6


def status(device: Device) -> Json:
    """Return what is installed, what runs, and how."""
    state = unit_state()
    slots = {}
    for slot in sorted(folder_names(device.slots)):
        payload = read_json(device.slots / slot / "payload.json") or {}
        slots[slot] = {"ready": device.ready(slot), **{key: payload.get(key) for key in ("digitcam", "model")}}
    links = {"current": device.slot_at(device.current), "previous": device.slot_at(device.previous)}
    told = {"trial": device.journal(), "failed": read_json(device.failed), "service": state}
    return {"slots": slots, **links, **told, "health": read_health(device, state.get("MainPID", "0"))}


def facts(device: Device) -> Json:
    """Return what a payload has to be made for, and what might stop it; changes nothing."""
    release = (device.root / "etc/os-release").read_text() if (device.root / "etc/os-release").exists() else ""
    system = dict(re.findall(r'^(\w+)="?(.*?)"?$', release, re.MULTILINE))
    there = next(path for path in (device.home, *device.home.parents) if path.exists())
    import importlib.metadata

    numpy = None
    with suppress(importlib.metadata.PackageNotFoundError):
        numpy = importlib.metadata.version("numpy")
    clock = {}
    with suppress(Failure):
        clock["synchronised"] = run("timedatectl", "show", "-p", "NTPSynchronized", "--value").strip() == "yes"
    cameras = sorted(device.root.glob("sys/class/video4linux/*/name"))
    return {
        "machine": platform.machine(),
        "python": "{}.{}".format(*sys.version_info),
        "glibc": platform.libc_ver()[1] or None,
        "os": {key: system.get(key) for key in ("ID", "VERSION_ID", "PRETTY_NAME")},
        "memory_mb": round(total_memory_mb()),
        "disk_free_mb": shutil.disk_usage(there).free // 10**6,
        "clock": {"unix_s": round(time.time()), **clock},
        "systemd": next(iter(systemctl("--version", may_fail=True).split()[1:2]), None),
        "cameras": {path.parent.name: path.read_text().strip() for path in cameras},
        "picamera2": importlib.util.find_spec("picamera2") is not None,
        "numpy": numpy,
        "pip": any(importlib.util.find_spec(module) for module in ("pip", "ensurepip")),
        "root": os.geteuid() == 0,
        **{key: value for key, value in status(device).items() if key in ("slots", "current", "previous", "trial")},
    }


def parse(words: list[str] | None) -> argparse.Namespace:
    """Return what is asked for."""

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise Failure(USAGE, f"{message}: see --help")

    parser = Parser(prog="install.py", description="digitcam's installer on a device; each verb may be repeated.")
    own = Path(__file__).resolve()
    at_home = own.parts[-3:-1] == ("opt", "digitcam")
    parser.add_argument("--root", type=Path, default=own.parents[2] if at_home else Path("/"), help="for tests")
    parser.add_argument("--progress", action="store_true", help="a line on standard error after each step")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, text in (("facts", "what this device is"), ("status", "what is installed, and how it does")):
        verbs.add_parser(verb, help=text)
    verbs.add_parser("missing", help="which files of the payload.json on standard input are not in incoming/")
    one = verbs.add_parser("install", help="make a slot of a payload folder, or of incoming/")
    one.add_argument("payload", type=Path, nargs="?")
    one = verbs.add_parser("switch", help="have a slot run, watch it, and keep it or go back")
    one.add_argument("slot")
    one.add_argument("--window", type=float, default=WINDOW_S, help="seconds to watch it")
    one.add_argument("--start", type=float, default=START_S, help="seconds to its first frame")
    one.add_argument("--memory-mb", type=float, help="the most it may take; else half of the machine's")
    one.add_argument("--no-reading-needed", action="store_true", help="no accepted reading is asked of it")
    one.add_argument("--no-frames-needed", action="store_true", help="nor frames, as of a folder that is watched")
    one.add_argument("--secret", action="append", default=[], metavar="NAME", help="one sent as .NAME.new")
    one = verbs.add_parser("trial", help="go on with a switch that was broken off")
    one.add_argument("slot", nargs="?")
    one.add_argument("--boot", action="store_true", help="go on after a power cut, counting how often")
    one = verbs.add_parser("rollback", help="go back to the slot before")
    one.add_argument("slot", nargs="?")
    verbs.add_parser("remove", help="leave nothing")
    return parser.parse_args(words)


def obey(given: argparse.Namespace) -> Json:
    """Do what is asked for, and return what is to be told of it."""
    device = Device(given.root.absolute())
    if given.verb in ("facts", "status", "missing"):
        if given.verb == "missing":
            return missing(device, read_payload(sys.stdin.read()))
        return facts(device) if given.verb == "facts" else status(device)
    if os.geteuid() and device.root == Path("/"):
        raise Failure(USAGE, "this needs root: run it with sudo")
    # A connection that breaks is no reason to stop halfway; and the service's own user must be able to read it all.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.umask(0o022)
    with locked(device):
        if given.verb == "install":
            return install(device, given.payload and given.payload.absolute())
        if given.verb == "switch":
            return switch(device, given.slot, given)
        if given.verb == "trial":
            return at_boot(device) if given.boot else trial(device, given.slot)
        if given.verb == "rollback":
            return rollback(device, given.slot)
        perform("remove", remove_steps(device))
        return {"removed": True}


def main(words: list[str] | None = None) -> int:
    """Do what is asked for; return the exit code."""
    global PROGRESS
    told: Json | None = None
    code, error = 0, ""
    try:
        given = parse(words)
        PROGRESS = given.progress
        told = obey(given)
    except Failed as failed:
        told, code, error = failed.told, failed.code, str(failed)
    except Failure as failure:
        code, error = failure.code, str(failure)
    except OSError as problem:
        code, error = SINK if problem.errno in (errno.ENOSPC, errno.EROFS, errno.EIO) else USAGE, str(problem)
    except KeyboardInterrupt:
        code, error = 130, "interrupted: the same command goes on"
    # Who asked may have gone; what was done is done.
    with suppress(OSError):
        if told is not None:
            print(json.dumps(told), flush=True)
        if error:
            print(f"install.py: {error}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
