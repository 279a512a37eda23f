import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

from digitcam.benchmarks.accuracy import _told, accuracy, check_drop, compared, flips, iou_above, log_rare, result_files
from digitcam.benchmarks.flipsheet import HEIGHT, WIDTH, flip_sheet
from digitcam.benchmarks.images import digest, fingerprint, others
from digitcam.benchmarks.readme import RESULTS
from digitcam.benchmarks.results import (
    AccuracyResult,
    Coverage,
    Flip,
    LatencyResult,
    read_any,
    read_result,
    write_result,
)
from digitcam.benchmarks.statistics import paired_interval
from digitcam.cli import cli
from digitcam.core.bundle import SHIPPED, Bundle, open_bundle, write_bundle
from digitcam.core.errors import (
    BenchmarkInvalidError,
    ConfigError,
    DigitcamError,
    GateError,
    ModelError,
    SinkError,
    SourceError,
)
from digitcam.core.formats import FORMATS
from digitcam.train.canvas import CanvasData
from digitcam.train.data import data_set
from digitcam.train.evaluate import Results


def results(*numbers: str) -> Results:
    zeros = np.zeros((len(numbers), 4))
    return Results(list(numbers), zeros, zeros[:, 0], ["1", "2", "3", "4"], zeros)


def test_flips_by_hand() -> None:
    lost, won = flips(results("1", "2", "9", "8"), results("1", "7", "3", "9"))
    assert lost == [Flip(1, "2", "2", "7", 0.0, 0.0)]
    assert won == [Flip(2, "3", "9", "3", 0.0, 0.0)]


def test_what_is_told_of_a_format_by_hand() -> None:
    truth = np.array([[0, 0, 10, 10]] * 3 + [[0, 0, 0, 0]], np.float32)
    # Overlaps of 1, 0.8 and 0.5; the last image has no number, and the format reads one there.
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 5], [5, 5, 2, 2]], np.float32)
    truths = ["1", "2", "3", ""]
    reference = Results(truths, truth, np.array([0.9, 0.9, 0.9, 0.0]), truths, truth)
    found = compared(
        reference, Results(["1", "2", "8", "4"], boxes, np.array([0.95, 0.9, 0.6, 0.2]), truths, truth), 0.5
    )
    assert found.difference == -50 and [flip.index for flip in found.lost] == [2, 3] and not found.won
    assert found.p_value == 0.5
    low, high = found.interval or (0, 0)
    assert low == pytest.approx(100 * paired_interval(2, 0, 2, 0)[0], abs=1e-3) and low < -50 < high
    assert found.iou_above == pytest.approx({"0.5": 2 / 3, "0.75": 2 / 3, "0.9": 1 / 3})
    assert found.accepted == 0.75 and found.wrong_per_10000 == pytest.approx(2500)
    assert found.coverage == [Coverage(0.98, 0.9, 0.5), Coverage(0.99, 0.9, 0.5)]
    assert found.calibration is not None and [one.readings for one in found.calibration.curve] == [1, 1, 1, 1]


def test_a_data_set_without_boxes_has_no_shares() -> None:
    found = compared(results("1", "2", "3", "4"), results("1", "2", "3", "4"), 0.5)
    assert found.iou_above == iou_above(results("1", "2", "3", "4")) == {} and not found.boxed
    assert "no boxes, 0.0000 accepted" in _told(found) and "px²" not in _told(found)
    # What is from before it was measured may have them.
    assert msgspec.structs.replace(found, iou_above=None).boxed


def test_a_split_without_images_is_no_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CanvasData, "size", lambda self, split: 0)
    with pytest.raises(BenchmarkInvalidError, match="canvas-five: has no train images"):
        accuracy([open_bundle("canvas")], ["canvas-five"], "train", say=lambda _: None)


SAID: list[str] = []


