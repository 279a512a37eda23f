from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from digitcam.edge.log import log, write_as


@pytest.fixture(autouse=True)
def plain_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(logging, "lastResort", logging.lastResort)
    yield
    write_as("plain")


def test_plain_lines_carry_no_time(capsys: pytest.CaptureFixture[str]) -> None:
    log.info("frames come again: 100 %d")
    assert capsys.readouterr() == ("", "digitcam: frames come again: 100 %d\n")


def test_json_lines_carry_time_level_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    write_as("json")
    log.warning('"ä"\nand more')
    log.info("well")
    lines = capsys.readouterr().err.splitlines()
    told = [json.loads(line) for line in lines]
    assert [(one["level"], one["message"]) for one in told] == [("warning", '"ä"\nand more'), ("info", "well")]
    assert [list(one) for one in told] == 2 * [["ts", "level", "message"]]
    assert datetime.fromisoformat(told[0]["ts"].replace("Z", "+00:00")).utcoffset() == timedelta(0)


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    broken = os.fdopen(write, "w")
    monkeypatch.setattr(sys, "stderr", broken)
    log.info("lost")
    with suppress(BrokenPipeError):
        broken.close()
    log.info("lost too")


def run(folder: Path, *options: str) -> tuple[int, list[dict[str, Any]]]:
    """Run the command in a folder with run.toml; return its exit code and messages, each line JSON."""
    command = [sys.executable, "-m", "digitcam.cli", "run", "--config", "run.toml", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, [json.loads(line) for line in done.stderr.splitlines()]


def test_every_line_of_a_run_is_json_and_so_is_the_error_that_ends_it(tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    cv2.imwrite(str(frames / "a.png"), np.zeros((60, 80), np.uint8))
    (frames / "b.png").write_bytes(b"no image")
    config = tmp_path / "run.toml"
    # LiteRT greets on standard error by itself.
    config.write_text('source = "frames"\nformat = "int8.onnx"\nlog = "json"')
    code, told = run(tmp_path)
    assert code == 4
    assert [(one["level"], one["message"]) for one in told] == [
        ("warning", "frames/b.png: is not an image that OpenCV reads, or is damaged"),
        ("info", "read 1 frames, 0 accepted"),
    ]
    # The option wins over the file.
    config.write_text('source = "gone.mp4"\nformat = "int8.onnx"\nlog = "plain"')
    code, told = run(tmp_path, "--log", "json")
    assert code == 4
    expected = ("error", "gone.mp4: cannot read it: No such file or directory")
    assert [(one["level"], one["message"]) for one in told] == [expected]
