"""A new version on trial: this repository's wheel, the real runner, a broker, and bundles spoilt on purpose."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from box import REPOSITORY, Box, payload
from spoilt import spoilt

from digitcam.core.bundle import SHIPPED
from digitcam.edge.health_file import Vitals

CONFIG = 'source = "demo:"\nformat = "fp32.onnx"\n'
QUICK = ("--window", "4", "--memory-mb", "450")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This repository's wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def broker(port: int, folder: Path) -> subprocess.Popen[bytes]:
    """Start a mosquitto that lets everybody in."""
    tool = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
    if not tool:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            "mosquitto is not installed: apt-get install it"
        )
    (folder / "conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    return subprocess.Popen(
        [str(tool), "-c", str(folder / "conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    box = Box(tmp_path_factory.mktemp("trial"))
    yield box
    box.cut_power()


@pytest.fixture(scope="module")
def good(box: Box, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A slot that reads and has proved itself, after it failed as long as there was no broker."""
    folder = tmp_path_factory.mktemp("good")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mqtt = f'[mqtt]\nhost = "127.0.0.1"\nport = {port}\ntopic = "meter"\ntls = false\n'
    slot = payload(folder / "payload", wheel, CONFIG + mqtt, SHIPPED / "canvas")
    assert box.ok("install", folder / "payload") == {"slot": slot, "installed": True}

    done = box.call("switch", slot, *QUICK)
    assert done.returncode == 5, done
    told = json.loads(done.stdout)
    assert (told["slot"], told["before"], told["code"]) == (slot, None, 5)
    assert told["reason"] == "the broker is not connected"
    assert any("cannot reach the broker" in line for line in told["log"])
    # There is nothing to go back to: the slot stays, and nothing runs, not at the next boot either.
    assert (box.slots(), box.unit()["ActiveState"]) == ((None, None), "inactive")
    assert box.ok("status")["slots"][slot]["ready"]
    assert not (box.root / "etc/systemd/system/multi-user.target.wants").exists()

    mosquitto = broker(port, folder)
    try:
        with socket.socket() as probe:
            while probe.connect_ex(("127.0.0.1", port)):
                assert mosquitto.poll() is None
        assert box.ok("switch", slot, *QUICK)["confirmed"]
        yield slot
    finally:
        mosquitto.terminate()
        mosquitto.wait()


def wait_until_read(box: Box) -> None:
    """Wait until what runs has accepted a number: it may have been started but a moment ago."""
    health = box.root / "run/digitcam/health.json"
    while not (health.is_file() and msgspec.json.decode(health.read_bytes(), type=Vitals).accepted):
        assert box.unit()["ActiveState"] in ("active", "activating")
        time.sleep(0.05)


def test_the_service_says_how_it_does(box: Box, good: str) -> None:
    assert box.runs() == good
    pid = box.unit()["MainPID"]
    vitals = msgspec.json.decode((box.root / "run/digitcam/health.json").read_bytes(), type=Vitals)
    assert (str(vitals.pid), vitals.broker) == (pid, True)
    assert vitals.accepted > 0 and vitals.number and vitals.frames >= vitals.accepted
    status = box.ok("status")
    assert (status["current"], status["trial"], status["failed"]) == (good, None, None)
    assert status["health"]["pid"] == vitals.pid


@pytest.mark.parametrize(
    ("change", "reason", "logged"),
    [
        ("rubbish", r"none of \d+ frames gave a reading that is accepted \(", ""),
        ("crash", r"its process ended with exit code 1", "indices element out of data bounds"),
        ("hungry", r"it takes \d+ MB of memory, 450 MB are allowed", ""),
    ],
)
def test_a_bundle_that_is_spoilt_is_gone_back_from(
    box: Box, good: str, wheel: Path, tmp_path: Path, change: str, reason: str, logged: str
) -> None:
    slot = payload(tmp_path / "payload", wheel, CONFIG, spoilt(tmp_path / "bundle", change))
    box.ok("install", tmp_path / "payload")
    wait_until_read(box)
    # The slot before has read numbers, so one is asked for.
    done = box.call("switch", slot, *QUICK)
    assert done.returncode == 3, done
    told = json.loads(done.stdout)
    assert re.match(reason, told["reason"]), told
    assert logged in "\n".join(told["log"])
    assert told == json.loads((box.home / "failed.json").read_text())
    assert (box.runs(), box.slots()) == (good, (good, None))


def test_a_bundle_that_computes_otherwise_here_is_never_switched_to(
    box: Box, good: str, wheel: Path, tmp_path: Path
) -> None:
    bundle = spoilt(tmp_path / "bundle", "rubbish")
    # The shipped network with the answers of the one that is all 0.
    shutil.copy(SHIPPED / "canvas/model.fp32.onnx", bundle)
    card = msgspec.json.decode((bundle / "card.json").read_bytes())
    card["files"]["model.fp32.onnx"] = hashlib.sha256((bundle / "model.fp32.onnx").read_bytes()).hexdigest()
    (bundle / "card.json").write_text(json.dumps(card))
    slot = payload(tmp_path / "payload", wheel, CONFIG, bundle)
    assert "golden inputs otherwise than at export" in box.fails(3, "install", tmp_path / "payload")
    assert not (box.home / "slots" / slot).exists()
    assert box.runs() == good


def test_nothing_is_left(box: Box, good: str) -> None:
    (box.root / "etc/digitcam").mkdir()
    (box.root / "etc/digitcam/mqtt-password").write_text("secret")
    assert box.ok("remove") == {"removed": True}
    places = ["etc", "etc/systemd", "etc/systemd/system", "opt", "run", "var", "var/lib"]
    assert (box.tree(), box.unit()["ActiveState"]) == (places, "inactive")
    assert box.ok("remove") == {"removed": True}
