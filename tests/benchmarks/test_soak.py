import json
import os
import shutil

import pytest

from digitcam.benchmarks.results import Sample
from digitcam.benchmarks.soak import SAMPLES, Samples, _Arrived, growth, soak
from digitcam.core.bundle import open_bundle
from digitcam.core.errors import ConfigError


def test_growth_by_hand() -> None:
    # The first and the last tenth of thirty: 10, 11, 12 and 14, 15, 99, whose medians are 11 and 15.
    assert growth([10.0, 11, 12, *[50.0] * 24, 14, 15, 99]) == 4
    assert growth([7.0]) == 0


@pytest.mark.parametrize("seen", [1, SAMPLES, 2 * SAMPLES - 1, 2 * SAMPLES, 1000, 5039])
def test_samples_stay_few_and_even(seen: int) -> None:
    samples = Samples()
    for second in range(seen):
        samples.add(Sample(second, 1.0, 5, 9))
    frames = [sample.frames for sample in samples.kept]
    assert min(seen, SAMPLES) <= len(frames) < 2 * SAMPLES
    assert frames == list(range(0, seen, max(1, frames[1] if len(frames) > 1 else 1)))


def test_a_frame_counts_once_and_a_lost_one_is_missed() -> None:
    arrived = _Arrived(4)
    for seq in (0, 2, 2, 3):
        arrived.add(json.dumps({"seq": seq, "number": "7"}).encode())
    assert arrived.count == 3


def test_without_a_broker_the_mend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match="apt install mosquitto"):
        soak(open_bundle("canvas"), 1000)


def test_a_short_run_loses_nothing() -> None:
    if shutil.which("mosquitto") is None:
        assert os.environ.get("CI") != "true", "CI needs mosquitto: apt install mosquitto"
        pytest.skip("no mosquitto: apt install mosquitto")
    said: list[str] = []
    found = soak(open_bundle("canvas"), 1500, "int8.onnx", said.append)
    assert (found.frames, found.received, found.lost) == (1500, 1500, 0)
    assert found.pages >= 1
    assert all(sample.threads > 1 and sample.descriptors > 5 for sample in found.samples)
    assert "0 lost" in said[-1]
