import pytest

from digitcam.benchmarks.latency import latency, summary
from digitcam.core.bundle import open_bundle
from digitcam.core.card import FORMATS
from digitcam.core.errors import BenchmarkInvalidError


def test_summary_by_hand() -> None:
    found = summary(9.0, [float(ms) for ms in range(1, 102)], reference_ms=102.0)
    assert (found.p50_ms, found.p90_ms, found.p99_ms, found.max_ms) == (51, 91, 100, 101)
    assert (found.runs, found.first_ms, found.ratio) == (101, 9, 2)
    assert found.seconds == pytest.approx(5.151)
    assert found.fps == pytest.approx(1000 / 51, abs=0.1)


def test_no_runs_are_no_result() -> None:
    with pytest.raises(BenchmarkInvalidError):
        summary(1.0, [], 1.0)


def test_every_format_runs_as_often_and_long_as_asked() -> None:
    found = latency(open_bundle("canvas"), min_runs=60, min_seconds=0.05, say=lambda _: None)
    assert set(found.formats) == set(FORMATS)
    for one in found.formats.values():
        assert one.runs >= 60 and one.seconds >= 0.05
        assert 0 < one.p50_ms <= one.p90_ms <= one.p99_ms <= one.max_ms
    assert found.formats["fp32.onnx"].ratio == pytest.approx(1)
    assert found.subject.sha256.keys() == set(FORMATS) and found.environment.packages["numpy"]
