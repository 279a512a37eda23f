"""A device over the user's own ssh: their keys, agent, configuration, jump hosts and known hosts, and nothing of ours.

One connection carries all (ControlMaster), its socket in a private temporary folder. Nothing is asked (BatchMode) and
nothing stored; how host keys are checked is the user's settings' affair.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple

from digitcam.core.errors import ConfigError, DigitcamError, SinkError

READY = "digitcam-connected"
LOST = 255
"""ssh's own exit code: it is the connection that failed, not what ran there."""
OPTIONS = {
    "BatchMode": "yes",
    "ConnectTimeout": "20",
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "4",
    "LogLevel": "ERROR",
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "ClearAllForwardings": "yes",
}
_NO_SUDO = re.compile("^sudo: .*(password|terminal|tty)|not in the sudoers|sudo: (command )?not found$")
_MENDS = (
    (
        "HOST IDENTIFICATION HAS CHANGED",
        "the host key is not the one known: if it is a new card, 'ssh-keygen -R' the old one",
    ),
    ("Host key verification failed", "connect once with 'ssh {host}' and compare the host key"),
    ("Permission denied", "have 'ssh {host}' log in without a password: ssh-copy-id it, or load your key (ssh-add)"),
    ("Could not resolve hostname", "is the name right, and the device in the network?"),
    ("Can't open user config file", "is the path of --ssh-config right?"),
    ("Bad configuration option", "mend the ssh configuration"),
)


class Done(NamedTuple):
    """How a command ended there: its exit code, standard output, and the lines of standard error."""

    code: int
    out: bytes
    err: list[str]


class Ssh:
    """A connection to a device; a context manager.

    host
        As `ssh` takes it: a name of the user's configuration, user@host or ssh://user@host:port.
    uid
        Of the user there; 0 is root.
    """

    def __init__(self, host: str, config: Path | None = None) -> None:
        self.host, self.uid = host, -1
        self._config = ["-F", str(config)] if config else []

    def __enter__(self) -> Ssh:
        """Connect.

        Raises
        ------
        ConfigError
            When the host is not known, or it or the user is not who they should be.
        SinkError
            When it cannot be reached.
        """
        if not shutil.which("ssh"):
            raise ConfigError("there is no ssh: install it (apt install openssh-client)")
        self._folder = tempfile.TemporaryDirectory(prefix="digitcam-")
        self._socket = str(Path(self._folder.name) / "s")
        # Its command ends when this process does, however it ends: then the connection ends as well.
        script = f"echo {READY} $(id -u); exec cat >/dev/null"
        self._master = self._start(["-o", "ControlMaster=yes", "-o", "ControlPersist=no"], ["sh", "-c", script])
        lines: list[str] = []
        reader = threading.Thread(target=_listen, args=(self._master.stderr, lines.append), daemon=True)
        reader.start()
        for line in self._master.stdout or ():
            # What the user's shell says at its start comes before.
            if match := re.search(rf"{READY} (\d+)", line.decode(errors="replace")):
                self.uid = int(match[1])
                return self
        self._master.wait()
        reader.join()
        self._close()
        raise _refused(self.host, lines)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hang up."""
        self._close()

    def run(
        self,
        command: Sequence[object],
        stdin: bytes | Iterable[bytes] = b"",
        heard: Callable[[str], None] | None = None,
        root: bool = False,
    ) -> Done:
        """Run a command there and return how it ended.

        Parameters
        ----------
        stdin
            What it is given, in pieces where it is long.
        heard
            Is called with each line of standard error as it comes.
        root
            Whether it has to be root's: by sudo when the user is not.

        Raises
        ------
        SinkError
            When the connection breaks.
        ConfigError
            When sudo wants a password, or is not there.
        """
        words = [str(word) for word in command]
        words = ["sudo", "-n", "--", *words] if root and self.uid else words
        process = self._start(["-o", "ControlMaster=no"], words)
        err: list[str] = []
        out: list[bytes] = []

        def listen(line: str) -> None:
            err.append(line)
            if heard:
                heard(line)

        threads = [
            threading.Thread(target=_listen, args=(process.stderr, listen), daemon=True),
            threading.Thread(target=lambda: out.append(process.stdout.read() if process.stdout else b""), daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            if process.stdin:
                # One that ends before it has read all says why by its exit code.
                with suppress(BrokenPipeError), process.stdin:
                    for chunk in (stdin,) if isinstance(stdin, bytes) else stdin:
                        process.stdin.write(chunk)
            code = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        for thread in threads:
            thread.join()
        last = err[-1] if err else "no word why"
        if code == LOST:
            raise SinkError(f"{self.host}: the connection broke: {last}: the same command goes on")
        if root and self.uid and _NO_SUDO.search(last):
            mend = "have it ask for none (NOPASSWD in /etc/sudoers.d), or log in as root"
            raise ConfigError(f"{self.host}: this needs root there: {last}: {mend}")
        return Done(code, b"".join(out), err)

    def _start(self, options: Sequence[str], command: Sequence[str]) -> subprocess.Popen[bytes]:
        given = [word for key, value in OPTIONS.items() for word in ("-o", f"{key}={value}")]
        words = ["ssh", *self._config, "-T", "-S", self._socket, *given, *options, "--", self.host, shlex.join(command)]
        pipe = subprocess.PIPE
        # Ctrl-C is for us to see: what is being done there is not to be torn off by it.
        return subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)

    def _close(self) -> None:
        for stream in (self._master.stdin, self._master.stdout):
            if stream:
                stream.close()
        try:
            self._master.wait(10)
        except subprocess.TimeoutExpired:
            self._master.kill()
            self._master.wait()
        self._folder.cleanup()


def _listen(stream: IO[bytes] | None, heard: Callable[[str], None]) -> None:
    for line in stream or ():
        if text := line.decode(errors="replace").strip():
            heard(text)


def _refused(host: str, lines: Sequence[str]) -> DigitcamError:
    """Return what to say when there was no connection: ssh's own reason, and what mends it."""
    said = "\n".join(lines)
    for pattern, mend in _MENDS:
        if pattern in said:
            reason = next((line for line in reversed(lines) if pattern in line), lines[-1]).strip("@ ")
            return ConfigError(f"{host}: {reason.removeprefix('ssh: ').removesuffix('.')}: {mend.format(host=host)}")
    reason = lines[-1].removeprefix("ssh: ") if lines else "ssh gave no reason"
    return SinkError(f"{host}: {reason}: is it on, and does 'ssh {host}' work?")
