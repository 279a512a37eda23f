"""A card that boots into digitcam: its boot partition made by `digitcam image`, read by the machine's cloud-init."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from machine import WAIT_S, Machine
from machine_broker import PASSWORD, Broker
from machine_flash import configuration
from machine_picture import NUMBER
from machine_record import Record

MODEL, HOSTNAME = "digitcam-s", "attic"
FIRST_S = 3600.0
"""How long a first boot may take: all wheels are unpacked by an emulated processor."""
FRESH = {
    "config.txt": "camera_auto_detect=1\n",
    "cmdline.txt": "console=tty1 root=PARTUUID=9710ec8c-02 rootfstype=ext4 rootwait\n",
    "kernel8.img": "not used here: the emulator has its own\n",
    "meta-data": "dsmode: local\ninstance_id: rpios-image\n",
    "user-data": "#cloud-config\n",
    "network-config": "network:\n  version: 2\n  ethernets:\n    eth0:\n      dhcp4: true\n      optional: true\n",
}
"""What matters of the boot partition of a Raspberry Pi OS card that nobody has changed."""


def first_boot(lab: Path, folder: Path, broker: Broker, record: Record) -> None:
    """Have a card made and booted twice."""
    folder.mkdir()
    key = folder / "own_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)], check=True)
    card = boot_partition(folder, broker, key.with_suffix(".pub"), lab / "cache")
    with Machine(lab, folder / "machine", key, boot_disk=card) as machine:
        begun_s = time.monotonic()
        machine.on()
        reading = broker.wait(FIRST_S, since_s=begun_s)
        assert (reading.number, reading.model) == (NUMBER, MODEL), reading
        told = f"{reading.number} at the broker over TLS, read by {reading.model} {reading.format}"
        record.note("a card made by `digitcam image`, its first boot to the first reading", told, begun_s, reading.at_s)
        machine.wait()
        record.note("the first boot to its end", finished(machine), begun_s)
        again_s = time.monotonic()
        machine.reboot()
        reading = broker.wait(WAIT_S)
        assert (reading.number, reading.model) == (NUMBER, MODEL), reading
        units = machine.ask("systemctl list-units --all --no-legend 'digitcam-first-boot*'")
        assert not units, units
        record.note("the card booted again", f"{reading.number}; no first boot any more", again_s, reading.at_s)


def boot_partition(folder: Path, broker: Broker, key: Path, cache: Path) -> Path:
    """Return an image of a boot partition on which `digitcam image` has put what is needed."""
    boot, config = folder / "bootfs", configuration(folder / "card", broker)
    boot.mkdir()
    for name, text in FRESH.items():
        (boot / name).write_text(text)
    command = [sys.executable, "-m", "digitcam.cli", "image", str(boot), "--model", MODEL, "--config", str(config)]
    command += ["--hostname", HOSTNAME, "--ssh-key", str(key)]
    command += ["--secret", f"mqtt-password={broker.password}", "--secret", f"ca.pem={broker.ca}"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    card = folder / "bootfs.img"
    with card.open("wb") as file:
        file.truncate(512 * 2**20)
    subprocess.run(["mkfs.vfat", "-F", "32", "-n", "bootfs", str(card)], check=True, stdout=subprocess.DEVNULL)
    paths = [str(path) for path in sorted(boot.iterdir())]
    subprocess.run(["mcopy", "-s", "-i", str(card), *paths, "::/"], check=True)
    return card


def finished(machine: Machine) -> str:
    """Wait until the first boot has ended, and return what is left of it; nothing secret is on the boot partition."""
    end_s = time.monotonic() + WAIT_S
    while machine.ask("test ! -e /boot/firmware/digitcam || echo under way"):
        assert time.monotonic() < end_s, machine.ask("sudo journalctl -u digitcam-first-boot -o cat")
        time.sleep(2)
    log = machine.ask("cat /boot/firmware/digitcam-log.txt")
    runs = re.search(r"payload ([0-9a-f]{12}) runs", log)
    assert runs, log
    left = machine.ask(f"sudo grep -rl '{PASSWORD}' /boot/firmware || true")
    assert not left, left
    modes = machine.ask("sudo sh -c 'stat -c \"%a %U %n\" /etc/digitcam/*'").split("\n")
    assert modes[:2] == ["600 root /etc/digitcam/ca.pem", "600 root /etc/digitcam/mqtt-password"], modes
    assert machine.ask("hostname").strip() == HOSTNAME
    cloud = machine.ask("cloud-init status || true").strip()
    return f"{cloud}; payload {runs[1]} runs; secrets moved off the boot partition; its ssh key logs in at {HOSTNAME}"
