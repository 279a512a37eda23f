"""An emulated arm64 machine with systemd, its disk from `machine_image.sh`: switched on, reached by ssh, cut off."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from pathlib import Path

HOST = "pi@meter.local"
"""As the README calls the Pi: what the ssh configuration makes of it is the emulated machine."""
WAIT_S = 600.0
"""How long anything may take: the machine is emulated."""


class Machine:
    """A machine whose disk starts as a fresh one and is thrown away at the end; a context manager.

    folder
        Where its disk, console and ssh configuration lie.
    key
        By which one logs in.
    boot_disk
        An image of a boot partition, mounted at /boot/firmware; with it cloud-init is at work, without it not.
    """

    def __init__(
        self, lab: Path, folder: Path, key: Path, memory_mb: int = 1024, boot_disk: Path | None = None
    ) -> None:
        self.lab, self.folder, self.memory_mb, self.boot_disk = lab, folder, memory_mb, boot_disk
        self.console, self.disk, self.ssh_config = folder / "console.log", folder / "disk.qcow2", folder / "ssh_config"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        base = ["-b", str(lab / "disk.ext4"), "-F", "raw", str(self.disk)]
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *base], check=True)
        known = folder / "known_hosts"
        known.write_text(f"meter.local {(lab / 'host_key.pub').read_text()}")
        lines = {
            "HostName": "127.0.0.1",
            "Port": self.port,
            "HostKeyAlias": "meter.local",
            "UserKnownHostsFile": known,
            "GlobalKnownHostsFile": "/dev/null",
            "IdentityFile": key,
            "IdentitiesOnly": "yes",
        }
        text = "".join(f"  {name} {value}\n" for name, value in lines.items())
        self.ssh_config.write_text(f"Host {HOST.partition('@')[2]}\n{text}")

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self.disk.unlink()

    def on(self) -> None:
        """Switch it on, and do not wait for it."""
        assert self._process is None
        words = ["console=ttyAMA0", "root=/dev/vda", "rw", "quiet", "net.ifnames=0", "panic=10"]
        if self.boot_disk:
            words.append("systemd.mount-extra=LABEL=bootfs:/boot/firmware:vfat:defaults")
        else:
            words.append("cloud-init=disabled")
        command = ["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a72", "-smp", "2", "-m", str(self.memory_mb)]
        command += ["-accel", "tcg,thread=multi", "-display", "none", "-monitor", "none"]
        command += ["-chardev", f"file,id=console,path={self.console},append=on", "-serial", "chardev:console"]
        command += ["-kernel", str(self.lab / "vmlinuz"), "-initrd", str(self.lab / "initrd.img")]
        command += ["-append", " ".join(words)]
        # What the machine has flushed is on our disk; what it has not is lost when it is cut off.
        for number, (disk, kind) in enumerate([(self.disk, "qcow2"), (self.boot_disk, "raw")]):
            if disk:
                command += ["-drive", f"file={disk},format={kind},if=none,id=disk{number},cache=writeback"]
                command += ["-device", f"virtio-blk-pci,drive=disk{number}"]
        command += ["-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{self.port}-:22"]
        command += ["-device", "virtio-net-pci,netdev=net,romfile="]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def cut(self) -> None:
        """Cut its power off: the emulator is killed, with all that the machine had in memory."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def off(self) -> None:
        """Shut it down in good order."""
        with contextlib.suppress(RuntimeError):  # the connection goes with it
            self.ask("sudo systemctl poweroff")
        assert self._process
        self._process.wait(WAIT_S)
        self._process = None

    def wait(self) -> None:
        """Wait until one can log in."""
        end_s = time.monotonic() + WAIT_S
        while self._ssh("true").returncode:
            assert self._process and self._process.poll() is None, f"the machine has ended: see {self.console}"
            assert time.monotonic() < end_s, f"nobody can log in: see {self.console}"
            time.sleep(1)

    def ask(self, script: str, stdin: str = "") -> str:
        """Run a shell's script there and return what it prints; RuntimeError when it fails."""
        done = self._ssh(script, stdin)
        if done.returncode:
            raise RuntimeError(f"{script}: exit code {done.returncode}: {done.stderr or done.stdout}")
        return done.stdout

    def reboot(self) -> None:
        """Have it shut down and start again, until one can log in."""
        before = self.ask("cat /proc/sys/kernel/random/boot_id")
        self.ask("sudo systemctl reboot --no-block")
        end_s = time.monotonic() + WAIT_S
        while (done := self._ssh("cat /proc/sys/kernel/random/boot_id")).returncode or done.stdout == before:
            assert time.monotonic() < end_s, f"it does not come up again: see {self.console}"
            time.sleep(1)

    def _ssh(self, script: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = ["ssh", "-F", str(self.ssh_config), "-o", "BatchMode=yes", "-o", "ConnectTimeout=30", HOST, script]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
