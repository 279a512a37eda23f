from pathlib import Path

import msgspec
import numpy as np
import pytest

from digitcam.benchmarks.accuracy import accuracy, check_drop, flips, log_rare
from digitcam.benchmarks.results import AccuracyResult, Flip, LatencyResult, read_result, write_result
from digitcam.core.bundle import open_bundle
from digitcam.core.card import FORMATS
from digitcam.core.errors import BenchmarkInvalidError, GateError, SinkError
from digitcam.train.evaluate import Results


def results(*numbers: str) -> Results:
    zeros = np.zeros((len(numbers), 4))
    return Results(list(numbers), zeros, zeros[:, 0], ["1", "2", "3", "4"], zeros)


def test_flips_by_hand() -> None:
    lost, won = flips(results("1", "2", "9", "8"), results("1", "7", "3", "9"))
    assert lost == [Flip(1, "2", "2", "7")]
    assert won == [Flip(2, "3", "9", "3")]


@pytest.fixture(scope="module")
def measured() -> AccuracyResult:
    return accuracy(open_bundle("canvas"), ["glyphs-variable"], "validation", 40, say=lambda _: None)


def test_all_formats_on_the_same_images(measured: AccuracyResult) -> None:
    (data,) = measured.data_sets
    assert set(data.formats) == set(FORMATS) and data.images == 40
    assert data.formats["fp32.onnx"].difference == 0 and data.formats["fp32.onnx"].lost == []
    for found in data.formats.values():
        assert found.metrics.images == 40
        # The difference is that of the flips.
        assert found.difference == pytest.approx(100 * (len(found.won) - len(found.lost)) / 40)
    assert data.formats["int8.tflite"].metrics.sequence_accuracy >= 0.9


def test_a_result_is_read_as_written_and_only_as_what_it_is(measured: AccuracyResult, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_result(path, measured)
    assert read_result(path, AccuracyResult) == measured
    with pytest.raises(BenchmarkInvalidError, match="not a result of this kind"):
        read_result(path, LatencyResult)
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 9'))
    with pytest.raises(BenchmarkInvalidError, match="field 'schema' is 9"):
        read_result(path, AccuracyResult)
    with pytest.raises(BenchmarkInvalidError, match="cannot read the result"):
        read_result(tmp_path / "none.json", AccuracyResult)
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="cannot write the result"):
        write_result(tmp_path / "file" / "result.json", measured)


def test_rare_measurements_are_logged(measured: AccuracyResult, tmp_path: Path) -> None:
    path = tmp_path / "rare.jsonl"
    log_rare(measured, path)
    assert not path.exists()
    rare = msgspec.structs.replace(
        measured, data_sets=[msgspec.structs.replace(measured.data_sets[0], data="datecodes")]
    )
    log_rare(rare, path)
    log_rare(rare, path)
    first, second = (msgspec.json.decode(line) for line in path.read_bytes().splitlines())
    assert first == second and first["model"] == "canvas" and set(first["sequence_accuracy"]) == set(FORMATS)


def test_accepted_readings_are_counted(measured: AccuracyResult) -> None:
    for found in measured.data_sets[0].formats.values():
        assert found.accepted is not None and found.wrongly_accepted is not None
        wrong = 1 - found.metrics.sequence_accuracy
        assert found.wrongly_accepted <= min(wrong, found.accepted) + 1e-9
        assert found.accepted > 0.9


def test_the_gate(measured: AccuracyResult) -> None:
    check_drop(measured, 100)
    (data,) = measured.data_sets
    worse = msgspec.structs.replace(data.formats["int8.onnx"], difference=-0.35)
    ruined = msgspec.structs.replace(data, formats={**data.formats, "int8.onnx": worse})
    with pytest.raises(GateError, match=r"int8\.onnx: loses 0\.35 points on glyphs-variable, more than 0\.3"):
        check_drop(msgspec.structs.replace(measured, data_sets=[ruined]), 0.3)
