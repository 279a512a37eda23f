"""A stand-in for systemctl and journalctl below a scratch root: it really starts the processes of units.

`systemctl.py ROOT STATE VERB ...`. What a unit is, is read at `daemon-reload` or when it is first asked for, as systemd
does. Of units it knows what the installer's tests need: ExecStart, Type=notify, Restart, RestartSec (at most 1 s here),
RestartPreventExitStatus, RuntimeDirectory, StandardOutput=null, Before=, ConditionPathExists, WantedBy, drop-ins. No
user, no sandbox, no limits, no watchdog. Paths in /opt, /run and /etc/digitcam are looked for below ROOT, and
/usr/bin/python3 is the Python of the tests. STATE holds, for each unit, what it is, its state and its log.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path

ROOT, STATE = Path(sys.argv[1]), Path(sys.argv[2])
UNITS, WANTS = ROOT / "etc/systemd/system", ROOT / "etc/systemd/system/multi-user.target.wants"
IDLE = {
    "ActiveState": "inactive",
    "SubState": "dead",
    "MainPID": "0",
    "NRestarts": "0",
    "ExecMainCode": "0",
    "ExecMainStatus": "0",
    "Result": "success",
}


def below(path: str) -> str:
    if path == "/usr/bin/python3":
        return sys.executable
    return str(ROOT) + path if path.startswith(("/opt/digitcam", "/run/digitcam", "/etc/digitcam")) else path


def read_unit(unit: str) -> dict[str, list[str]] | None:
    """Return a unit's keys with their values; an empty one takes back those before."""
    keys: dict[str, list[str]] = {}
    if not (UNITS / unit).exists():
        return None
    for file in (UNITS / unit, *sorted((UNITS / f"{unit}.d").glob("*.conf"))):
        for line in file.read_text().splitlines():
            key, equals, value = line.partition("=")
            if equals and not line.startswith("#"):
                keys[key] = [*keys.get(key, []), value] if value else []
    return keys


def load(unit: str, anew: bool = False) -> dict[str, list[str]] | None:
    path = STATE / f"{unit}.loaded"
    if anew or not path.exists():
        path.write_text(json.dumps(read_unit(unit)))
    keys: dict[str, list[str]] | None = json.loads(path.read_text())
    if keys is None:
        path.unlink()
    return keys


def state_of(unit: str) -> dict[str, str]:
    try:
        state: dict[str, str] = json.loads((STATE / f"{unit}.state").read_text())
    except FileNotFoundError:
        return dict(IDLE)
    return state


