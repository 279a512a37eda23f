import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from digitcam.benchmarks.peers import peers
from digitcam.benchmarks.peers.compare import NEVER, compare, present
from digitcam.benchmarks.peers.footprint import megabytes, memory_mb, package_files
from digitcam.benchmarks.peers.ours import Digitcam, Seed
from digitcam.benchmarks.peers.pictures import best_line, cropped, dark_on_light, digits
from digitcam.benchmarks.peers.protocol import Scene
from digitcam.benchmarks.peers.rapidocr import RapidOcr
from digitcam.benchmarks.peers.rare import log
from digitcam.benchmarks.peers.run import Readings, best_setting, read_in_turn, told
from digitcam.benchmarks.peers.scenes import from_data
from digitcam.benchmarks.peers.tesseract import Tesseract, TesseractReader
from digitcam.benchmarks.readme import RESULTS, peers_table
from digitcam.benchmarks.results import Peer, PeersResult, read_any, read_result, write_result
from digitcam.cli import cli
from digitcam.core.arrays import FloatArray, UInt8Array
from digitcam.core.bundle import open_bundle
from digitcam.core.errors import BenchmarkInvalidError, ConfigError
from digitcam.edge.board import Board

BLANK = np.zeros((8, 8), np.uint8)
BOX = np.array([0, 0, 8, 8], np.float32)


class FakeReader:
    """Answers with what it is told; appends its own name to `log` at every image."""

    version = "1"

    def __init__(self, answers: list[str], setting: str = "", crop: bool = False, log: list[str] | None = None) -> None:
        self.answers, self.setting, self.crop, self.log = iter(answers), setting, crop, log if log is not None else []

    def read(self, image: UInt8Array, box_xywh: FloatArray | None) -> str:
        self.log.append(self.setting)
        return next(self.answers)


class FakePeer:
    def __init__(self, name: str, readers: list[FakeReader], missing: str | None = None) -> None:
        self.name, self._readers, self._missing = name, readers, missing

    def missing(self) -> str | None:
        return self._missing

    def readers(self) -> list[FakeReader]:
        return self._readers

    def files(self) -> set[Path]:
        return {Path(__file__)}


def scenes(*numbers: str, box: FloatArray | None = None) -> list[Scene]:
    return [Scene(BLANK, number, box) for number in numbers]


def ticking(*steps: float) -> Iterator[float]:
    """Times at which each reading begins and ends, the readings taking these seconds."""
    now = 0.0
    for step in steps:
        yield now
        now += step
        yield now


@pytest.fixture
def _tesseract() -> None:
    if Tesseract().missing() is not None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs tesseract: apt install tesseract-ocr")
        pytest.skip("tesseract is not installed")


def test_readers_take_turns_and_each_frame_begins_with_another() -> None:
    order: list[str] = []
    readers = {name: FakeReader(["1", "2", "9"], name, log=order) for name in "abc"}
    times = ticking(0.001, 0.002, 0.004, 0.003, 0.005, 0.001, 0.007, 0.001, 0.001)
    found = read_in_turn(readers, scenes("1", "2", "3"), times.__next__)
    assert order == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]
    assert all(one.right == [True, True, False] for one in found.values())
    assert found["a"].times_ms == pytest.approx([1, 1, 1])
    assert found["c"].times_ms == pytest.approx([4, 5, 7])


def test_the_best_setting_is_the_rightest_and_of_equals_the_quickest() -> None:
    # The first image is read once before, to load what loads late.
    worse, slow, quick = (FakeReader(["", "1", second]) for second in ("8", "2", "2"))
    # In turn: worse, slow, quick; then slow, quick, worse.
    times = ticking(0.001, 0.005, 0.002, 0.005, 0.002, 0.001)
    assert best_setting([worse, slow, quick], scenes("1", "2"), times.__next__) == 2
    # One alone needs no trying.
    assert best_setting([FakeReader([])], scenes("1")) == 0


