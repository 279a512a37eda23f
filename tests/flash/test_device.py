"""The installer: interrupted after every step with a light runner, then with the real one and bundles that fail."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from box import REPOSITORY, Box, light_wheel, payload, seal

from digitcam.flash import device as installer

QUICK = ("--window", "0.2")


class Light:
    """A device on which the second slot runs, the first was before it, and the third, which reads nothing, waits."""

    def __init__(self, folder: Path) -> None:
        self.box, self.folder = Box(folder), folder
        self.before = self.box.tree()
        wheel = light_wheel(folder)
        self.one, self.two, self.mute = (payload(folder / name, wheel, f"{name}\n") for name in ("one", "two", "mute"))
        for name, slot in (("one", self.one), ("two", self.two)):
            self.box.ok("install", folder / name)
            assert self.box.ok("switch", slot, *QUICK)["confirmed"]
        self.box.ok("install", folder / "mute")


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Light]:
    light = Light(tmp_path_factory.mktemp("light"))
    yield light
    light.box.cut_power()


def steps(task: str) -> list[str]:
    """Return a task's steps as `device.done` is told of them."""
    nothing = installer.Device(Path("/nowhere"))
    journal = {"slot": "a", "before": None, "returning": {}}
    made = {
        "install": lambda: installer.install_steps(nothing, {"id": "a"}, Path),
        "switch": lambda: installer.switch_steps(nothing, journal),
        "confirm": lambda: installer.confirm_steps(nothing, journal),
        "return": lambda: installer.return_steps(nothing, journal),
        "remove": lambda: installer.remove_steps(nothing),
    }[task]()
    return [f"{task} {name}" for name in made]


# Interrupted


def test_power_is_cut_after_each_step_of_a_switch(light: Light) -> None:
    box = light.box
    for step in steps("switch"):
        old, new = box.slots()
        box.call("switch", new, *QUICK, kill=step)
        box.cut_power()
        box.boot()
        # From the word of what is to be done on, the boot goes on with it.
        assert box.runs() == (old if step == "switch keep" else new), step
        assert box.ok("switch", new, *QUICK)["confirmed"]
        assert (box.runs(), box.slots(), (box.home / "trial.json").exists()) == (new, (new, old), False)


def test_a_switch_killed_after_each_step_is_gone_on_with_by_the_same_command(light: Light) -> None:
    box = light.box
    old, new = box.slots()
    for step in steps("switch"):
        box.call("switch", new, *QUICK, kill=step)
        assert box.runs() in (old, new), step
    told = {"slot": new, "confirmed": True, "before": old, "switched": True}
    assert box.ok("switch", new, *QUICK) == told
    assert (box.runs(), box.slots()) == (new, (new, old))


def test_a_trial_after_a_switch_killed_before_its_end_watches_the_new_slot(light: Light) -> None:
    box, (old, new) = light.box, light.box.slots()
    box.call("switch", new, *QUICK, kill="switch link")
    assert box.runs() == old
    assert box.ok("trial", new) == {"slot": new, "confirmed": True}
    assert box.runs() == new


def test_power_is_cut_while_a_trial_is_confirmed(light: Light) -> None:
    box = light.box
    for step in steps("confirm"):
        old, new = box.slots()
        box.call("switch", new, *QUICK, kill=step)
        box.cut_power()
        box.boot()
        assert (box.runs(), box.slots()) == (new, (new, old)), step
        assert box.ok("trial", new)["slot"] == new


def test_power_is_cut_after_each_step_back_from_a_slot_that_does_not_read(light: Light) -> None:
    box, before = light.box, light.box.slots()
    for step in steps("return"):
        box.call("switch", light.mute, *QUICK, kill=step)
        box.cut_power()
        box.boot()
        assert (box.runs(), box.slots()) == (before[0], before), step
        line = box.fails(3, "trial", light.mute)
        assert line.startswith(f"went back from {light.mute} to {before[0]}: none of "), line
        assert not (box.home / "trial.json").exists()


