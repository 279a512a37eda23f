"""Machines as small trees of files."""

from pathlib import Path

import msgspec
import pytest

from digitcam.benchmarks.environment import Environment, environment
from digitcam.core.source import source_commit


def write(root: Path, name: str, content: str | bytes) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def test_a_raspberry_pi_tells_all_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "proc/device-tree/model", b"Raspberry Pi 5 Model B Rev 1.0\0")
    write(tmp_path, "proc/cpuinfo", "processor\t: 0\nFeatures\t: fp asimd asimddp\nRevision\t: d04170\n")
    write(tmp_path, "proc/meminfo", "MemTotal:        8000000 kB\nMemAvailable:    7000000 kB\n")
    write(tmp_path, "etc/os-release", 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\n')
    write(tmp_path, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "ondemand\n")
    monkeypatch.setenv("DIGITCAM_COOLING", " active cooler ")
    monkeypatch.setenv("DIGITCAM_SUPPLY", "USB-C, 5.1 V, 5 A")
    found = environment(tmp_path)
    assert (found.board, found.cpu) == ("Raspberry Pi 5 Model B Rev 1.0",) * 2
    assert found.revision == "d04170" and found.cpu_int8 == ["asimddp"]
    assert found.memory_mb == 8192.0
    assert found.os == "Debian GNU/Linux 13 (trixie)" and found.governor == "ondemand"
    assert (found.cooling, found.supply) == ("active cooler", "USB-C, 5.1 V, 5 A")
    assert found.commit == source_commit()
    # The device tree's word comes before that of /proc/cpuinfo.
    write(tmp_path, "proc/device-tree/system/linux,revision", b"\x00\xc0\x31\x14")
    assert environment(tmp_path).revision == "c03114"


@pytest.mark.parametrize(("line", "name"), [("PRETTY_NAME=Alpine", "Alpine"), ("PRETTY_NAME='A b'", "A b"), ("", None)])
def test_the_system_s_name(line: str, name: str | None, tmp_path: Path) -> None:
    write(tmp_path, "etc/os-release", f"ID=x\n{line}\n")
    assert environment(tmp_path).os == name


def test_what_is_not_told_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIGITCAM_COOLING", "")
    monkeypatch.delenv("DIGITCAM_SUPPLY", raising=False)
    found = environment(tmp_path)
    untold = (found.board, found.revision, found.memory_mb, found.os, found.governor, found.cooling, found.supply)
    assert untold == (None,) * 7 and found.cpu_int8 == []


def test_a_result_from_before_is_read() -> None:
    old = b'{"cpu":"x","cores":2,"cpu_int8":[],"system":"Linux x86_64","python":"3.11","packages":{}}'
    assert msgspec.json.decode(old, type=Environment).kernel is None
