from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from digitcam.benchmarks.compare import compare_accuracy, compare_files, compare_latency
from digitcam.benchmarks.readme import RESULTS
from digitcam.benchmarks.results import AccuracyResult, Flip, LatencyResult, read_result, write_result
from digitcam.benchmarks.statistics import independent_interval, paired_interval
from digitcam.cli import cli
from digitcam.core.errors import BenchmarkInvalidError

replace = msgspec.structs.replace


@pytest.fixture
def measured() -> AccuracyResult:
    """One format of one data set: 1000 images, 900 right in float, three of them lost and one other won."""
    result = read_result(RESULTS / "canvas-accuracy.json", AccuracyResult)
    data = result.data_sets[0]
    found = data.formats["int8.onnx"]
    metrics = replace(found.metrics, images=1000, sequence_accuracy=0.898)
    lost, won = [Flip(i, "1", "1", "2") for i in range(3)], [Flip(9, "1", "2", "1")]
    return replace(
        result,
        data_sets=[
            replace(data, images=1000, formats={"int8.onnx": replace(found, metrics=metrics, lost=lost, won=won)})
        ],
    )


def worse(result: AccuracyResult, lost: int) -> AccuracyResult:
    data = result.data_sets[0]
    found = data.formats["int8.onnx"]
    metrics = replace(found.metrics, sequence_accuracy=(901 - lost) / 1000)
    flips = [Flip(i, "1", "1", "2") for i in range(lost)]
    return replace(
        result, data_sets=[replace(data, formats={"int8.onnx": replace(found, metrics=metrics, lost=flips)})]
    )


def test_flips_from_the_same_float_network_are_paired(measured: AccuracyResult) -> None:
    # 20 lost in place of 3, the same one won: 17 fall, none is gained, and 881 are right in both.
    found = compare_accuracy(measured, worse(measured, 20))
    low, high = paired_interval(881, 0, 17, 102)
    assert found.table[1][2:6] == ["0.8980", "0.8810", "-1.70", f"{100 * low:+.2f} to {100 * high:+.2f}"]
    assert found.drops == [f"int8.onnx on canvas-variable: -1.70 points, {100 * low:+.2f} to {100 * high:+.2f}"]
    assert found.remarks == []
    # 3 more may be chance.
    assert compare_accuracy(measured, worse(measured, 6)).drops == []
    assert compare_accuracy(worse(measured, 20), measured).drops == []


def test_other_networks_and_images_are_not_paired_and_said(measured: AccuracyResult) -> None:
    subject = replace(measured.subject, name="other", sha256={"fp32.onnx": "0" * 64})
    machine = replace(measured.environment, cpu="another", packages={"numpy": "1.0"})
    other = replace(worse(measured, 20), subject=subject, environment=machine)
    other = replace(other, data_sets=[replace(other.data_sets[0], split="validation")])
    found = compare_accuracy(measured, other)
    low, high = independent_interval(881, 1000, 898, 1000)
    assert found.table[1][5] == f"{100 * low:+.2f} to {100 * high:+.2f}" and found.drops == []
    told = str(found)
    for words in (
        "networks: canvas and other",
        "canvas-variable: other images: 1000 of test, 1000 of validation",
        "different machines: ",
        "numpy ",
        "formats only in the first: int8.onnx",
        "nothing is worse by more than noise",
    ):
        assert words in told


def test_images_that_changed_under_their_name_are_not_paired_and_said(measured: AccuracyResult) -> None:
    def of(result: AccuracyResult, fingerprint: str | None) -> AccuracyResult:
        return replace(result, data_sets=[replace(result.data_sets[0], fingerprint=fingerprint)])

    found = compare_accuracy(of(measured, "a" * 16), of(worse(measured, 20), "b" * 16))
    low, high = independent_interval(881, 1000, 898, 1000)
    assert found.table[1][5] == f"{100 * low:+.2f} to {100 * high:+.2f}" and found.drops == []
    (remark,) = found.remarks
    assert remark == "canvas-variable: other images: as many of test, drawn or photographed anew since"
    # The same, and one that is not known, are paired.
    for before, after in (("a", "a"), (None, "b"), ("a", None)):
        paired = compare_accuracy(of(measured, before), of(worse(measured, 20), after))
        assert len(paired.drops) == 1 and paired.remarks == []


def test_latency_falls_beyond_a_tenth() -> None:
    a = replace(read_result(RESULTS / "canvas-latency.json", LatencyResult), further=None)
    one = a.formats["int8.tflite"]
    slower = replace(one, p50_ms=1.2 * one.p50_ms, ratio=one.ratio / 1.2)
    b = replace(a, formats={**a.formats, "int8.tflite": slower})
    assert compare_latency(a, a).drops == compare_latency(b, a).drops == []
    assert compare_latency(a, b).drops == ["int8.tflite: takes 1.20 times as long"]
    # On another machine only how many times the reference it is counts.
    elsewhere = replace(a.environment, cpu="another")
    found = compare_latency(a, replace(b, environment=elsewhere))
    assert found.drops == [f"int8.tflite: {slower.ratio:.2f} times fp32.onnx, was {one.ratio:.2f}"]
    assert "times do not compare; how many times fp32.onnx does" in found.remarks
    # Nor on one of the same name that does otherwise with int8.
    older = compare_latency(a, replace(b, environment=replace(a.environment, cpu_int8=["avx2"])))
    assert older.drops == found.drops and older.remarks[0].startswith("different machines: ")
    doubled = {name: replace(f, p50_ms=2 * f.p50_ms) for name, f in a.formats.items()}
    assert compare_latency(a, replace(a, environment=elsewhere, formats=doubled)).drops == []


def test_what_cannot_be_compared_is_refused(measured: AccuracyResult, tmp_path: Path) -> None:
    canvas = RESULTS / "canvas-accuracy.json"
    with pytest.raises(BenchmarkInvalidError, match=r"of kind latency, .* of accuracy: compare two of one kind"):
        compare_files(canvas, RESULTS / "canvas-latency.json")
    with pytest.raises(
        BenchmarkInvalidError, match="of kind seed: only accuracy, latency, peers, overhead, sweep, debug results"
    ):
        compare_files(RESULTS / "seed.json", RESULTS / "seed.json")
    with pytest.raises(BenchmarkInvalidError, match=r"nothing in common .*canvas-variable: only in the first"):
        compare_files(canvas, RESULTS / "digitcam-s-world.json")
    path = tmp_path / "newer.json"
    write_result(path, replace(measured, schema=9))
    done = CliRunner().invoke(cli, ["bench", "compare", str(canvas), str(path)], standalone_mode=False)
    assert isinstance(done.exception, BenchmarkInvalidError) and done.exception.exit_code == 6
    assert "field 'schema' is 9" in str(done.exception)


def test_the_command_prints_both() -> None:
    path = str(RESULTS / "canvas-accuracy.json")
    done = CliRunner().invoke(cli, ["bench", "compare", path, path], standalone_mode=False)
    assert done.exception is None and "+0.00 to +0.00" not in done.output
    assert "canvas-five" in done.output and "nothing is worse by more than noise" in done.output


def test_a_result_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(b'{"kind": "accuracy", "reference": "\xe9"}')
    with pytest.raises(BenchmarkInvalidError) as caught:
        compare_files(path, path)
    assert "not a result of this kind and version" in str(caught.value)