def test_what_is_told_of_a_reader() -> None:
    # Of ten frames digitcam reads all but the last right, the peer the first six.
    ours = Readings([True] * 9 + [False], [2.0] * 10)
    theirs = Readings([True] * 6 + [False] * 4, [float(ms) for ms in range(100, 1100, 100)])
    peer = told(FakeReader([], "plain", crop=True), theirs, ours, 12.5, 34.0)
    assert (peer.sequence_accuracy, peer.crop, peer.setting, peer.version) == (0.6, True, "plain", "1")
    # Between the fifth and the sixth, and a tenth of the way from the ninth to the tenth.
    assert (peer.p50_ms, peer.p90_ms, peer.times) == (550.0, 910.0, 275.0)
    assert (peer.memory_mb, peer.install_mb) == (12.5, 34.0)
    # Wilson's for 6 of 10 is 0.3127 to 0.8318.
    assert peer.interval == (0.3127, 0.8318)
    low, high = peer.difference_interval or (0, 0)
    assert low < -30 < high < 10
    # Against itself it is neither ahead nor behind.
    same = told(FakeReader([]), ours, ours, 0, 0).difference_interval or (1, 1)
    assert same[0] == -same[1] and told(FakeReader([]), ours, ours, 0, 0).times == 1.0


def test_crops_are_compared_where_boxes_are_known() -> None:
    def contest() -> tuple[FakePeer, FakePeer]:
        # Two frames to warm up, three to measure.
        whole, crop = FakeReader([*"12", *"199"], "whole"), FakeReader([*"12", *"129"], "crop", crop=True)
        return FakePeer("digitcam", [FakeReader([*"12", *"123"])]), FakePeer("ocr", [whole, crop])

    asked: list[tuple[str, int, int]] = []

    def memory(peer: object, place: int, some: object) -> float:
        asked.append((peer.name, place, len(some)))  # type: ignore[attr-defined, arg-type]
        return 10.0

    ours, ocr = contest()
    found = compare(ours, [ocr], scenes(*"123", box=BOX), scenes(*"12", box=BOX), lambda _: None, memory)
    assert {name: peer.sequence_accuracy for name, peer in found.items()} == {
        "digitcam": 1.0,
        "ocr": 0.3333,
        "ocr-crop": 0.6667,
    }
    assert found["ocr-crop"].crop and not found["ocr"].crop
    assert asked == [("digitcam", 0, 3), ("ocr", 0, 3), ("ocr", 1, 3)]
    assert found["ocr"].install_mb == round(Path(__file__).stat().st_size / 1e6, 1)
    ours, ocr = contest()
    assert set(compare(ours, [ocr], scenes(*"123"), scenes(*"12"), lambda _: None, memory)) == {"digitcam", "ocr"}


def test_a_peer_is_told_as_it_comes_too_where_another_setting_is_better() -> None:
    # One frame to load, two to choose on, two to warm up, one to measure.
    plain, better = FakeReader([*"1", *"99", *"12", *"9"], "plain"), FakeReader([*"1", *"12", *"12", *"3"], "better")
    ours = FakePeer("digitcam", [FakeReader([*"12", *"3"])])
    ocr = FakePeer("ocr", [plain, better])
    found = compare(ours, [ocr], scenes("3"), scenes("1", "2"), lambda _: None, lambda *_: 1.0)
    assert {name: (peer.setting, peer.sequence_accuracy) for name, peer in found.items()} == {
        "digitcam": ("", 1.0),
        "ocr": ("better", 1.0),
        "ocr-default": ("plain", 0.0),
    }


def test_peers_that_are_not_there_are_named_with_what_to_do() -> None:
    here, absent = FakePeer("here", []), FakePeer("absent", [], "pip install absent")
    ready, left_out = present([here, absent], ())
    assert (ready, left_out) == ([here], {**NEVER, "absent": "pip install absent"})
    assert set(NEVER) == {"easyocr", "paddleocr"}
    other = FakePeer("other", [])
    ready, left_out = present([here, other, absent], ["other"])
    told = {"here": "not among those named by --peer", "absent": "pip install absent"}
    assert (ready, left_out) == ([other], {**NEVER, **told})
    with pytest.raises(ConfigError, match=r"^--peer absent: is not ready: pip install absent$"):
        present([here, absent], ["here", "absent"])
    with pytest.raises(ConfigError, match=r"^--peer other: is not known: choose from here, absent$"):
        present([here, absent], ["other"])
    with pytest.raises(ConfigError, match=r"nothing to compare with: for absent: pip install absent$"):
        present([absent], ())


