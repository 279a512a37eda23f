"""A device that is reached over a real sshd on loopback: a scratch root as in `box.py`, and keys of its own."""

from __future__ import annotations

import contextlib
import getpass
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from box import Box

from digitcam.cli import main

SSHD = "/usr/sbin/sshd"
QUICK = ("--window", "0.2")


def make_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


class SshBox:
    """A device with an sshd; `config` is the ssh configuration under which it is called `name`."""

    def __init__(self, folder: Path, name: str = "meter") -> None:
        if not Path(SSHD).exists():
            pytest.fail("there is no sshd: apt-get install openssh-server")
        self.folder, self.name = folder, name
        folder.mkdir(exist_ok=True)
        self.box = Box(folder)
        self.tools = folder / "bin"
        self.tool("python3", f'exec {sys.executable} "$@"')
        self.host_key, self.key = make_key(folder / "host_key"), make_key(folder / "key")
        shutil.copy(folder / "key.pub", folder / "authorized")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.known, self.config = folder / "known", folder / "ssh_config"
        self.knows(self.host_key)
        self.config.write_text(self.host(name))
        self._start()

    def tool(self, name: str, text: str) -> Path:
        """Put a command in front of all others on the device."""
        path = self.tools / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    def knows(self, key: Path | None) -> None:
        """Have this host key known, or none."""
        public = key.with_name(f"{key.name}.pub").read_text() if key else ""
        self.known.write_text(f"[127.0.0.1]:{self.port} {public}" if key else "")

    def host(self, name: str, **changes: object) -> str:
        """Return the lines of an ssh configuration for this device."""
        lines = {
            "HostName": "127.0.0.1",
            "Port": self.port,
            "User": getpass.getuser(),
            "IdentityFile": self.key,
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": self.known,
            "GlobalKnownHostsFile": "/dev/null",
            **changes,
        }
        return f"Host {name}\n" + "".join(f"  {key} {value}\n" for key, value in lines.items())

    def _start(self) -> None:
        # As root it wants this folder, which the package's service makes elsewhere.
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        env = {key: self.box.env[key] for key in ("PATH", "PYTHONPATH", "CREDENTIALS_DIRECTORY")}
        lines = {
            "ListenAddress": f"127.0.0.1:{self.port}",
            "HostKey": self.host_key,
            "AuthorizedKeysFile": self.folder / "authorized",
            "PidFile": "none",
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "PermitRootLogin": "yes",
            "SetEnv": " ".join(f'"{key}={value}"' for key, value in env.items()),
        }
        (self.folder / "sshd_config").write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
        command = [SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")]
        self.sshd = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        assert self.sshd.stderr
        said = []
        for line in self.sshd.stderr:
            said.append(line)
            if "Server listening" in line:
                # What it says later must not fill the pipe.
                threading.Thread(target=self.sshd.stderr.read, daemon=True).start()
                return
        raise AssertionError(said)

    def stop(self) -> None:
        self.sshd.terminate()
        self.sshd.wait()
        self.box.cut_power()

    def command(self, *words: object, host: bool = True) -> list[str]:
        """Return the command that flashes it; without `host` for an inventory."""
        name = [self.name] if host else []
        given = ["--ssh-config", str(self.config), "--root", str(self.box.root)]
        return [sys.executable, "-m", "digitcam.cli", "flash", *name, *given, *(str(word) for word in words)]

    def env(self) -> dict[str, str]:
        return {**os.environ, "XDG_CACHE_HOME": str(self.folder / "cache")}

    def flash(self, *words: object, host: bool = True) -> subprocess.CompletedProcess[str]:
        """Flash it, in this process: half of the time of a command is its start."""
        command = self.command(*words, host=host)
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, self.env()),
            mock.patch.object(sys, "argv", ["digitcam", *command[3:]]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as ended,
        ):
            main()
        assert isinstance(ended.value.code, int)
        return subprocess.CompletedProcess(command, ended.value.code, out.getvalue(), err.getvalue())

    def ok(self, *words: object, host: bool = True) -> str:
        """Flash it, which has to succeed; return what it says on standard output."""
        done = self.flash(*words, host=host)
        assert done.returncode == 0, done
        return done.stdout.strip()

    def fails(self, code: int, *words: object, **how: Any) -> str:
        """Flash it, which has to fail with this exit code; return the one line that says why."""
        done = self.flash(*words, **how)
        lines = [line for line in done.stderr.splitlines() if line.startswith("digitcam: ")]
        assert (done.returncode, len(lines)) == (code, 1), done
        assert "Traceback" not in done.stderr, done
        return lines[0].removeprefix("digitcam: ")

    def killed_at(self, line: str, words: Sequence[object]) -> str:
        """Flash it, kill the command as soon as it says a line, which it has to, and return what it said till then."""
        process = subprocess.Popen(
            self.command(*words), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=self.env()
        )
        assert process.stderr
        said = []
        for got in process.stderr:
            said.append(got)
            if got.startswith(line):
                process.send_signal(signal.SIGKILL)
                break
        assert process.wait() == -signal.SIGKILL, (line, said)
        process.stderr.close()
        return "".join(said)
