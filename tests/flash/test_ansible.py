"""The Ansible role against two real sshds: a canary first, a second run that changes nothing, a stop, and back."""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from box import DEVICE, REPOSITORY, Box, light_wheel, payload
from sshbox import SshBox
from test_trial import spoilt

from digitcam.flash.ownwheel import own_wheel

ANSIBLE = REPOSITORY / "edge/deploy/ansible"
FIRST, SECOND, THIRD = "first password\n", "second password\n", "third password\n"


class Fleet:
    """Two devices and an inventory of them; `cellar` is the canary."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cellar, self.attic = (SshBox(folder / name, name) for name in ("cellar", "attic"))
        # The paths of sockets are short.
        self.sockets = Path(tempfile.mkdtemp(prefix="ssh-"))
        hosts = {device.name: self._host(device) for device in (self.cellar, self.attic)}
        (folder / "inventory.yml").write_text(json.dumps({"digitcam": {"hosts": hosts}}))

    def _host(self, device: SshBox) -> dict[str, object]:
        return {
            "ansible_host": "127.0.0.1",
            "ansible_port": device.port,
            "ansible_user": getpass.getuser(),
            "ansible_become": False,
            "ansible_ssh_private_key_file": str(device.key),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={device.known} -o IdentitiesOnly=yes",
            # Its sshd has no sftp.
            "ansible_ssh_transfer_method": "piped",
            "ansible_remote_tmp": str(device.folder / "tmp"),
            "ansible_python_interpreter": sys.executable,
            "digitcam_root": str(device.box.root),
            "digitcam_window_s": 0.2,
            "digitcam_start_s": 600,
        }

    def play(self, playbook: str, *words: object, **given: object) -> tuple[int, str, dict[str, dict[str, int]]]:
        """Run a playbook; return its exit code, what it says, and what its recap counts by host."""
        (self.folder / "given.json").write_text(json.dumps(given))
        command = [sys.executable, "-m", "ansible", "playbook", playbook, "-i", self.folder / "inventory.yml"]
        changes = {
            "ANSIBLE_CONFIG": ANSIBLE / "ansible.cfg",
            "ANSIBLE_HOME": self.folder / "home",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": self.sockets,
            "ANSIBLE_NOCOLOR": 1,
            "LC_ALL": "C.UTF-8",
        }
        done = subprocess.run(
            [str(word) for word in (*command, "-e", f"@{self.folder / 'given.json'}", *words)],
            cwd=ANSIBLE,
            env={**os.environ, **{key: str(value) for key, value in changes.items()}},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        recap = re.findall(r"^(\w+) +: (ok=.*)$", done.stdout, re.MULTILINE)
        counts = {host: {key: int(n) for key, n in re.findall(r"(\w+)=(\d+)", line)} for host, line in recap}
        return done.returncode, done.stdout, counts

    def stop(self) -> None:
        for socket in self.sockets.iterdir():
            subprocess.run(["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "x"], capture_output=True, check=False)
        shutil.rmtree(self.sockets)
        for device in (self.cellar, self.attic):
            device.stop()


def light(folder: Path, words: str, wheel: Path | None = None) -> tuple[Path, str]:
    """Write a payload whose runner starts in no time, and return it with its id."""
    return folder / words, payload(folder / words, wheel or light_wheel(folder), f'source = "demo:"\n# {words}\n')


def changed(counts: dict[str, dict[str, int]]) -> dict[str, int]:
    return {host: count["changed"] for host, count in counts.items()}


def password(box: Box) -> tuple[str, int, list[str]]:
    """Return the secret there, who may read it, and all that lies there."""
    folder = box.root / "etc/digitcam"
    file = folder / "mqtt-password"
    return file.read_text(), file.stat().st_mode & 0o777, sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    return light(tmp_path_factory.mktemp("payloads"), "one")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, one: tuple[Path, str]) -> Iterator[Fleet]:
    """Two devices that run the same, after it was only asked what would change."""
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    try:
        (folder, slot), boxes = one, (fleet.cellar.box, fleet.attic.box)
        given = {"digitcam_payload": str(folder), "digitcam_secrets": {"mqtt-password": FIRST}}
        empty = [box.tree() for box in boxes]
        code, said, counts = fleet.play("playbook.yml", "--check", "-v", **given)
        assert code == 0, said
        assert said.count(f"would install digitcam 0 with m as {slot} and switch from nothing to {slot} on trial") == 2
        assert all(changed(counts).values()) and [box.tree() for box in boxes] == empty, said

        code, said, counts = fleet.play("playbook.yml", "-v", **given)
        assert code == 0 and all(changed(counts).values()), said
        assert "first password" not in said
        for box in boxes:
            assert (box.runs(), box.slots()) == (slot, (slot, None))
            assert not (box.home / "trial.json").exists()
            assert password(box) == (FIRST, 0o600, ["mqtt-password"])
            drop_in = (box.root / "etc/systemd/system/digitcam.service.d/flash.conf").read_text()
            assert "LoadCredential=mqtt-password:/etc/digitcam/mqtt-password" in drop_in
        yield fleet
    finally:
        fleet.stop()


def test_a_second_run_changes_nothing_but_what_is_new(fleet: Fleet, one: tuple[Path, str]) -> None:
    folder, slot = one
    boxes = (fleet.cellar.box, fleet.attic.box)
    before = [(box.disk(), box.unit()["MainPID"]) for box in boxes]
    given = {"digitcam_payload": str(folder), "digitcam_secrets": {"mqtt-password": FIRST}}
    code, said, counts = fleet.play("playbook.yml", **given)
    assert (code, changed(counts)) == (0, {"cellar": 0, "attic": 0}), said
    assert [(box.disk(), box.unit()["MainPID"]) for box in boxes] == before

    # Another secret alone: the service starts anew with it.
    given["digitcam_secrets"] = {"mqtt-password": THIRD}
    code, said, counts = fleet.play("playbook.yml", "--limit", "attic", **given)
    assert (code, changed(counts)) == (0, {"attic": 2}), said
    assert password(fleet.attic.box) == (THIRD, 0o600, ["mqtt-password"])
    assert fleet.attic.box.runs() == slot
    assert fleet.attic.box.unit()["MainPID"] != before[1][1]


def test_what_reads_rubbish_stops_at_the_canary(fleet: Fleet, one: tuple[Path, str], tmp_path: Path) -> None:
    slot, attic = one[1], fleet.attic.box
    before = attic.disk(), attic.unit()["MainPID"], password(attic)
    config = 'source = "demo:"\nformat = "fp32.onnx"\n'
    rubbish = payload(tmp_path / "payload", own_wheel(tmp_path), config, spoilt(tmp_path / "bundle", "rubbish"))
    given = {"digitcam_payload": str(tmp_path / "payload"), "digitcam_secrets": {"mqtt-password": SECOND}}
    code, said, counts = fleet.play("playbook.yml", digitcam_window_s=4, **given)
    assert (code, set(counts)) == (2, {"cellar"}), said
    assert re.search(rf"install\.py: went back from {rubbish} to {slot}: none of \d+ frames gave a reading", said), said
    assert "second password" not in said
    canary = fleet.cellar.box
    assert (canary.runs(), canary.slots()) == (slot, (slot, None))
    # What runs again has its former secret.
    assert password(canary) == (FIRST, 0o600, ["mqtt-password"])
    assert (attic.disk(), attic.unit()["MainPID"], password(attic)) == before


def test_devices_tell_how_they_do_and_go_back(fleet: Fleet, one: tuple[Path, str], tmp_path: Path) -> None:
    folder, first = one
    two, second = light(tmp_path, "two", next((folder / "wheels").iterdir()))
    limit, box = ("--limit", "attic"), fleet.attic.box
    code, said, counts = fleet.play("playbook.yml", *limit, digitcam_payload=str(two))
    assert code == 0 and (box.runs(), box.slots()) == (second, (second, first)), said
    # Only what is another was sent: the configuration.
    assert re.findall(r"item=([\w./-]+)\)", said) == ["digitcam.toml"], said

    code, said, counts = fleet.play("rollback.yml", "--check", *limit)
    assert (code, changed(counts)) == (0, {"attic": 1}) and f"would go back from {second} to {first}" in said, said
    assert box.slots() == (second, first)
    code, said, counts = fleet.play("rollback.yml", *limit)
    assert (code, changed(counts)) == (0, {"attic": 1}), said
    assert (box.runs(), box.slots()) == (first, (first, second))
    code, said, counts = fleet.play("status.yml", *limit)
    assert (code, changed(counts)) == (0, {"attic": 0}), said
    assert f"digitcam 0, m, slot {first} (before it {second}), active, " in said


def test_a_payload_for_another_device_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    payload(tmp_path / "other", light_wheel(tmp_path), 'source = "demo:"\n', machine="riscv64")
    box = fleet.attic.box
    before = box.disk()
    code, said, _ = fleet.play("playbook.yml", "--limit", "attic", digitcam_payload=str(tmp_path / "other"))
    assert code == 2 and "the payload is for riscv64 with Python " in said, said
    assert box.disk() == before


def test_readme_specifications_and_defaults_name_the_same_variables() -> None:
    role = ANSIBLE / "roles/digitcam"
    defaults = set(yaml.safe_load((role / "defaults/main.yml").read_text())) | {"digitcam_payload"}
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    assert {name for entry in specs.values() for name in entry["options"]} == defaults
    table = "".join(re.findall(r"^\| `.*$", (ANSIBLE / "README.md").read_text(), re.MULTILINE))
    assert set(re.findall(r"`(digitcam_\w+)`", table)) == defaults - {"digitcam_root"}  # for tests


def test_the_role_has_every_option_of_a_trial() -> None:
    done = subprocess.run([sys.executable, DEVICE, "switch", "--help"], capture_output=True, text=True, check=True)
    options = set(re.findall(r"--[a-z][a-z-]+", done.stdout)) - {"--help"}
    assert options == set(re.findall(r"--[a-z][a-z-]+", (ANSIBLE / "roles/digitcam/vars/main.yml").read_text())) - {
        "--root"
    }


def test_ansible_lint_finds_nothing(tmp_path: Path) -> None:
    # A copy: it keeps a cache beside what it reads.
    folder = tmp_path / "ansible"
    shutil.copytree(ANSIBLE, folder, ignore=shutil.ignore_patterns(".ansible"))
    command = [sys.executable, "-m", "ansiblelint", "--strict", "--nocolor", "--project-dir", str(folder)]
    # It looks for the other commands of its environment by PATH.
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "ANSIBLE_HOME": str(tmp_path / "home"), "LC_ALL": "C.UTF-8", "PATH": path}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Profile 'production' was required, and it passed" in done.stderr, done.stderr
