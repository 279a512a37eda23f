"""The installer on a device, asked over ssh; and what is sent to it."""

from __future__ import annotations

import hashlib
import json
import shlex
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from digitcam.core.errors import ConfigError, DigitcamError, ModelError, SinkError, SourceError
from digitcam.flash.payload import installer
from digitcam.flash.ssh import Done, Ssh

Json = dict[str, Any]
Note = Callable[[str], None]

# Reads the installer from standard input and leaves the rest to it: nothing has to lie on the device yet.
LOADER = """import sys
program = sys.stdin.buffer.read(int(sys.argv.pop(1)))
exec(compile(program, "install.py", "exec"), {"__name__": "__main__", "__file__": "/install.py"})"""
BUSY = "another installer is at work"
BUSY_S = 900.0
"""How long to wait for another installer, such as the one of a command that was killed here and goes on there."""
CHUNK = 1 << 20
KEPT = {2: ConfigError, 3: ModelError, 4: SourceError, 5: SinkError}


class RolledBackError(DigitcamError):
    """A slot that was gone back from; `told` is what the installer says of it, its exit code the installer's."""

    def __init__(self, text: str, told: Json) -> None:
        super().__init__(text)
        self.told = told
        self.exit_code = int(told["code"])


class Remote:
    """A device's installer; `root` is / but for tests."""

    def __init__(self, ssh: Ssh, note: Note, root: str = "/") -> None:
        self.ssh, self.note = ssh, note
        self.root = root.rstrip("/")
        self.home = f"{self.root}/opt/digitcam"

    def do(self, *words: object, stdin: bytes = b"", program: str | None = None) -> Json:
        """Have the installer do something and return what it tells; its steps are noted as they are done.

        Parameters
        ----------
        words
            Verb and arguments.
        program
            Its path there, once it is there; None to send it along.

        Raises
        ------
        DigitcamError
            As the installer fails; RolledBackError with what it tells of a slot that was gone back from.
        """
        own = installer().read_bytes()
        start = ["python3", program] if program else ["python3", "-c", LOADER, len(own)]
        command = [*start, "--root", self.root or "/", "--progress", *words]
        end_s, told = time.monotonic() + BUSY_S, False
        while True:
            done = self.run(command, stdin if program else own + stdin, self._heard)
            last = next((line for line in reversed(done.err) if not line.startswith("step ")), "no word why")
            if BUSY not in last or time.monotonic() > end_s:
                break
            if not told:
                self.note("an installer is still at work there: waiting for it")
            told = True
            time.sleep(1)
        if not done.code:
            return _json(done)
        text = f"{self.ssh.host}: {last.removeprefix('install.py: ')}"
        if done.out.strip():
            raise RolledBackError(text, _json(done))
        if done.code == 127 or last.endswith("python3: command not found"):
            raise ConfigError(f"{self.ssh.host}: has no python3: install it there (apt install python3)")
        raise KEPT.get(done.code, SinkError)(text)

    def run(
        self, command: list[Any], stdin: bytes | Iterator[bytes] = b"", heard: Note | None = None, root: bool = True
    ) -> Done:
        """Run a command there, as root but in a scratch root."""
        return self.ssh.run(command, stdin, heard, root=root and not self.root)

    def script(
        self, text: str, *words: object, stdin: bytes | Iterator[bytes] = b"", heard: Note | None = None
    ) -> Done:
        """Run a script of sh there; `$1` and so on are the words."""
        return self.run(["sh", "-c", text, "sh", *words], stdin, heard)

    def read(self, path: str) -> bytes | None:
        """Return a file's content, by its path in the root; None when it is not there."""
        done = self.script('test ! -e "$1" || { echo; exec cat "$1"; }', self.root + path)
        if done.code:
            raise SinkError(f"{self.ssh.host}: cannot read {path}: {done.err[-1] if done.err else 'no word why'}")
        return done.out.partition(b"\n")[2] if done.out else None

    def send(self, files: Mapping[str, Path]) -> None:
        """Send files to the installer, by their SHA-256, in one stream; progress is noted.

        Raises
        ------
        SinkError
            When they cannot be written there.
        """
        total = sum(path.stat().st_size for path in files.values())
        where = f"{self.home}/incoming"
        text = 'mkdir -p "$1" && exec tar -x --no-same-owner -C "$1" -f -'
        done = self.script(text, where, stdin=_tar(files, _percent(total, self.note)))
        if done.code:
            raise SinkError(f"{self.ssh.host}: {where}: {done.err[-1] if done.err else 'no word why'}: make room there")

    def put_secret(self, name: str, content: bytes) -> None:
        """Write a secret beside its place, for root alone; `install.py switch` puts it there.

        A folder that is there stays as it is: a digitcam installed by hand reads its configuration in it, as no root.

        Raises
        ------
        SinkError
            When it cannot be written.
        """
        text = 'set -e; umask 077; mkdir -p "$1"; cd "$1"; cat > ".$2.part"; sync ".$2.part"; mv ".$2.part" ".$2.new"'
        done = self.script(text, f"{self.root}/etc/digitcam", name, stdin=content)
        if done.code:
            raise SinkError(f"{self.ssh.host}: /etc/digitcam/{name}: {done.err[-1] if done.err else 'no word why'}")

    def secrets(self) -> dict[str, str]:
        """Return the SHA-256 of the secrets that are there, by their names."""
        done = self.script(
            'cd "$1" 2>/dev/null || exit 0; for f in *; do test ! -f "$f" || sha256sum -- "$f"; done',
            f"{self.root}/etc/digitcam",
        )
        lines = (line.partition("  ") for line in done.out.decode(errors="replace").splitlines())
        return {name: sha256 for sha256, _, name in lines if len(sha256) == 64}

    def _heard(self, line: str) -> None:
        if line.startswith("step "):
            self.note(f"  {line.removeprefix('step ')}")


def _json(done: Done) -> Json:
    """Return the last line a command printed: what the user's shell says at its start comes before."""
    try:
        told: Json = json.loads(done.out.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise SinkError(
            f"the installer's answer is none: {shlex.quote(done.out[-80:].decode(errors='replace'))}"
        ) from None
    return told


def _tar(files: Mapping[str, Path], sent: Callable[[int], None]) -> Iterator[bytes]:
    """Yield a tar of files by their names in it."""
    for name, path in files.items():
        member = tarfile.TarInfo(name)
        member.size = path.stat().st_size
        yield member.tobuf(tarfile.USTAR_FORMAT)
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
                sent(len(chunk))
        yield bytes(-member.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _percent(total: int, note: Note) -> Callable[[int], None]:
    """Return what notes every tenth of so many bytes."""
    done, tenth = 0, 0

    def sent(size: int) -> None:
        nonlocal done, tenth
        done += size
        if 10 * done // max(total, 1) > tenth:
            tenth = 10 * done // max(total, 1)
            note(f"  sent {10 * tenth}%")

    return sent


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