@pytest.fixture(scope="module")
def side_by_side() -> list[AccuracyResult]:
    """All formats of one bundle, and two of another's, on the same images."""
    bundles = [open_bundle("canvas"), without(open_bundle("digitcam-n"), "int8.onnx", "fp32.tflite")]
    return accuracy(bundles, ["glyphs-variable", "glyphs-variable"], "validation", 40, say=SAID.append)


def without(bundle: Bundle, *formats: str) -> Bundle:
    """Return a bundle as if it lacked some formats."""
    files = {name: sha for name, sha in bundle.card.files.items() if name.removeprefix("model.") not in formats}
    return Bundle(bundle.path, msgspec.structs.replace(bundle.card, files=files), bundle.read)


@pytest.fixture(scope="module")
def measured(side_by_side: list[AccuracyResult]) -> AccuracyResult:
    return side_by_side[0]


def test_several_bundles_on_the_very_same_images(side_by_side: list[AccuracyResult]) -> None:
    first, second = side_by_side
    assert [one.subject.name for one in side_by_side] == ["canvas", "digitcam-n"]
    # A data set that is named twice is measured once.
    (a,), (b,) = first.data_sets, second.data_sets
    assert list(b.formats) == ["fp32.onnx", "int8.tflite"] == list(second.subject.sha256)
    assert a.images == b.images == 40
    truths = {flip.index: flip.truth for one in a.formats.values() for flip in [*one.lost, *one.won]}
    for one in b.formats.values():
        assert all(truths.get(flip.index, flip.truth) == flip.truth for flip in [*one.lost, *one.won])
        # As many images of each length in both.
        assert set(one.metrics.sequence_by_length) == set(a.formats["fp32.onnx"].metrics.sequence_by_length)


def test_images_have_a_fingerprint_of_pictures_and_truths(side_by_side: list[AccuracyResult]) -> None:
    samples = [data_set("glyphs-variable").sample("validation", index) for index in range(40)]
    told = fingerprint(digest(sample) for sample in samples)
    assert [one.data_sets[0].fingerprint for one in side_by_side] == [told, told] and len(told) == 16
    first, *rest = samples
    brighter = first._replace(image=first.image ^ 1)
    moved = first._replace(boxes_xywh=first.boxes_xywh + 1)
    for changed in (brighter, moved, first._replace(number=first.number + "0")):
        assert fingerprint(map(digest, [changed, *rest])) != told
    assert fingerprint(map(digest, [*rest, first])) != told
    assert others(told, "0" * 16) and not others(told, told) and not others(None, told) and not others(told, None)


def test_the_text_tells_bundle_format_and_lengths(side_by_side: list[AccuracyResult]) -> None:
    assert len(SAID) == 6
    metrics = side_by_side[1].data_sets[0].formats["int8.tflite"].metrics
    lengths = ", ".join(f"{length} {share:.4f}" for length, share in metrics.sequence_by_length.items())
    assert SAID[-1].startswith("glyphs-variable/validation digitcam-n int8.tflite  sequence ")
    assert SAID[-1].endswith(f"; by digits {lengths}")


