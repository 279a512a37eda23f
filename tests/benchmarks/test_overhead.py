import os
import subprocess
import sys

import pytest

from digitcam.benchmarks import overhead as module
from digitcam.benchmarks.overhead import SIZE, overhead
from digitcam.core.bundle import open_bundle


def test_a_run_is_measured_beside_its_network(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"DISTINCT": 4, "BLOCK": 4, "BLOCKS": 3, "WARM_UP": 2, "STARTS": 1, "RUN_FRAMES": 5}.items():
        monkeypatch.setattr(module, name, value)
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


def test_asking_for_help_loads_no_numpy() -> None:
    program = "import sys; import digitcam.cli; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], env={**os.environ}).returncode == 0