def test_power_is_cut_after_each_step_of_a_rollback(light: Light) -> None:
    box = light.box
    for step in steps("return"):
        old, new = box.slots()
        box.call("rollback", new, kill=step)
        box.cut_power()
        box.boot()
        assert (box.runs(), box.slots()) == (new, (new, old)), step
        assert box.ok("rollback", new) == {"slot": new, "rolled_back": False}


def test_an_install_killed_after_each_step_is_made_anew_and_what_runs_is_not_touched(light: Light) -> None:
    box, slots = light.box, light.box.slots()
    running = box.unit()["MainPID"]
    slot = payload(light.folder / "new", light_wheel(light.folder), "new\n")
    for step in steps("install"):
        box.call("install", light.folder / "new", kill=step)
        whole = step == "install seal"
        if not whole:
            box.fails(2, "switch", slot)
        assert box.ok("status")["slots"].get(slot, {"ready": False})["ready"] is whole, step
    assert box.ok("install", light.folder / "new") == {"slot": slot, "installed": False}
    assert (box.slots(), box.unit()["MainPID"]) == (slots, running)


def test_a_slot_that_takes_the_device_down_is_tried_three_times(light: Light) -> None:
    box, (old, new) = light.box, light.box.slots()
    box.call("switch", new, "--window", "600", kill="switch start")
    for boot in range(1, 4):
        box.cut_power()
        box.systemctl("boot")
        assert box.runs() == new
        assert json.loads((box.home / "trial.json").read_text())["boots"] == boot
    box.cut_power()
    box.boot()
    assert (box.runs(), box.slots()) == (old, (old, new))
    failed = json.loads((box.home / "failed.json").read_text())
    assert (failed["slot"], failed["code"]) == (new, 3)
    assert failed["reason"] == "the device went down 3 times in its trial"


def test_secrets_go_with_the_slot_they_were_sent_for_wherever_the_power_is_cut(light: Light) -> None:
    box, folder = light.box, light.box.root / "etc/digitcam"
    folder.mkdir(exist_ok=True)
    secret = folder / "mqtt-password"
    for step in steps("switch"):
        old, new = box.slots()
        secret.write_text(old)
        (folder / ".mqtt-password.new").write_text(new)
        box.call("switch", new, *QUICK, "--secret", "mqtt-password", kill=step)
        box.cut_power()
        box.boot()
        assert secret.read_text() == box.runs() == (old if step == "switch keep" else new), step
        assert box.ok("switch", new, *QUICK, "--secret", "mqtt-password")["confirmed"]
        assert [path.name for path in folder.iterdir()] == ["mqtt-password"]
    box.ok("install", light.folder / "mute")
    for step in steps("return"):
        (folder / ".mqtt-password.new").write_text("of what reads nothing")
        box.call("switch", light.mute, *QUICK, "--secret", "mqtt-password", kill=step)
        box.cut_power()
        box.boot()
        assert secret.read_text() == box.runs() == new, step
        assert [path.name for path in folder.iterdir()] == ["mqtt-password"]
    shutil.rmtree(folder)


def test_other_secrets_for_the_slot_that_runs_are_on_trial_too(light: Light) -> None:
    box, (current, previous) = light.box, light.box.slots()
    folder, pid = light.box.root / "etc/digitcam", light.box.unit()["MainPID"]
    folder.mkdir()
    secret, sent = folder / "mqtt-password", folder / ".mqtt-password.new"
    secret.write_text("first")
    sent.write_text("second")
    told = box.ok("switch", current, *QUICK, "--secret", "mqtt-password")
    assert told == {"slot": current, "confirmed": True, "before": current, "switched": True}
    assert box.unit()["MainPID"] != pid and secret.read_text() == "second"

    sent.write_text("third")
    done = box.call("--progress", "switch", current, *QUICK, "--secret", "mqtt-password", "--memory-mb", "1")
    assert (done.returncode, secret.read_text()) == (3, "second"), done
    assert "step the former mqtt-password came back" in done.stderr
    assert done.stderr.splitlines()[-1].startswith(
        f"install.py: went back from {current} to its former secrets: it takes "
    )
    assert (box.runs(), box.slots()) == (current, (current, previous))
    assert "--secret ../x: name it with letters" in box.fails(2, "switch", current, "--secret", "../x")
    shutil.rmtree(folder)


