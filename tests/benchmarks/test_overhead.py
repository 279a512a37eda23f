import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from digitcam.benchmarks import overhead as module
from digitcam.benchmarks.history import entries
from digitcam.benchmarks.overhead import SIZE, overhead
from digitcam.benchmarks.results import OverheadResult, read_any
from digitcam.cli import cli
from digitcam.core.bundle import open_bundle
from digitcam.core.errors import BenchmarkInvalidError
from digitcam.edge.board import Board


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"DISTINCT": 4, "BLOCK": 4, "BLOCKS": 3, "WARM_UP": 2, "STARTS": 1, "RUN_FRAMES": 5}.items():
        monkeypatch.setattr(module, name, value)


def test_a_run_is_measured_beside_its_network(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    quick(monkeypatch)
    said: list[str] = []
    found = overhead(open_bundle("canvas"), "int8.onnx", said.append)
    assert (found.format, found.frame, found.frames) == ("int8.onnx", SIZE, 12)
    assert 0 < found.rest_p50_ms <= found.rest_p90_ms <= found.rest_p99_ms
    assert min(found.run_fps, found.bare_fps, found.python_ms, found.help_ms) > 0
    # An interpreter with numpy and OpenCV, and no training library.
    assert 30 < found.memory_mb < 400
    assert len(said) == 3
    # Standard output is the reader's again, and got none of the readings.
    print("mine")
    assert capfd.readouterr().out == "mine\n"


def test_on_a_board_that_throttles_it_is_no_result(
    hot_pi: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch)
    monkeypatch.setattr(module, "Board", lambda: hot_pi)
    out = tmp_path / "x.json"
    out.write_text("earlier")
    command = ["bench", "overhead", "canvas", "--format", "int8.onnx", "--out", str(out)]
    done = CliRunner().invoke(cli, command, standalone_mode=False)
    assert isinstance(done.exception, BenchmarkInvalidError) and done.exception.exit_code == 6
    assert out.read_text() == "earlier" and "throttled: clock capped" in str(done.exception)
    invalid = read_any(tmp_path / "x.invalid.json")
    assert isinstance(invalid, OverheadResult) and not invalid.holds
    assert invalid.conditions and invalid.conditions.throttled == [
        "clock capped",
        "throttled",
        "soft temperature limit",
    ]
    # The history keeps nothing of it.
    assert entries(invalid, "a", "2026-01-01") == []
    assert len(entries(replace(invalid, valid=True), "a", "2026-01-01")) == 1


def test_asking_for_help_loads_no_numpy() -> None:
    program = "import sys; import digitcam.cli; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], env={**os.environ}).returncode == 0