def test_without_tesseract_or_a_checkpoint_they_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert Tesseract().missing() == "apt install tesseract-ocr tesseract-ocr-eng"
    assert "--seed CHECKPOINT" in (Seed(None).missing() or "")
    with pytest.raises(ConfigError, match="--peer tesseract: is not ready: apt install tesseract-ocr"):
        peers(open_bundle("canvas"), "demo:", 4, only=["tesseract"])


@pytest.mark.usefixtures("_tesseract")
def test_tesseract_reads_a_drawn_line_in_every_mode_it_is_tried_in() -> None:
    image = np.full((60, 220, 3), 40, np.uint8)
    cv2.putText(image, "48201", (30, 44), cv2.FONT_HERSHEY_SIMPLEX, 1.3, (220, 220, 220), 3, cv2.LINE_AA)
    box = np.array([30, 14, 125, 32], np.float32)
    readers = [one for one in Tesseract().readers() if one.turned and one.mode in (6, 7)]
    assert {(one.mode, one.crop) for one in readers} == {(6, False), (7, False), (6, True), (7, True)}
    assert [one.read(image, box) for one in readers] == ["48201"] * len(readers)
    with pytest.raises(BenchmarkInvalidError, match="tesseract: failed on a frame"):
        TesseractReader(99, False, True, 1).read(image, None)


@pytest.mark.usefixtures("_tesseract")
def test_both_read_the_same_frames_and_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    # One setting, which makes a fraction of the processes.
    monkeypatch.setattr(Tesseract, "readers", lambda _: [TesseractReader(6, False, True, 1)])
    said: list[str] = []
    options = {"only": ["tesseract"], "tune": 1, "say": said.append}
    found = peers(open_bundle("canvas"), "demo:", 2, format="int8.onnx", **options)  # type: ignore[arg-type]
    assert (found.frames, found.tuned, found.source, found.split) == (2, 1, "demo:", None)
    assert set(found.peers) == {"digitcam", "tesseract"}
    assert found.left_out is not None and "seed" in found.left_out
    ours, theirs = found.peers["digitcam"], found.peers["tesseract"]
    assert ours.sequence_accuracy == 1.0 and ours.times == 1.0 and "canvas, int8.onnx" in ours.setting
    for peer in (ours, theirs):
        assert 0 < peer.p50_ms <= (peer.p90_ms or 0)
        # An interpreter with numpy and OpenCV at least, and no training library.
        assert 30 < (peer.memory_mb or 0) < 600
    # Its program is Tesseract's own; digitcam brings numpy, OpenCV and an engine.
    assert 3 < (theirs.install_mb or 0) < 200 and 60 < (ours.install_mb or 0) < 1000
    assert msgspec.json.decode(msgspec.json.encode(found), type=PeersResult) == found
    assert len([line for line in said if "right" in line]) == 2