def test_several_bundles_give_a_file_each_in_a_folder(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED / "digitcam-n", tmp_path / "mine")
    words = ("canvas", tmp_path / "mine", "--data", "glyphs-variable", "--count", "2", "--format", "int8.tflite")
    done = command(*words, "--out", tmp_path / "out", "--pictures", tmp_path / "out")
    assert done.exit_code == 0
    names = ["canvas-accuracy.json", "canvas-flips.png", "mine-accuracy.json", "mine-flips.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    result = read_result(tmp_path / "out" / names[2], AccuracyResult)
    assert result.subject.name == "digitcam-n"
    # Only the format asked for, and what it is compared with.
    assert list(result.data_sets[0].formats) == ["fp32.onnx", "int8.tflite"] == list(result.subject.sha256)


def test_files_that_would_be_the_same_are_refused(tmp_path: Path) -> None:
    canvas = open_bundle("canvas")
    assert result_files([canvas], tmp_path / "one", "accuracy.json") == [tmp_path / "one"]
    with pytest.raises(ConfigError, match=r"two bundles would both be canvas-accuracy\.json: rename"):
        result_files([canvas, canvas], tmp_path, "accuracy.json")
    with pytest.raises(ConfigError, match=r"one\.json: several bundles give a file each: name a folder"):
        result_files([canvas, open_bundle("digitcam-n")], tmp_path / "one.json", "accuracy.json")


def command(*words: object) -> Result:
    return CliRunner().invoke(cli, ["bench", "accuracy", *map(str, words)], standalone_mode=False)


@pytest.mark.parametrize(
    ("words", "kind", "say"),
    [
        (["{folder}/none", "--data", "glyphs-variable"], ModelError, "{folder}/none: no such bundle"),
        (["canvas", "--data", "moon"], ConfigError, "data set 'moon' is not known"),
        (["canvas", "--data", "canvas-five"], SourceError, "run 'digitcam data fetch mnist'"),
        (["canvas", "--data", "glyphs-variable", "--data", "wheels"], SourceError, "{folder}"),
        (["canvas", "--data", "svhn-photographs"], SourceError, "digitcam data fetch svhn"),
        (["canvas", "--data", "datecodes", "--split", "test"], SourceError, "datecodes.tar: no such file"),
        (["canvas", "--data", "glyphs-variable", "--count", "999999"], ConfigError, "give a smaller --count"),
        (["{folder}/float", "--data", "glyphs-variable", "--format", "int8.onnx"], ConfigError, "has no int8.onnx"),
        (["{folder}/small", "--data", "glyphs-variable"], ConfigError, "has no fp32.onnx, only int8.tflite"),
    ],
)
def test_bad_words_leave_an_earlier_result(
    words: list[str], kind: type[DigitcamError], say: str, data_folder: Path
) -> None:
    canvas = open_bundle("canvas")
    for name, format in (("float", "fp32.onnx"), ("small", "int8.tflite")):
        write_bundle(data_folder / name, canvas.card, {f"model.{format}": canvas.read(f"model.{format}")})
    out = data_folder / "result.json"
    out.write_text("earlier")
    done = command(*(word.replace("{folder}", str(data_folder)) for word in words), "--out", out)
    assert type(done.exception) is kind
    message = str(done.exception)
    assert say.replace("{folder}", str(data_folder)) in message and "\n" not in message
    assert out.read_text() == "earlier"


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


def test_every_result_of_this_repository_is_read() -> None:
    for path in RESULTS.glob("*.json"):
        read_any(path)
    (old, *_) = read_result(RESULTS / "canvas-accuracy.json", AccuracyResult).data_sets
    assert old.formats["int8.onnx"].lost[0].truth


def test_the_worst_flips_are_drawn(measured: AccuracyResult) -> None:
    (data,) = measured.data_sets
    flipped = [Flip(0, "1", "1", "7", 0.9, 0.6), Flip(1, "22", "22", "", 0.9, 0.0), Flip(2, "3", "3", "8", 0.9, 0.99)]
    found = msgspec.structs.replace(data.formats["int8.onnx"], lost=flipped, won=[])
    shown = msgspec.structs.replace(measured, data_sets=[msgspec.structs.replace(data, formats={"int8.onnx": found})])
    picture = flip_sheet(shown)
    assert picture.shape[0] > 0.6 * HEIGHT * 320 / WIDTH and picture.shape[1:] == (3 * 320, 3)
    # The surest comes first: alone it is the left cell of all.
    assert (flip_sheet(shown, most=1)[:, :320] == picture[:, :320]).all()
    none = msgspec.structs.replace(measured, data_sets=[])
    assert flip_sheet(none).shape[1:] == (320, 3)


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
    alone = msgspec.structs.replace(data, formats={"fp32.onnx": data.formats["fp32.onnx"]})
    with pytest.raises(ConfigError, match=r"--max-drop: \S+ has only fp32\.onnx here: name a --format"):
        check_drop(msgspec.structs.replace(measured, data_sets=[alone]), 0.3)
