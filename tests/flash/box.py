"""A scratch root with a systemd to stand in, payloads for it, and power cuts."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import zipfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
DEVICE = REPOSITORY / "edge/digitcam/flash/device.py"
WAIT_S = 60

KILLED_AFTER = """
import importlib.util, os, signal, sys
path, last, *words = sys.argv[1:]
spec = importlib.util.spec_from_file_location("device", path)
device = importlib.util.module_from_spec(spec)
spec.loader.exec_module(device)
device.done = lambda step: os.kill(os.getpid(), signal.SIGKILL) if step == last else None
sys.exit(device.main(words))
"""

LIGHT = '''
"""A runner that reads nothing and says so: for tests of the installer, which has to start it often."""

import json, os, pathlib, signal, socket, sys, time

def main():
    if "run" not in sys.argv or "--check" in sys.argv:
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    config = pathlib.Path(sys.argv[sys.argv.index("--config") + 1]).read_text()
    print("reading", file=sys.stderr, flush=True)
    path = pathlib.Path(os.environ["RUNTIME_DIRECTORY"], "health.json")
    frames = 0
    while True:
        health = {"pid": os.getpid(), "at_s": time.monotonic(), "frames": frames, "since_frame_s": 0.0, "broker": None}
        health |= {"accepted": 0 if "mute" in config else frames, "rejected": {"no_number": frames}}
        path.with_name("part").write_text(json.dumps(health))
        path.with_name("part").rename(path)
        if frames == 1:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                manager.connect(os.environ["NOTIFY_SOCKET"])
                manager.sendall(b"READY=1")
        frames += 1
        time.sleep(0.02)
'''


def light_wheel(folder: Path) -> Path:
    """Write a wheel with a `digitcam` command that starts in no time."""
    info, path = "digitcam-0.0.1.dist-info", folder / "digitcam-0.0.1-py3-none-any.whl"
    files = {
        "light.py": LIGHT,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: digitcam\nVersion: 0.0.1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\ndigitcam = light:main\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(zipfile.ZipInfo(name), text)  # of 1980: the same bytes whenever it is written
    return path


def payload(folder: Path, wheel: Path, config: str, model: Path | None = None, **requires: Any) -> str:
    """Write a payload, and return its id; without a model one that only the light runner takes."""
    (folder / "wheels").mkdir(parents=True)
    shutil.copy(wheel, folder / "wheels")
    if model:
        shutil.copytree(model, folder / "model")
    else:
        (folder / "model").mkdir()
        (folder / "model/card.json").write_text("{}")
    (folder / "requirements.txt").write_text("digitcam=={}\n".format(wheel.name.split("-")[1]))
    (folder / "digitcam.toml").write_text(config)
    for unit in ("digitcam.service", "digitcam-trial.service"):
        shutil.copy(REPOSITORY / "edge/deploy" / unit, folder)
    shutil.copy(DEVICE, folder / "install.py")
    return seal(folder, **requires)


def seal(folder: Path, **requires: Any) -> str:
    """Write payload.json for the files that are there."""
    (folder / "payload.json").unlink(missing_ok=True)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    lines = "".join(sorted(f"{sha256}  {path}\n" for path, sha256 in files.items()))
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    here = {"machine": platform.machine(), "python": python, "system_packages": True}
    told = {"schema": 1, "id": hashlib.sha256(lines.encode()).hexdigest()[:12], "digitcam": "0", "model": "m"}
    (folder / "payload.json").write_text(json.dumps({**told, "requires": {**here, **requires}, "files": files}))
    return str(told["id"])


class Box:
    """A device: its root, and its systemd's state beside it, which a power cut wipes."""

    def __init__(self, folder: Path) -> None:
        self.root, self.state = folder / "root", folder / "state"
        self.home = self.root / "opt/digitcam"
        for name in ("opt", "etc/systemd/system", "run", "var/lib"):
            (self.root / name).mkdir(parents=True)
        self.state.mkdir()
        tools = folder / "bin"
        tools.mkdir()
        systemctl = f"{sys.executable} -S -E {Path(__file__).with_name('systemctl.py')} {self.root} {self.state}"
        # Started often: without what site-packages would have done at each start.
        for tool, verb in (("systemctl", ""), ("journalctl", "journal")):
            (tools / tool).write_text(f'#!/bin/sh\nexec {systemctl} {verb} "$@"\n')
            (tools / tool).chmod(0o755)
        # What apt has installed on a device: numpy, OpenCV and an engine, but no digitcam.
        system = {"PYTHONPATH": sysconfig.get_path("purelib")}
        # As systemd tells the service where its secrets are; and by hand, for /etc/digitcam lies in this root.
        secrets = {"CREDENTIALS_DIRECTORY": f"{self.root}/etc/digitcam"}
        self.env = {**os.environ, **system, **secrets, "PATH": f"{tools}:{os.environ['PATH']}"}

    def call(
        self, *words: object, file: Path = DEVICE, kill: str = "", stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run the installer; `kill` names the step after which it is killed, which has to happen."""
        start = ["-c", KILLED_AFTER, str(file), kill] if kill else [str(file)]
        command = [sys.executable, *start, "--root", str(self.root), *(str(word) for word in words)]
        done = subprocess.run(command, capture_output=True, text=True, env=self.env, input=stdin, check=False)
        assert not kill or done.returncode == -signal.SIGKILL, (kill, done)
        return done

    def ok(self, *words: object, **how: Any) -> dict[str, Any]:
        """Run the installer, which has to succeed; return what it tells."""
        done = self.call(*words, **how)
        assert (done.returncode, done.stderr) == (0, ""), done
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    def fails(self, code: int, *words: object, **how: Any) -> str:
        """Run the installer, which has to fail with this exit code and one line; return the line."""
        done = self.call(*words, **how)
        assert (done.returncode, done.stderr.count("\n")) == (code, 1), done
        return done.stderr.strip().removeprefix("install.py: ")

    def systemctl(self, *words: str) -> str:
        return subprocess.run(["systemctl", *words], capture_output=True, text=True, env=self.env, check=False).stdout

    def unit(self, unit: str = "digitcam.service") -> dict[str, str]:
        with contextlib.suppress(FileNotFoundError):
            state: dict[str, str] = json.loads((self.state / f"{unit}.state").read_text())
            return state
        return {"ActiveState": "inactive", "MainPID": "0"}

    def wait(self, unit: str, *states: str) -> dict[str, str]:
        """Wait until a unit is in one of some states."""
        end_s = time.monotonic() + WAIT_S
        while (state := self.unit(unit))["ActiveState"] not in states:
            assert time.monotonic() < end_s, (unit, state, self.log(unit))
            time.sleep(0.02)
        return state

    def log(self, unit: str = "digitcam.service") -> str:
        path = self.state / f"{unit}.log"
        return path.read_text() if path.exists() else ""

    def runs(self) -> str:
        """Return which slot the service runs, once it is active."""
        pid = self.wait("digitcam.service", "active")["MainPID"]
        python = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
        return Path(python).relative_to(self.home / "slots").parts[0]

    def slots(self) -> tuple[str | None, str | None]:
        """Return what `current` and `previous` name."""
        links = (self.home / "current", self.home / "previous")
        return tuple(link.readlink().name if link.is_symlink() else None for link in links)  # type: ignore[return-value]

    def cut_power(self) -> None:
        """Kill everything at once, and forget what a reboot forgets."""
        pids = [self.unit(unit).get(key, "0") for key in ("manager", "MainPID") for unit in UNITS]
        for pid in (int(pid) for pid in pids if pid != "0"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.state)
        self.state.mkdir()
        shutil.rmtree(self.root / "run")
        (self.root / "run").mkdir()

    def boot(self) -> None:
        """Start what is enabled, and wait until the trial, if there is one, is over."""
        self.systemctl("boot")
        self.wait("digitcam-trial.service", "inactive", "failed")

    def tree(self) -> list[str]:
        """Return all that is in the root."""
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*"))

    def disk(self) -> list[str]:
        """Return all that lies on the disk; below run/ the runner writes meanwhile."""
        return [path for path in self.tree() if not path.startswith("run")]


UNITS = ("digitcam-trial.service", "digitcam.service")
