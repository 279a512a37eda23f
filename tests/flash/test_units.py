"""The systemd units, by systemd's own judgement."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from box import REPOSITORY

from digitcam.flash.device import DROP_IN

UNITS = ("digitcam.service", "digitcam-trial.service")
EXPOSED = 25
"""How exposed the service may be, 0..100; below 50 systemd calls it OK."""


def analyze(folder: Path, *words: str) -> tuple[int, str]:
    """Return the exit code of systemd-analyze, and what it complains of."""
    try:
        done = subprocess.run(["systemd-analyze", *words], cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.fail("there is no systemd-analyze: apt-get install systemd")
    return done.returncode, done.stderr


@pytest.fixture(params=["by hand", "flashed"])
def units(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A folder with the units, a command that is there in place of digitcam, and the drop-in of a device flashed."""
    drop_in = tmp_path / "digitcam.service.d/flash.conf"
    drop_in.parent.mkdir()
    if request.param == "flashed":
        drop_in.write_text(f"{DROP_IN}LoadCredential=mqtt-password:/etc/digitcam/mqtt-password\n")
    files = [*(REPOSITORY / "edge/deploy" / unit for unit in UNITS), *drop_in.parent.iterdir()]
    for file in files:
        text = file.read_text()
        for command in ("/opt/digitcam/venv/bin/digitcam", "/opt/digitcam/current/venv/bin/digitcam"):
            text = text.replace(command, "/bin/true")
        (drop_in if file == drop_in else tmp_path / file.name).write_text(text)
    return tmp_path


def test_they_are_as_systemd_wants_them(units: Path) -> None:
    assert analyze(units, "verify", "--man=no", *(f"./{unit}" for unit in UNITS)) == (0, "")


def test_with_the_lines_for_a_jetson_it_is_too(units: Path) -> None:
    unit = units / "digitcam.service"
    lines, count = re.subn(r"^#(BindPaths|DevicePolicy|DeviceAllow)=", r"\1=", unit.read_text(), flags=re.MULTILINE)
    assert count == 3
    unit.write_text(lines)
    assert analyze(units, "verify", "--man=no", "./digitcam.service") == (0, "")


def test_the_service_is_little_exposed(units: Path) -> None:
    assert analyze(units, "security", "--offline=true", f"--threshold={EXPOSED}", "./digitcam.service")[0] == 0