def test_of_slots_that_failed_one_is_kept(light: Light) -> None:
    box, slots = light.box, light.box.slots()
    for name in ("third", "fourth"):
        slot = payload(light.folder / name, light_wheel(light.folder), f"mute {name}\n")
        box.ok("install", light.folder / name)
        box.fails(3, "switch", slot, *QUICK)
        assert set(box.ok("status")["slots"]) == {*slots, slot}
    # It may be tried once more without being sent, once what runs reads again.
    assert (box.runs(), box.slots()) == (slots[0], slots)
    box.fails(3, "switch", slot, *QUICK)
    box.ok("install", light.folder / "mute")


def test_what_flashes_ends_what_a_first_boot_has_not_achieved(light: Light) -> None:
    box, todo = light.box, light.box.root / "boot/firmware/digitcam/todo"
    todo.parent.mkdir(parents=True)
    todo.write_text("0" * 12)
    assert box.ok("switch", box.slots()[1], *QUICK)["confirmed"]
    assert not todo.exists()
    shutil.rmtree(todo.parents[2])


def test_the_runner_is_killed_in_its_trial(light: Light) -> None:
    box, (old, new) = light.box, light.box.slots()
    box.call("switch", new, "--window", "600", kill="switch start")
    assert box.runs() == new
    os.kill(int(box.unit()["MainPID"]), signal.SIGKILL)
    box.wait("digitcam.service", "activating")
    done = box.call("trial", new)
    assert done.returncode == 3, done
    assert json.loads(done.stdout)["reason"].startswith("its process ended ")
    assert (box.runs(), box.slots()) == (old, (old, new))


def test_a_digitcam_installed_by_hand_runs_again_when_the_new_one_does_not_read(tmp_path: Path) -> None:
    box, wheel = Box(tmp_path), light_wheel(tmp_path)
    zipfile.ZipFile(wheel).extract("light.py", tmp_path)
    command, config = box.home / "venv/bin/digitcam", box.root / "etc/digitcam/digitcam.toml"
    for path, text in (
        (command, f"#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} -c 'import light; light.main()' \"$@\"\n"),
        (config, ""),
    ):
        path.parent.mkdir(parents=True)
        path.write_text(text)
        path.chmod(0o755)
    by_hand = (REPOSITORY / "edge/deploy/digitcam.service").read_text() + "# changed by hand\n"
    unit = box.root / "etc/systemd/system/digitcam.service"
    unit.write_text(by_hand)
    drop_ins = unit.with_name("digitcam.service.d")
    drop_ins.mkdir()
    (drop_ins / "override.conf").write_text("# mine\n")
    box.systemctl("enable", "digitcam.service")
    box.systemctl("start", "digitcam.service")
    assert box.wait("digitcam.service", "active")

    slot = payload(tmp_path / "mute", wheel, "mute\n")
    box.ok("install", tmp_path / "mute")
    assert box.fails(3, "switch", slot, *QUICK).startswith(f"went back from {slot} to manual: none of ")
    pid = box.wait("digitcam.service", "active")["MainPID"]
    assert str(config) in Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    assert unit.read_text() == by_hand and [path.name for path in drop_ins.iterdir()] == ["override.conf"]
    assert box.slots() == (None, None)
    box.cut_power()
    box.boot()
    assert box.wait("digitcam.service", "active")
    box.ok("remove")
    assert not box.home.exists()


