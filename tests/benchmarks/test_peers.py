import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from digitcam.benchmarks.peers import peers
from digitcam.core.bundle import open_bundle
from digitcam.core.errors import BenchmarkInvalidError, ConfigError


@pytest.fixture
def _tesseract() -> None:
    if shutil.which("tesseract") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs tesseract: apt install tesseract-ocr")
        pytest.skip("tesseract is not installed")


@pytest.mark.usefixtures("_tesseract")
def test_both_read_the_same_frames() -> None:
    found = peers(open_bundle("canvas"), "demo:", 4, say=lambda _: None)
    assert found.frames == 4 and set(found.peers) == {"digitcam", "tesseract"}
    assert found.peers["digitcam"].sequence_accuracy == 1.0
    assert all(peer.p50_ms > 0 and peer.version for peer in found.peers.values())


@pytest.mark.usefixtures("_tesseract")
def test_frames_without_a_truth_are_no_benchmark(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "image.png"), np.zeros((20, 20), np.uint8))
    with pytest.raises(BenchmarkInvalidError, match="does not say what its frames show"):
        peers(open_bundle("canvas"), str(tmp_path), 4, say=lambda _: None)


def test_without_tesseract_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ConfigError, match="apt install tesseract-ocr"):
        peers(open_bundle("canvas"), "demo:", 4)