def test_on_a_board_that_throttles_it_is_no_result(
    hot_pi: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compared(ours: object, ready: object, scenes: list[Scene], *_: object, look: Callable[[], None]) -> object:
        read_in_turn({"digitcam": FakeReader([""] * len(scenes))}, scenes, look=look)
        return {"digitcam": Peer("1", "plain", 1.0, 2.0)}

    monkeypatch.setattr("digitcam.benchmarks.peers.Board", lambda: hot_pi)
    monkeypatch.setattr("digitcam.benchmarks.peers.compare", compared)
    monkeypatch.setattr("digitcam.benchmarks.peers.present", lambda *_: ([], {}))
    out = tmp_path / "x.json"
    command = ["bench", "peers", "canvas", "--frames", "4", "--tune", "1", "--out", str(out)]
    done = CliRunner().invoke(cli, command, standalone_mode=False)
    assert isinstance(done.exception, BenchmarkInvalidError) and done.exception.exit_code == 6
    assert "throttled: clock capped" in str(done.exception) and not out.exists()
    invalid = read_any(tmp_path / "x.invalid.json")
    # Four frames, and once more in the end.
    assert isinstance(invalid, PeersResult) and invalid.conditions and invalid.conditions.samples == 5
    with pytest.raises(BenchmarkInvalidError, match="invalid and no result: throttled"):
        read_result(tmp_path / "x.invalid.json", PeersResult)


@pytest.mark.slow
def test_rapidocr_reads_where_it_is_installed() -> None:
    if (why := RapidOcr().missing()) is not None:
        pytest.skip(why)
    image = np.full((80, 240), 30, np.uint8)
    cv2.putText(image, "48201", (30, 54), cv2.FONT_HERSHEY_SIMPLEX, 1.3, 220, 3, cv2.LINE_AA)
    box = np.array([30, 24, 125, 32], np.float32)
    assert [one.read(image, box) for one in RapidOcr().readers() if one.crop or one.side == 320] == ["48201"] * 3
    assert megabytes(RapidOcr().files()) > 40


def test_one_look_or_a_closer_one() -> None:
    path = open_bundle("digitcam-s").path
    settings = [Digitcam(path, "int8.onnx", close_up=close_up).readers()[0].setting for close_up in (True, False)]
    assert settings == [
        f"digitcam-s, int8.onnx, {looks}, one thread"
        for looks in ("whole frames, small digits once more", "whole frames")
    ]


def test_a_checkpoint_is_read_as_the_seeds_network(tmp_path: Path) -> None:
    from digitcam.train.checkpoint import write_checkpoint
    from digitcam.train.recipe import load_recipe

    recipe = load_recipe(Path(__file__).parents[2] / "train/recipes/seed/ten-minutes.toml")
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, recipe, recipe.network.build(recipe.head, recipe.input).state_dict(), 0)
    seed = Seed(path)
    assert seed.missing() is None
    (reader,) = seed.readers()
    # Untrained, but of the right shape: it answers with digits or with nothing.
    assert set(reader.read(np.zeros((128, 256), np.uint8), None)) <= set("0123456789")
    assert reader.setting == "ten-minutes, torch, whole frames, all cores"
    assert path.resolve() in seed.files()


def test_files_are_counted_once_and_those_of_what_is_required_too() -> None:
    alone, both = package_files("numpy"), package_files("opencv-python-headless", "numpy")
    assert alone < both and megabytes(alone) > 10
    # digitcam from a checkout has its files in no RECORD.
    ours = Digitcam(open_bundle("canvas").path, "int8.onnx").files()
    assert any(path.name == "model.int8.onnx" and path.parent.name == "canvas" for path in ours)
    assert {path.name for path in ours} >= {"pipeline.py", "cli.py"} and alone < ours
    assert package_files("no-such-package") == set()


def test_a_reader_that_fails_in_its_own_process_is_named() -> None:
    missing = Digitcam(Path("no-such-bundle"), "int8.onnx")
    with pytest.raises(BenchmarkInvalidError, match=r"^digitcam: failed in a process of its own: .*no-such-bundle"):
        memory_mb(missing, 0, scenes("1"))


def test_pictures_as_ocr_engines_want_them() -> None:
    light = np.zeros((10, 40), np.uint8)
    light[3:7, 4:8] = 200
    assert (dark_on_light(light) == 255 - light).all()
    assert (dark_on_light(255 - light) == 255 - light).all()
    # A box 20 px high with a margin of 5 px, of which the image has none above; then twice as large.
    image = np.arange(100 * 200, dtype=np.uint32).reshape(100, 200).astype(np.uint8)
    box = np.array([50, 0, 60, 20], np.float32)
    assert (cropped(image, box, 20) == image[0:25, 45:115]).all()
    assert cropped(image, box, 40).shape == (50, 140)


@given(st.text())
def test_only_digits_are_kept(text: str) -> None:
    assert digits(text) == "".join(one for one in text if one in "0123456789")
    assert digits(f"{text}42") == digits(text) + "42"


def test_the_line_with_most_digits_is_the_reading() -> None:
    assert best_line([("Nr. 12", 0.9), ("34 56", 0.6), ("78.90 kWh", 0.8), ("metres", 1.0)]) == "7890"
    assert best_line([]) == "" and best_line([("metres", 1.0)]) == ""


def test_a_data_sets_images_have_boxes() -> None:
    first, second = from_data("glyphs-variable", "test", 2)
    assert first.image.shape == (128, 256) and first.number.isdecimal() and first.number != second.number
    assert first.box_xywh is not None and first.box_xywh[2] > 0
    (empty,) = from_data("street-empty", "test", 1)
    assert (empty.number, empty.box_xywh) == ("", None)


