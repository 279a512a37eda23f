"""The README's installation by hand, line for line as it stands there, in a scratch root without a network."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import tomlkit
from box import REPOSITORY, Box
from test_trial import broker, wait_until_read

NANO = """
import sys, tomlkit
path, port = sys.argv[1:]
tree = tomlkit.parse(open(path).read())
tree["source"] = "demo:"
del tree["rules"]
tree["mqtt"].update(host="127.0.0.1", port=int(port), tls=False)
open(path, "w").write(tomlkit.dumps(tree))
"""


def blocks(heading: str) -> list[str]:
    """Return the shell lines below a heading of the README, block by block."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8").partition(f"\n{heading}\n")[2]
    text = re.split(r"^##", text, maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^ *```sh\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def pi(tmp_path: Path) -> Iterator[Box]:
    """A Pi with what is asked of apt, git and an editor played, and a broker of its own."""
    box = Box(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "nano.py").write_text(NANO)
    tools = {
        "sudo": 'exec "$@"',
        "apt": f'echo "$@" >> {tmp_path}/apt',
        "git": 'ln -s "$2" "$3"',
        "nano": f'exec {sys.executable} {tmp_path}/nano.py "$1" {port}',
        "python3": f'exec {sys.executable} "$@"',
    }
    for name, text in tools.items():
        tool = tmp_path / "bin" / name
        tool.write_text(f"#!/bin/sh\n{text}\n")
        tool.chmod(0o755)
    # The packages themselves, and what builds ours, are those of the tests; 0 is how pip is told no here.
    box.env |= {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "HOME": str(tmp_path / "home")}
    (tmp_path / "home").mkdir()
    mosquitto = broker(port, tmp_path)
    yield box
    mosquitto.terminate()
    mosquitto.wait()
    box.cut_power()


def follow(box: Box, folder: Path, lines: str, typed: str = "", **changes: str) -> str:
    """Run lines of the README in a folder, none of which may fail, and return what they say."""
    lines = re.sub(r"(?<![\w~.])/(etc|opt)/", rf"{box.root}/\1/", lines)
    for old, new in changes.items():
        assert old in lines, old
        lines = lines.replace(old, new)
    done = subprocess.run(
        ["bash", "-eu", "-c", lines],
        cwd=folder,
        env=box.env,
        input=typed,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "does not provide the extra" not in done.stdout
    return done.stdout


def test_from_an_empty_pi_to_a_service_that_reads(pi: Box) -> None:
    install, start = blocks("### From an empty Pi to a number in Home Assistant")[:2]
    follow(pi, pi.root.parent, install, "s3cret\n", REPOSITORY=str(REPOSITORY))
    assert (pi.root.parent / "apt").read_text() == "install -y git python3-venv python3-picamera2\n"
    password = pi.root / "etc/digitcam/mqtt-password"
    assert (password.read_text(), password.stat().st_mode & 0o777) == ("s3cret\n", 0o600)
    # What nobody can play here: the unit has systemd hand over this very file, where the configuration looks for it.
    unit = (REPOSITORY / "edge/deploy/digitcam.service").read_text()
    (name, path), *others = re.findall(r"^LoadCredential=(.*):(.*)$", unit, re.MULTILINE)
    assert (f"{pi.root}{path}", others) == (str(password), [])
    meter = tomlkit.parse((REPOSITORY / "edge/configs/meter.toml").read_text()).unwrap()
    assert meter["mqtt"]["password_file"] == f"/run/credentials/digitcam.service/{name}"

    said = follow(pi, pi.root.parent / "digitcam", start)
    assert re.search(r"^ok +camera: demo:: ", said, re.MULTILINE), said
    assert re.search(r"^ok +broker: ", said, re.MULTILINE), said
    assert pi.wait("digitcam.service", "active")
    wait_until_read(pi)
    assert (pi.root / "etc/systemd/system/multi-user.target.wants/digitcam.service").is_symlink()

    readme = " ".join((REPOSITORY / "README.md").read_text(encoding="utf-8").split())
    forget = readme.partition("To remove it all, stop the service, then `")[2].partition("`")[0]
    said = follow(pi, pi.root.parent, f"systemctl stop digitcam\n{forget}")
    assert re.search(r"^forgot homeassistant/device/.*/config$", said, re.MULTILINE), said
    # Messages, and no readings.
    assert pi.log() and '"schema"' not in pi.log()


def test_the_first_look(pi: Box) -> None:
    lines, photo = blocks("## Raspberry Pi quickstart")[0], pi.root.parent / "photo.jpg"
    image = cv2.putText(np.full((240, 320), 200, np.uint8), "4071", (60, 140), cv2.FONT_HERSHEY_SIMPLEX, 2.5, 20, 6)
    cv2.imwrite(str(photo), image)
    # Neither ends by itself, and one has no camera here.
    checked = {
        "digitcam run ": "digitcam run --check ",
        "photo.jpg": str(photo),
        "doctor --source picamera2://0": "doctor",
    }
    said = follow(pi, REPOSITORY, lines, **checked)
    assert (pi.root.parent / "apt").read_text() == "install python3-venv python3-picamera2\n"
    assert re.search(r"^ok +engine: ", said, re.MULTILINE), said
    assert "int8.tflite  5 of 5" in said, said
    assert f"{photo}: 4071 " in said, said