def put(unit: str, **changes: str) -> None:
    with (STATE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        part = STATE / f".{unit}.part"
        part.write_text(json.dumps({**state_of(unit), **changes}))
        part.rename(STATE / f"{unit}.state")


def alive(pid: str) -> bool:
    with contextlib.suppress(OSError):
        return pid != "0" and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def start(unit: str, wait: bool) -> int:
    keys = load(unit)
    if keys is None:
        print(f"Failed to start {unit}: Unit {unit} not found.", file=sys.stderr)
        return 5
    state = state_of(unit)
    if alive(state.get("manager", "0")):
        return 0
    if any(not Path(below(path)).exists() for path in keys.get("ConditionPathExists", [])):
        return 0
    import subprocess

    put(unit, **{**IDLE, "NRestarts": state["NRestarts"], "ActiveState": "activating", "SubState": "start"})
    manager = subprocess.Popen(
        [sys.executable, "-S", "-E", __file__, str(ROOT), str(STATE), "manage", unit],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=(STATE / "manager.log").open("a"),
        start_new_session=True,
    )
    put(unit, manager=str(manager.pid))
    while wait and manager.poll() is None and state_of(unit)["ActiveState"] == "activating":
        time.sleep(0.02)
    return 0


def stop(unit: str) -> int:
    state = state_of(unit)
    manager = state.get("manager", "0")
    if alive(manager):
        os.kill(int(manager), signal.SIGTERM)
        while alive(manager):
            time.sleep(0.02)
    put(unit, ActiveState="inactive", SubState="dead", MainPID="0", manager="0")
    return 0


def manage(unit: str) -> None:
    """Run a unit's process, again when it ends and is to be run again; until SIGTERM."""
    import select
    import shutil
    import socket
    import subprocess

    keys = load(unit) or {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    words = [below(word) for word in keys["ExecStart"][-1].split()]
    env = {**os.environ, "NOTIFY_SOCKET": str(STATE / f"{unit}.notify")}
    runtime = [ROOT / "run" / name for name in keys.get("RuntimeDirectory", [])]
    if runtime:
        env["RUNTIME_DIRECTORY"] = str(runtime[0])
    quiet = keys.get("StandardOutput") == ["null"]
    process: subprocess.Popen[bytes] | None = None
    try:
        while True:
            for folder in runtime:
                folder.mkdir(parents=True, exist_ok=True)
            (STATE / f"{unit}.notify").unlink(missing_ok=True)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear, (STATE / f"{unit}.log").open("ab") as log:
                ear.bind(str(STATE / f"{unit}.notify"))
                out = subprocess.DEVNULL if quiet else log
                process = subprocess.Popen(words, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=log)
                put(unit, ActiveState="activating", SubState="start", MainPID=str(process.pid))
                ended = os.pidfd_open(process.pid)
                while ended not in (readable := select.select([ear, ended], [], [])[0]):
                    if readable and b"READY=1" in ear.recv(4096):
                        put(unit, ActiveState="active", SubState="running")
                os.close(ended)
            code = process.wait()
            process = None
            status = {"ExecMainCode": "2" if code < 0 else "1", "ExecMainStatus": str(abs(code)), "MainPID": "0"}
            good = str(code) in ("0", *keys.get("SuccessExitStatus", ["0"])[-1].split())
            status["Result"] = "success" if good else "signal" if code < 0 else "exit-code"
            prevented = str(code) in " ".join(keys.get("RestartPreventExitStatus", [])).split()
            if keys.get("Restart") != ["always"] or prevented:
                put(unit, **status, ActiveState="inactive" if good else "failed", SubState="dead" if good else "failed")
                return
            put(unit, **status, ActiveState="activating", SubState="auto-restart")
            time.sleep(min(1.0, float(keys.get("RestartSec", ["0"])[-1])))
            put(unit, NRestarts=str(int(state_of(unit)["NRestarts"]) + 1))
    finally:
        if process is not None:
            process.terminate()
            process.wait()
        for folder in runtime:
            shutil.rmtree(folder, ignore_errors=True)


def boot() -> None:
    """Start what is enabled, each after those that are to be before it; STATE and /run are as after a power cut."""
    units = [path.name for path in WANTS.iterdir()] if WANTS.exists() else []
    for unit in sorted(units, key=lambda unit: "Before" not in (load(unit) or {})):
        start(unit, wait="Before" in (load(unit) or {}))


def main() -> int:
    verb, words = sys.argv[3], sys.argv[4:]
    STATE.mkdir(exist_ok=True)
    names = [word if word.endswith(".service") else f"{word}.service" for word in words]
    units = [name for word, name in zip(words, names, strict=True) if word == name or (UNITS / name).exists()]
    if verb == "--version":
        print("systemd 252 (stand-in)")
    elif verb == "manage":
        manage(units[0])
    elif verb == "boot":
        boot()
    elif verb == "daemon-reload":
        for path in STATE.glob("*.loaded"):
            load(path.name.removesuffix(".loaded"), anew=True)
    elif verb == "start":
        return max(start(unit, wait="--no-block" not in words) for unit in units)
    elif verb == "stop":
        return max(stop(unit) for unit in units)
    elif verb == "restart":
        return max(stop(unit) or start(unit, wait="--no-block" not in words) for unit in units)
    elif verb == "reset-failed":
        for unit in units:
            put(unit, NRestarts="0")
    elif verb == "enable":
        WANTS.mkdir(exist_ok=True)
        for unit in units:
            if read_unit(unit) is None:
                print(f"Failed to enable unit: Unit file {unit} does not exist.", file=sys.stderr)
                return 1
            if not (WANTS / unit).is_symlink():
                (WANTS / unit).symlink_to(f"/etc/systemd/system/{unit}")
            if "--now" in words:
                start(unit, wait=True)
    elif verb == "disable":
        for unit in units:
            (WANTS / unit).unlink(missing_ok=True)
            if "--now" in words:
                stop(unit)
        with contextlib.suppress(OSError):
            WANTS.rmdir()
    elif verb == "is-active":
        print(state_of(units[0])["ActiveState"])
        return 0 if state_of(units[0])["ActiveState"] == "active" else 3
    elif verb == "show":
        for name, value in state_of(units[0]).items():
            if name in words:
                print(f"{name}={value}")
    elif verb == "journal":
        with contextlib.suppress(FileNotFoundError):
            lines = (STATE / f"{units[0]}.log").read_text().splitlines(keepends=True)
            count = int(words[words.index("--lines") + 1]) if "--lines" in words else len(lines)
            print("".join(lines[-count:]), end="")
    else:
        print(f"Unknown command verb {verb}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
