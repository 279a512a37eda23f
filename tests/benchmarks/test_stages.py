from pathlib import Path

import cv2
import numpy as np
import pytest

from digitcam.benchmarks import stages as module
from digitcam.benchmarks.stages import FrameTimes, stages, summarised
from digitcam.core.bundle import open_bundle
from digitcam.core.errors import SourceError


def test_stages_by_hand() -> None:
    found = summarised([FrameTimes(1.0, 2.0, 3.0, 4.0, 5.0 + k) for k in range(101)])
    assert (found.capture.p50_ms, found.preprocess.p90_ms, found.inference.p99_ms, found.decode.p50_ms) == (1, 2, 3, 4)
    assert (found.publish.p50_ms, found.publish.p90_ms, found.publish.p99_ms) == (55, 95, 104)
    assert (found.camera_to_publish.p50_ms, found.camera_to_publish.p99_ms) == (65, 114)
    assert FrameTimes(1.0, 2.0, 3.0, 4.0, 5.0).in_hand == 14


def test_whole_runs_are_taken_apart(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(module, "BLOCK", 2)
    looks: list[int] = []
    found = stages(open_bundle("canvas"), ["int8.onnx", "int8.tflite"], 1, "demo:5", 3, lambda: looks.append(1))
    assert (found.source, found.frame, found.frames) == ("demo:5", (640, 320), 3)
    assert list(found.formats) == ["int8.onnx", "int8.tflite"] and len(looks) == 4
    for one in found.formats.values():
        # Every stage takes some time, and all of them together more than any.
        parts = (one.capture, one.preprocess, one.inference, one.decode, one.publish)
        assert all(0 < part.p50_ms <= part.p90_ms <= part.p99_ms for part in parts)
        assert one.camera_to_publish.p99_ms > max(part.p50_ms for part in parts)
    # Standard output is the reader's again, and got none of the readings.
    print("mine")
    assert capfd.readouterr().out == "mine\n"


def test_a_source_with_too_few_frames(tmp_path: Path) -> None:
    for k in range(4):
        cv2.imwrite(str(tmp_path / f"{k}.png"), np.zeros((32, 64, 3), np.uint8))
    with pytest.raises(SourceError, match=r"gives too few frames: 5 are needed"):
        stages(open_bundle("canvas"), ["int8.onnx"], 1, str(tmp_path), 4)
    assert stages(open_bundle("canvas"), ["int8.onnx"], 1, str(tmp_path), 3).frame == (64, 32)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError):
        stages(open_bundle("canvas"), ["int8.onnx"], 1, str(tmp_path / "empty"), 1)