def test_two_installers_are_kept_apart(light: Light) -> None:
    handle = os.open(light.box.root / "opt", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        assert "another installer is at work" in light.box.fails(2, "switch", light.one)
        assert light.box.ok("status")["current"] == light.box.slots()[0]
    finally:
        os.close(handle)


# Sent file by file, damaged, for another machine


def test_what_is_missing_is_sent_and_installed(light: Light) -> None:
    box, slot = light.box, payload(light.folder / "sent", light_wheel(light.folder), "sent\n")
    text = (light.folder / "sent/payload.json").read_text()
    files = json.loads(text)["files"]
    (box.home / "incoming").mkdir(exist_ok=True)
    half = next(path for path in files if path.endswith(".whl"))
    (box.home / "incoming" / files[half]).write_bytes((light.folder / "sent" / half).read_bytes()[:100])
    told = box.ok("missing", stdin=text)
    assert set(told["missing"].values()) == set(files.values())
    assert "damaged or missing" in box.fails(2, "install", stdin=text)
    for path, sha256 in told["missing"].items():
        shutil.copy(light.folder / "sent" / path, box.home / "incoming" / sha256)
    assert box.ok("missing", stdin=text)["missing"] == {}
    assert box.ok("install", stdin=text) == {"slot": slot, "installed": True}


@pytest.mark.parametrize(
    ("file", "code"), [("model/card.json", 3), ("digitcam.toml", 2), ("wheels/digitcam-0.0.1-py3-none-any.whl", 2)]
)
def test_a_damaged_file_stops_it_before_anything_changes(light: Light, tmp_path: Path, file: str, code: int) -> None:
    slot = payload(tmp_path / "p", light_wheel(tmp_path), "damaged\n")
    (tmp_path / "p" / file).write_bytes(b"x" + (tmp_path / "p" / file).read_bytes()[1:] + b"x")
    assert light.box.fails(code, "install", tmp_path / "p") == f"{file} is damaged or missing: send it again"
    assert not (light.box.home / "slots" / slot).exists()


def test_a_device_with_allowed_signers_takes_no_other_bundle_whatever_its_configuration_says(
    light: Light, tmp_path: Path
) -> None:
    signers = light.box.root / "etc/digitcam/allowed_signers"
    for name in ("ann", "bob"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(tmp_path / name)]
        subprocess.run(command, check=True)
    folder, before = tmp_path / "p", light.box.slots()
    payload(folder, light_wheel(tmp_path), "signed?\n")
    signers.parent.mkdir()
    signers.write_text(f'ann namespaces="digitcam" {(tmp_path / "ann.pub").read_text()}')
    try:
        unsigned = f"the bundle is not signed, and {signers} names who must: digitcam bundle sign"
        assert light.box.fails(3, "install", folder) == unsigned
        for who, why in (("bob", "No principal matched"), ("ann", "incorrect signature"), ("ann", "")):
            sign = [
                "ssh-keygen",
                "-Y",
                "sign",
                "-q",
                "-n",
                "digitcam",
                "-f",
                str(tmp_path / who),
                folder / "model/card.json",
            ]
            (folder / "model/card.json.sig").unlink(missing_ok=True)
            subprocess.run(sign, check=True, capture_output=True)
            if why == "incorrect signature":
                (folder / "model/card.json").write_text("{ }")
            slot = seal(folder)
            if not why:
                assert light.box.ok("install", folder) == {"slot": slot, "installed": True}
                continue
            line = light.box.fails(3, "install", folder)
            assert line.startswith(f"the bundle is not signed as {signers} asks: ") and why in line, line
            assert not (light.box.home / "slots" / slot).exists()
        (folder / "model/model.int8.onnx").write_bytes(b"of somebody else")
        seal(folder)
        line = light.box.fails(3, "install", folder)
        assert line.startswith("model/model.int8.onnx is not the one that the bundle's card vouches for"), line
        assert light.box.slots() == before
    finally:
        shutil.rmtree(signers.parent)


@pytest.mark.parametrize("requires", [{"machine": "riscv64"}, {"python": "3.9"}])
def test_a_payload_for_another_machine(light: Light, tmp_path: Path, requires: dict[str, str]) -> None:
    payload(tmp_path / "p", light_wheel(tmp_path), "other\n", **requires)
    assert "the payload is for " in light.box.fails(2, "install", tmp_path / "p")


@pytest.mark.parametrize("path", ["../evil", "/etc/passwd", "venv/bin/python", "model/../../x", "ready", ".hidden"])
def test_a_path_out_of_the_slot_is_refused(path: str) -> None:
    files = dict.fromkeys(
        ["requirements.txt", "digitcam.toml", "model/card.json", "digitcam.service", "digitcam-trial.service"], "0" * 64
    )

    def text(files: dict[str, str]) -> str:
        lines = "".join(sorted(f"{sha256}  {name}\n" for name, sha256 in files.items()))
        requires = {"machine": "m", "python": "p", "system_packages": False}
        digest = hashlib.sha256(lines.encode()).hexdigest()[:12]
        return json.dumps({"schema": 1, "id": digest, "requires": requires, "files": files})

    assert installer.read_payload(text(files))["files"] == files
    with pytest.raises(installer.Failure, match="a file's path"):
        installer.read_payload(text({**files, path: "0" * 64}))


def test_wrong_words_are_one_line(light: Light) -> None:
    assert light.box.fails(2, "swap").endswith(": see --help")
    assert light.box.fails(2, "switch", "../one").startswith("../one: no such slot")
    assert light.box.fails(2, "rollback", "0" * 12).startswith("there is no slot 000000000000 to go back to")


def test_facts(light: Light) -> None:
    facts = light.box.ok("facts")
    assert (facts["machine"], facts["python"]) == (os.uname().machine, "{}.{}".format(*sys.version_info))
    assert (facts["systemd"], facts["root"], facts["numpy"]) == ("252", os.geteuid() == 0, np.__version__)
    assert light.one in facts["slots"] and facts["current"] == light.box.slots()[0]


# What it takes to pass, by hand


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({}, None, ""),
        ({"frames": 10}, 4, "no fresh frames: 10 in all, the newest 0.5 s old"),
        ({"since_frame_s": 11.0}, 4, "no fresh frames: 30 in all, the newest 11.0 s old"),
        ({"since_frame_s": None}, 4, "no fresh frames: 30 in all, the newest None s old"),
        ({"broker": False}, 5, "the broker is not connected"),
        ({"broker": True}, None, ""),
        ({"accepted": 0}, 3, "none of 30 frames gave a reading that is accepted (low_confidence 1, no_number 20)"),
    ],
)
def test_what_a_run_lacks(changes: dict[str, object], code: int | None, text: str) -> None:
    rejected = {"no_number": 20, "low_confidence": 1}
    first = {"frames": 10, "since_frame_s": 0.5, "accepted": 5, "rejected": rejected, "broker": None}
    asks = {"frames": True, "reading": True}
    found = installer.lacking(first, {**first, "frames": 30, **changes}, asks)
    assert (found and found.code, str(found or "")) == (code, text)
    if code == 3:
        assert installer.lacking(first, {**first, "frames": 30, **changes}, {**asks, "reading": False}) is None


def test_a_rename_follows_the_file_and_is_followed_by_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda fd: (said.append(f"sync {Path(f'/proc/self/fd/{fd}').readlink()}"), sync(fd))
    )
    monkeypatch.setattr(os, "replace", lambda a, b: (said.append(f"rename {b}"), replace(a, b)))
    installer.write(tmp_path / "trial.json", b"{}")
    installer.point(tmp_path / "current", "abc")
    part, trial, current = (tmp_path / name for name in (".trial.json.part", "trial.json", "current"))
    trial_said = [f"sync {part}", f"rename {trial}", f"sync {tmp_path}"]
    assert said == [*trial_said, f"rename {current}", f"sync {tmp_path}"]


class Gone(io.StringIO):
    """Where nobody listens any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_task_goes_on_when_nobody_listens_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    did: list[str] = []
    monkeypatch.setattr(sys, "stderr", Gone())
    monkeypatch.setattr(installer, "PROGRESS", True)
    installer.perform("task", {"a": lambda: did.append("a"), "b": lambda: did.append("b")})
    assert did == ["a", "b"]
