from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
import pytest
from readings import outcome, reading

from digitcam.edge import health_file
from digitcam.edge.health import Health
from digitcam.edge.health_file import Vitals, vitals, written


def test_two_frames_by_hand() -> None:
    health, before_s = Health(), time.monotonic()
    none = vitals(health)
    assert (none.frames, none.since_frame_s, none.number, none.broker) == (0, None, None, None)
    health.broker = lambda: False
    health.count([outcome(reading("007"))])
    health.count([outcome(reading("8", [0.1]))])
    found = vitals(health)
    assert (found.schema, found.pid, found.frames, found.accepted) == (1, os.getpid(), 2, 1)
    # The rejected one does not count as the last number.
    assert (found.rejected, found.number, found.broker) == ({"low_confidence": 1}, "007", False)
    assert found.started == health.started and found.memory_mb > 1
    assert before_s <= found.at_s + 0.001 and found.at_s <= time.monotonic() + 0.001


def read(path: Path) -> Vitals:
    return msgspec.json.decode(path.read_bytes(), type=Vitals)


def test_the_file_is_written_again_and_the_last_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # systemd may name several folders; the first counts.
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{tmp_path}:/nowhere")
    monkeypatch.setattr(health_file, "EVERY_S", 0.01)
    health, path = Health(), tmp_path / "health.json"
    with written(health):
        health.count([outcome(reading("7"))])
        while not path.exists() or read(path).frames == 0:
            time.sleep(0.01)
    assert read(path).number == "7"
    assert [file.name for file in tmp_path.iterdir()] == ["health.json"]


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.chdir(tmp_path)
    with written(Health()):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "gone"))
    monkeypatch.setattr(health_file, "EVERY_S", 0.01)
    with written(Health()):
        time.sleep(0.1)
    said = capsys.readouterr().err
    assert (
        said == f"digitcam: {tmp_path}/gone/health.json: cannot write it: No such file or directory: reading goes on\n"
    )
