import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from digitcam.benchmarks import latency as module
from digitcam.benchmarks import readme, timing, validity
from digitcam.benchmarks.compare import compare_files, compare_latency
from digitcam.benchmarks.latency import Plan, cpu_numbers, kept_to, latency
from digitcam.benchmarks.memory import memory_mb
from digitcam.benchmarks.results import LatencyResult, read_any, read_result, write_judged, write_result
from digitcam.benchmarks.timing import Timer
from digitcam.cli import cli
from digitcam.core.bundle import open_bundle
from digitcam.core.errors import BenchmarkInvalidError, ConfigError, DigitcamError
from digitcam.edge.board import Board

replace = msgspec.structs.replace
COMMITTED = readme.RESULTS / "canvas-latency.json"
SHORT = Plan(runs=4, seconds=0.0, sustained_s=0.01, stage_frames=1, peak_s=0.0)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few runs are enough here, and what their times say of each other is no matter."""
    for where, name, value in (
        (timing, "WARM_UP", 1),
        (timing, "BLOCK", 2),
        (validity, "MIN_RUNS", 4),
        (validity, "MIN_SECONDS", 1e-9),
        (validity, "AGREE", 1e9),
        (validity, "DRIFT", 1e9),
        (module, "Plan", partial(Plan, stage_frames=1, peak_s=0.0)),
    ):
        monkeypatch.setattr(where, name, value)


def bench(*words: object) -> Result:
    return CliRunner().invoke(cli, ["bench", "latency", *map(str, words)], standalone_mode=False)


def test_every_format_and_number_of_threads(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    cpu = min(before)
    said: list[str] = []
    formats, board = ["fp32.onnx", "int8.tflite"], Board(tmp_path)
    found = latency(open_bundle("canvas"), formats, (1, 2), [cpu], plan=SHORT, board=board, say=said.append)
    assert list(found.formats) == formats == list(found.subject.sha256)
    assert (found.threads, list(found.further or {}), found.cpus, found.reference) == (1, [2], [cpu], "fp32.onnx")
    for measured in found.by_threads.values():
        assert measured["fp32.onnx"].ratio == pytest.approx(1, abs=1e-3)
        for one in measured.values():
            assert one.runs >= 4 and 0 < one.p50_ms <= one.p90_ms <= one.p99_ms <= one.max_ms
            assert one.histogram and sum(one.histogram.counts) == one.runs
            assert one.gmacs == pytest.approx(found.subject.macs / one.p50_ms / 1e6, abs=0.01)
            # An interpreter with numpy and an engine.
            assert one.memory_mb and 20 < one.memory_mb < 300
            assert one.burst_fps and one.sustained_fps and one.sustained_s is not None and one.energy_mj is None
    peak = (found.peaks or {})[1]
    tflite = found.formats["int8.tflite"]
    assert peak.int8_gmacs and tflite.gmacs is not None
    assert tflite.peak_share == pytest.approx(tflite.gmacs / peak.int8_gmacs, abs=0.01)
    assert found.stages and found.stages.source == "demo:" and list(found.stages.formats) == list(found.formats)
    assert found.valid and found.reasons == []
    # Less than a minute in one go is a result, and said.
    assert found.shortfalls == ["sustained for 0.01 s, not 60"] == said[4:]
    assert os.sched_getaffinity(0) == before
    # It comes back as it was written.
    write_judged(tmp_path / "a.json", found)
    assert read_result(tmp_path / "a.json", LatencyResult) == found


def test_without_the_float_reference_the_first_format_is_it(tmp_path: Path) -> None:
    plan = SHORT._replace(sustained_s=0.0)
    found = latency(open_bundle("canvas"), ["int8.onnx"], plan=plan, board=Board(tmp_path), say=lambda _: None)
    assert found.reference == "int8.onnx" and found.further is None and found.cpus is None
    assert found.formats["int8.onnx"].sustained_fps is found.formats["int8.onnx"].energy_mj is None


def test_a_board_that_is_throttled_gives_no_result(
    hot_pi: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "Board", lambda: hot_pi)
    out, aside = tmp_path / "canvas-latency.json", tmp_path / "canvas-latency.invalid.json"
    shutil.copy(COMMITTED, out)
    earlier = out.read_bytes()
    done = bench("canvas", "--format", "int8.onnx", "--runs", 4, "--seconds", 0, "--sustained", 0, "--out", out)
    assert isinstance(done.exception, BenchmarkInvalidError) and done.exception.exit_code == 6
    reason = "throttled: clock capped, throttled, soft temperature limit: mind cooling and supply"
    assert f"no result: {reason} (it is in {aside}; {out} is as it was)" in str(done.exception)
    # The earlier result stays, and the invalid one says what it is.
    assert out.read_bytes() == earlier and done.output.count(str(out)) == 0
    invalid = read_any(aside)
    assert isinstance(invalid, LatencyResult)
    assert (invalid.valid, invalid.reasons) == (False, [reason])
    assert invalid.conditions and invalid.conditions.throttled


def test_too_few_runs_are_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validity, "MIN_RUNS", 1024)
    monkeypatch.setattr(module, "Board", lambda: Board(tmp_path))
    done = bench(
        "canvas", "--format", "int8.onnx", "--runs", 4, "--seconds", 0, "--sustained", 0, "--out", tmp_path / "x.json"
    )
    assert isinstance(done.exception, BenchmarkInvalidError)
    assert "too few runs: int8.onnx, 1 thread: 4 in" in str(done.exception)
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".json") == ["x.invalid.json"]


def test_two_processes_that_disagree_by_more_than_a_tenth_are_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths: list[Path] = []

    @contextmanager
    def process(bundle: Path, threads: int) -> Iterator[Timer]:
        paths.append(bundle)
        # 4 / 2 times the reference in the first process, 4 / 2.25 in the second.
        ms = {"fp32.onnx": 4.0, "int8.onnx": 2.0 if len(paths) == 1 else 2.25}
        yield lambda format, runs: [ms[format]] * runs

    monkeypatch.setattr(module, "fresh_process", process)
    monkeypatch.setattr(validity, "AGREE", 1.1)
    monkeypatch.setattr(module, "Board", lambda: Board(tmp_path))
    formats = ["--format", "fp32.onnx", "--format", "int8.onnx"]
    out = tmp_path / "x.json"
    done = bench("canvas", *formats, "--runs", 4, "--seconds", 0, "--sustained", 0, "--out", out)
    assert isinstance(done.exception, BenchmarkInvalidError) and paths == [open_bundle("canvas").path] * 2
    invalid = read_any(tmp_path / "x.invalid.json")
    assert isinstance(invalid, LatencyResult) and not out.exists()
    assert invalid.reasons == [
        "the two halves of the measurement disagree: "
        "int8.onnx, 1 thread: 2.00 times the reference, then 1.78: try again"
    ]


def test_a_valid_result_takes_an_invalid_one_away(tmp_path: Path) -> None:
    good, path = read_result(COMMITTED, LatencyResult), tmp_path / "x.json"
    with pytest.raises(BenchmarkInvalidError):
        write_judged(path, replace(good, valid=False, reasons=["throttled"]))
    assert [found.name for found in tmp_path.iterdir()] == ["x.invalid.json"]
    write_judged(path, good)
    assert [found.name for found in tmp_path.iterdir()] == ["x.json"]


def test_what_is_invalid_is_taken_for_no_result(tmp_path: Path) -> None:
    shutil.copytree(readme.RESULTS, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "canvas-latency.json"
    good = read_result(path, LatencyResult)
    write_result(path, replace(good, valid=False, reasons=["throttled", "other load"]))
    told = r"canvas-latency\.json: the measurement is invalid and no result: throttled; other load: measure again"
    for use in (
        lambda: read_result(path, LatencyResult),
        lambda: compare_files(COMMITTED, path),
        lambda: compare_files(path, COMMITTED),
        lambda: readme.latency_table(tmp_path),
    ):
        with pytest.raises(BenchmarkInvalidError, match=told):
            use()


def test_the_table_has_a_column_for_what_was_measured(tmp_path: Path) -> None:
    shutil.copytree(readme.RESULTS, tmp_path, dirs_exist_ok=True)
    result = replace(read_result(COMMITTED, LatencyResult), further=None)
    unmeasured = dict.fromkeys(("sustained_fps", "sustained_s", "memory_mb", "peak_share", "gmacs", "energy_mj"))
    bare = replace(result.formats["int8.onnx"], **unmeasured)
    more = replace(bare, memory_mb=48.24, peak_share=0.5, gmacs=45.12)
    for name in readme.SHIPPED:
        formats = {"fp32.onnx": bare, "int8.onnx": more if name == "canvas" else bare}
        write_result(tmp_path / f"{name}-latency.json", replace(result, formats=formats))
    lines = readme.latency_table(tmp_path).splitlines()
    assert lines[0].endswith("| times fp32.onnx | memory | GMAC/s | of the peak |")
    assert lines[2].endswith("| - | - | - |") and lines[3].endswith("| 48 MB | 45.1 | 50% |")
    assert {line.count("|") for line in lines[:8]} == {12}
    assert "sustained" not in lines[-1]
    kept = replace(result, formats={"int8.onnx": replace(more, sustained_fps=100.0, sustained_s=14.8)})
    write_result(tmp_path / "digitcam-s-latency.json", kept)
    assert "; sustained: in one go, digitcam-s for 15 s; " in readme.latency_table(tmp_path)


def test_the_table_has_a_column_for_further_threads(tmp_path: Path) -> None:
    shutil.copytree(readme.RESULTS, tmp_path, dirs_exist_ok=True)
    result = replace(read_result(COMMITTED, LatencyResult), further=None)
    for name in readme.SHIPPED:
        write_result(tmp_path / f"{name}-latency.json", result)
    assert "threads" not in readme.latency_table(tmp_path)
    two = {"int8.onnx": replace(result.formats["int8.onnx"], p50_ms=0.316)}
    write_result(tmp_path / "canvas-latency.json", replace(result, further={2: two}))
    lines = readme.latency_table(tmp_path).splitlines()
    assert lines[0].endswith(" | p50, 2 threads |")
    cells = {tuple(line.split(" | ")[:2]): line.split(" | ")[-1] for line in lines[2:-2]}
    assert cells["| canvas", "int8.onnx"] == "0.32 ms |"
    assert set(cells.values()) == {"0.32 ms |", "- |"} and len({line.count("|") for line in lines[:-2]}) == 1


def test_numbers_of_threads_compare_each_with_its_own() -> None:
    result = read_result(COMMITTED, LatencyResult)
    one = result.formats["int8.onnx"]
    result = replace(result, formats={"int8.onnx": one}, threads=1, further=None, cpus=None)
    a = replace(result, further={2: {"int8.onnx": replace(one, p50_ms=one.p50_ms / 2)}})
    b = replace(result, further={2: {"int8.onnx": one}})
    found = compare_latency(a, b)
    assert found.drops == ["int8.onnx, 2 threads: takes 2.00 times as long"] and found.remarks == []
    assert [row[0] for row in found.table[1:]] == ["int8.onnx, 1 thread", "int8.onnx, 2 threads"]
    # One number of threads in common: that alone is compared.
    only = compare_latency(a, replace(b, threads=2, further=None))
    assert only.drops == ["int8.onnx: takes 2.00 times as long"] and only.remarks == ["threads: 1, 2 and 2"]
    pinned = compare_latency(a, replace(b, cpus=[0, 1]))
    assert "CPUs: all and 0, 1" in pinned.remarks and pinned.drops == []
    apart = compare_latency(replace(result, threads=1), replace(result, threads=4))
    assert apart.remarks == ["threads: 1 and 4", "times do not compare; how many times fp32.onnx does"]


def test_a_missing_format_is_told_with_those_there_are(tmp_path: Path) -> None:
    bundle = open_bundle("canvas")
    files = {name: sha for name, sha in bundle.card.files.items() if name != "model.int8.tflite"}
    bundle.card = replace(bundle.card, files=files)
    with pytest.raises(ConfigError, match=r"has no int8\.tflite, only fp32\.onnx, int8\.onnx, fp32\.tflite"):
        latency(bundle, ["int8.tflite"], plan=SHORT)


@pytest.mark.parametrize(
    ("cpus", "said"),
    [
        ("0,one", "--cpus '0,one': write their numbers"),
        ("-1", "--cpus '-1'"),
        (f"{min(os.sched_getaffinity(0))},4711", "no CPU 4711 here: choose"),
    ],
)
def test_cpus_that_are_none(cpus: str, said: str, tmp_path: Path) -> None:
    done = bench("canvas", "--cpus", cpus, "--out", tmp_path / "x.json")
    assert isinstance(done.exception, ConfigError) and said in str(done.exception)


def test_a_process_keeps_to_its_cpus_for_that_time() -> None:
    before = os.sched_getaffinity(0)
    cpu = max(before)
    assert cpu_numbers("") == set() and cpu_numbers("0, 3") == {0, 3}
    with kept_to([cpu]) as allowed:
        ask = [sys.executable, "-c", "import os; print(os.sched_getaffinity(0))"]
        child = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
        assert allowed == os.sched_getaffinity(0) == {cpu} and child.strip() == str({cpu})
    with kept_to([]) as allowed:
        assert allowed == before
    with pytest.raises(DigitcamError), kept_to([cpu]):
        raise DigitcamError
    assert os.sched_getaffinity(0) == before


def test_memory_of_a_process_that_fails_is_told() -> None:
    with pytest.raises(BenchmarkInvalidError, match=r"memory of int9: the process ended with exit code 1: .*int9"):
        memory_mb(open_bundle("canvas"), "int9", 1)
