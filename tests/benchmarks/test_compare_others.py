from pathlib import Path

import msgspec
import pytest

from digitcam.benchmarks.compare import compare_files
from digitcam.benchmarks.compare_others import compare_debug, compare_overhead, compare_peers, compare_sweep
from digitcam.benchmarks.readme import RESULTS
from digitcam.benchmarks.results import (
    DebugResult,
    FormatLosses,
    OverheadResult,
    Peer,
    PeersResult,
    SweepPoint,
    SweepResult,
    read_result,
    write_result,
)
from digitcam.benchmarks.statistics import independent_interval
from digitcam.core.errors import BenchmarkInvalidError

replace = msgspec.structs.replace


def elsewhere(result: PeersResult | OverheadResult) -> PeersResult | OverheadResult:
    return replace(result, environment=replace(result.environment, cpu="another"))


def test_peers() -> None:
    old = read_result(RESULTS / "canvas-peers.json", PeersResult)
    a = replace(old, frames=60, peers={"digitcam": Peer("1", "a", 0.9, 2.0), "ocr": Peer("1", "b", 0.8, 50.0)})
    b = replace(a, peers={"digitcam": Peer("1", "a", 0.5, 2.4), "ocr": Peer("1", "other", 0.75, 99.0)})
    # Of 60 frames 30 are right in place of 54.
    low, high = (100 * end for end in independent_interval(30, 60, 54, 60))
    interval = f"{low:+.2f} to {high:+.2f}"
    found = compare_peers(a, b)
    assert found.table[1] == ["digitcam", "0.9000", "0.5000", "-40.00", interval, "2.0 ms", "2.4 ms"]
    # The other one takes longer with another setting, which is no drop.
    assert found.drops == [f"digitcam: -40.00 points, {interval}", "digitcam: takes 1.20 times as long"]
    assert compare_peers(a, elsewhere(b)).drops == found.drops[:1]  # type: ignore[arg-type]
    assert compare_peers(b, a).drops == compare_peers(a, a).drops == []


def test_overhead() -> None:
    a = replace(read_result(RESULTS / "canvas-overhead.json", OverheadResult), run_fps=200.0, bare_fps=300.0)
    b = replace(a, bare_fps=360.0, help_ms=1.2 * a.help_ms, memory_mb=1.09 * a.memory_mb)
    # 300 / 200 and 360 / 200; a tenth more memory would be a drop.
    found = compare_overhead(a, b)
    assert found.table[1] == ["a frame, times the network", "1.50", "1.80", "1.200"]
    assert found.drops == [
        "a frame, times the network: 1.80, was 1.50",
        f"digitcam --help, ms: {1.2 * a.help_ms:.2f}, was {a.help_ms:.2f}",
    ]
    assert compare_overhead(a, elsewhere(b)).drops == found.drops[:1]  # type: ignore[arg-type]
    assert compare_overhead(b, a).drops == []


def test_sweep() -> None:
    old = read_result(RESULTS / "digitcam-s-sweep.json", SweepResult)
    a = replace(old, images=100, curves={"blur": [SweepPoint(0.1, 0.9), SweepPoint(0.2, 0.5), SweepPoint(0.3, 0.1)]})
    b = replace(a, curves={"blur": [SweepPoint(0.1, 0.85), SweepPoint(0.2, 0.2)], "turn": [SweepPoint(1, 0.0)]})
    found = compare_sweep(a, b)
    assert [row[:5] for row in found.table[1:]] == [
        ["blur", "0.1", "0.9000", "0.8500", "-5.00"],
        ["blur", "0.2", "0.5000", "0.2000", "-30.00"],
    ]
    low, high = (100 * end for end in independent_interval(20, 100, 50, 100))
    assert found.drops == [f"blur 0.2: -30.00 points, {low:+.2f} to {high:+.2f}"]


def test_debug() -> None:
    old = read_result(RESULTS / "canvas-debug.json", DebugResult)
    layers = old.formats["int8.onnx"].layers
    a = replace(old, formats={"int8.onnx": FormatLosses({"logits": 30.0, "boxes": 31.0}, 40.0, layers)})
    b = replace(old, formats={"int8.onnx": FormatLosses({"logits": 28.5, "boxes": 30.5}, 40.0, layers[1:])})
    found = compare_debug(a, b)
    first, second = layers[0].name, layers[1].name
    assert found.table[1] == ["int8.onnx", "logits", "30.0 dB", "28.5 dB", "-1.5", first, second]
    assert found.drops == [f"int8.onnx logits: -1.5 dB; its worst layer is {second}"]
    assert compare_debug(b, a).drops == []


@pytest.mark.parametrize(
    ("file", "kind", "changed", "said"),
    [
        (
            "canvas-peers",
            PeersResult,
            {"source": "street", "split": "test"},
            "frames: 60 of demo: and 60 of street, test",
        ),
        ("canvas-overhead", OverheadResult, {"frame": (1, 2)}, "frames of 640x480 and int8.tflite, frames of 1x2"),
        ("digitcam-s-sweep", SweepResult, {"usual": {}}, "what is held is held otherwise: "),
        (
            "canvas-debug",
            DebugResult,
            {"images": 1},
            "images of canvas-variable, validation and 1 images of canvas-var",
        ),
    ],
)
def test_what_was_measured_on_something_else_is_refused(
    file: str, kind: type, changed: dict[str, object], said: str, tmp_path: Path
) -> None:
    before = RESULTS / f"{file}.json"
    write_result(tmp_path / "x.json", replace(read_result(before, kind), **changed))
    with pytest.raises(BenchmarkInvalidError, match=f"has nothing in common with .*: .*{said}"):
        compare_files(before, tmp_path / "x.json")
    assert compare_files(before, before).drops == []