def test_frames_without_a_truth_are_no_benchmark(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "image.png"), np.zeros((20, 20), np.uint8))
    options = {"seed": tmp_path / "image.png", "only": ["seed"], "say": lambda _: None}
    with pytest.raises(BenchmarkInvalidError, match="does not say what its frames show"):
        peers(open_bundle("canvas"), str(tmp_path), 4, **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="'moon' is not known"):
        peers(open_bundle("canvas"), "demo:", 4, data="moon", **options)  # type: ignore[arg-type]
    with pytest.raises(BenchmarkInvalidError, match=r"glyphs-variable/test: has \d+ frames and 1000000010 are wanted"):
        peers(open_bundle("canvas"), "demo:", 10**9, data="glyphs-variable", **options)  # type: ignore[arg-type]


def test_the_readme_has_columns_for_what_was_measured(tmp_path: Path) -> None:
    old = read_result(RESULTS / "canvas-peers.json", PeersResult)
    bare = {"ours": Peer("1", "plain", 1.0, 2.0), "ocr": Peer("2", "scaled, inverted", 0.5, 700.0)}
    write_result(
        tmp_path / "canvas-peers.json", msgspec.structs.replace(old, peers=bare, frames=20, source="demo:", tuned=None)
    )
    never = (
        "\n\nNot measured anywhere: easyocr (downloads its networks at first use), "
        "paddleocr (downloads its networks at first use)."
    )
    table = peers_table(tmp_path).removesuffix(never)
    assert table == (
        "| reader | version, setting | numbers right | p50 a frame |\n|---|---|---|---|\n"
        "| ours | 1, plain | 1.00 | 2.0 ms |\n| ocr | 2, scaled, inverted | 0.50 | 700.0 ms |\n\n"
        "20 frames of `demo:`, frame to number; from `benchmarks/results/canvas-peers.json`."
    )
    more = {"p90_ms": 900.0, "times": 350.0, "memory_mb": 1234.0, "install_mb": 98.6, "interval": (0.3, 0.7)}
    full = {"ours": bare["ours"], "ocr": msgspec.structs.replace(bare["ocr"], **more)}
    left_out = {**NEVER, "seed": "--seed CHECKPOINT"}
    changed = {"peers": full, "frames": 20, "source": "street", "split": "test", "tuned": 10, "left_out": left_out}
    write_result(tmp_path / "digitcam-s-peers.json", msgspec.structs.replace(old, **changed))
    both = peers_table(tmp_path)
    assert both.endswith(never)
    lines = both.removesuffix(never).removeprefix(table + "\n\n").splitlines()
    assert lines[0].endswith("| p50 a frame | p90 | times digitcam's | memory | installed |")
    assert lines[2] == "| ours | 1, plain | 1.00 | 2.0 ms |  |  |  |  |"
    assert lines[3].endswith("| 0.50 (0.30 to 0.70) | 700.0 ms | 900.0 ms | 350 | 1,234 MB | 99 MB |")
    assert lines[-1].startswith(
        "20 frames of `street`, test split, frame to number; settings chosen on 10 others; "
        "not measured: seed (--seed CHECKPOINT); from"
    )


def test_a_rare_data_set_is_logged_and_another_is_not(tmp_path: Path) -> None:
    old = read_result(RESULTS / "canvas-peers.json", PeersResult)
    path = tmp_path / "rare.jsonl"
    log(old, path)
    log(msgspec.structs.replace(old, source="street", split="test"), path)
    assert not path.exists()
    log(msgspec.structs.replace(old, source="datecodes", split="test"), path)
    line = msgspec.json.decode(path.read_bytes())
    assert (line["data"], line["model"]) == ("datecodes", "canvas")
    assert list(line["sequence_accuracy"].values()) == [old.peers["digitcam"].sequence_accuracy]


def test_a_peer_that_is_not_there_ends_the_command_with_2_and_leaves_an_earlier_result(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    out.write_text("earlier")
    words = ["bench", "peers", "canvas", "--peer", "seed", "--out", str(out)]
    done = subprocess.run([sys.executable, "-m", "digitcam.cli", *words], capture_output=True, text=True)
    assert done.returncode == 2
    # LiteRT may have a word before.
    line = done.stderr.splitlines()[-1]
    assert line.startswith("digitcam: --peer seed: is not ready: ") and line.endswith("--seed CHECKPOINT")
    assert out.read_text() == "earlier"
