import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from digitcam.benchmarks import soak as module
from digitcam.benchmarks import views
from digitcam.benchmarks.results import Sample, SoakResult, read_result
from digitcam.benchmarks.soak import SAMPLES, Samples, _Arrived, soak
from digitcam.benchmarks.validity import growth, soak_objections
from digitcam.cli import cli
from digitcam.core.bundle import open_bundle
from digitcam.core.errors import BenchmarkInvalidError, ConfigError


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


STEADY = [Sample(seq, 130.0, 8, 13 + seq % 3) for seq in range(20)]


def grown(mb: float) -> list[Sample]:
    """A run whose memory is by so much higher in its second half."""
    return [*STEADY[:10], *(replace(one, memory_mb=130 + mb) for one in STEADY[10:])]


@pytest.mark.parametrize(
    ("lost", "samples", "reasons"),
    [
        (0, grown(2.0), []),
        (3, grown(2.0), ["3 readings were lost"]),
        (0, grown(2.1), ["memory grew by 2.1 MB, more than 2"]),
        (0, [*STEADY[:10], *(replace(one, threads=9) for one in STEADY[10:])], ["threads grew by 1, more than 0"]),
        # One moment is no growth.
        (0, [*STEADY[:10], replace(STEADY[0], threads=9), *STEADY[11:]], []),
        (
            1,
            [replace(one, descriptors=13 + one.frames) for one in grown(-1.0)],
            ["1 readings were lost", "descriptors grew by 18, more than 2"],
        ),
        (0, [], ["its memory was not looked at"]),
    ],
)
def test_what_would_not_do_for_months(lost: int, samples: list[Sample], reasons: list[str]) -> None:
    assert soak_objections(lost, samples) == reasons


def test_a_run_that_does_not_hold_out_exits_6_and_is_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed = Path(__file__).parents[2] / "benchmarks" / "results" / "canvas-soak.json"
    bad = replace(read_result(committed, SoakResult), valid=False, reasons=["3 readings were lost"])
    monkeypatch.setattr(module, "soak", lambda *_: bad)
    out = tmp_path / "soak.json"
    done = CliRunner().invoke(cli, ["bench", "soak", "canvas", "--out", str(out)])
    assert isinstance(done.exception, BenchmarkInvalidError) and done.exception.exit_code == 6
    assert str(done.exception).startswith("the measurement is invalid and no result: 3 readings were lost (it is in ")
    aside = tmp_path / "soak.invalid.json"
    assert (out.exists(), aside.exists()) == (False, True)
    with pytest.raises(BenchmarkInvalidError, match=r"soak\.invalid\.json: .* no result: 3 readings"):
        read_result(aside, SoakResult)
    assert views.invalid({"soak.invalid.json": bad}) == {"soak.invalid.json": ["3 readings were lost"]}


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
    # Fewer samples than tell growth from warming up; what was lost counts.
    assert not any("lost" in reason for reason in found.reasons or [])
    assert all(sample.threads > 1 and sample.descriptors > 5 for sample in found.samples)
    assert "0 lost" in said[-1]
