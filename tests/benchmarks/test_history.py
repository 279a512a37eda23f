import subprocess
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from digitcam.benchmarks.gather import gather
from digitcam.benchmarks.history import FILE, append_new, drops, entries, on_same_images, read_history, unseen
from digitcam.benchmarks.readme import RESULTS
from digitcam.benchmarks.results import AccuracyResult, Entry, LatencyResult, read_any, read_result, write_result
from digitcam.benchmarks.statistics import independent_interval, wilson
from digitcam.cli import cli
from digitcam.core.errors import BenchmarkInvalidError, SinkError

replace = msgspec.structs.replace
MACHINE = "a board, 4 cores, Linux aarch64"


def share(right: int, commit: str = "a", images: int = 1000, environment: str = MACHINE) -> Entry:
    interval = wilson(right, images)
    return Entry(
        commit,
        "2026-01-01",
        "accuracy",
        "s",
        "int8.onnx",
        "street, test",
        right / images,
        interval,
        images,
        environment,
    )


def ratio(value: float, commit: str = "a", environment: str = MACHINE) -> Entry:
    return Entry(commit, "2026-01-01", "latency", "s", "int8.onnx", "1 thread", value, None, None, environment)


def test_a_result_appends_its_shares_once(tmp_path: Path) -> None:
    result = read_result(RESULTS / "canvas-accuracy.json", AccuracyResult)
    write_result(tmp_path / "canvas-accuracy.json", result)
    count = sum(len(data.formats) for data in result.data_sets)
    assert append_new(tmp_path) == count
    written = (tmp_path / FILE).read_bytes()
    assert append_new(tmp_path) == 0 and (tmp_path / FILE).read_bytes() == written
    first, data = read_history(tmp_path / FILE)[0], result.data_sets[0]
    accuracy = data.formats["fp32.onnx"].metrics.sequence_accuracy
    assert (first.bundle, first.format, first.data) == ("canvas", "fp32.onnx", f"{data.data}, {data.split}")
    assert first.value == pytest.approx(accuracy, abs=1e-6) and first.images == data.images
    assert first.interval == pytest.approx(wilson(round(accuracy * data.images), data.images), abs=1e-6)
    assert first.commit == "unknown"

    other = data.formats["int8.onnx"]
    worse = replace(other, metrics=replace(other.metrics, sequence_accuracy=0.5))
    write_result(
        tmp_path / "canvas-accuracy.json",
        replace(result, data_sets=[replace(data, formats={**data.formats, "int8.onnx": worse}), *result.data_sets[1:]]),
    )
    assert append_new(tmp_path) == 1
    (drop,) = drops(read_history(tmp_path / FILE))
    assert (drop.after.format, drop.after.value) == ("int8.onnx", 0.5)


def test_the_commit_is_that_of_the_tree_the_results_lie_in(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "first"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout
    # Of before results knew their commit.
    result = read_result(RESULTS / "canvas-accuracy.json", AccuracyResult)
    assert result.environment.commit is None
    write_result(tmp_path / "canvas-accuracy.json", result)
    append_new(tmp_path)
    assert {entry.commit for entry in read_history(tmp_path / FILE)} == {head[:12]}


def test_a_result_that_knows_the_commit_it_was_made_at_keeps_it(tmp_path: Path) -> None:
    result = read_result(RESULTS / "canvas-accuracy.json", AccuracyResult)
    made = replace(result, environment=replace(result.environment, commit="0123456789ab-dirty"))
    assert {entry.commit for entry in entries(made, "later", "2026-01-01")} == {"0123456789ab-dirty"}
    assert {entry.commit for entry in entries(result, "later", "2026-01-01")} == {"later"}


def test_times_are_kept_as_ratios_within_a_run_and_invalid_ones_not_at_all() -> None:
    result = replace(read_result(RESULTS / "canvas-latency.json", LatencyResult), further=None)
    made = entries(result, "a", "2026-01-01")
    formats = [format for format in result.formats if format != result.reference]
    assert [(entry.format, entry.value, entry.interval) for entry in made] == [
        (format, result.formats[format].ratio, None) for format in formats
    ]
    assert entries(replace(result, valid=False, reasons=["throttled"]), "a", "2026-01-01") == []


def test_a_fall_within_noise_is_none() -> None:
    # 900 against 870 of 1000 is a fall beyond chance, 900 against 885 is not.
    low, high = independent_interval(870, 1000, 900, 1000)
    (drop,) = drops([share(900), share(870, "b")])
    assert drop.told == f"-3.00 points ({100 * low:+.2f} to {100 * high:+.2f})" and drop.after.commit == "b"
    assert drops([share(900), share(885)]) == drops([share(870), share(900)]) == []
    assert [drop.told for drop in drops([ratio(2.3), ratio(2.0, "b")])] == ["2.00, was 2.30"]
    assert drops([ratio(2.1), ratio(2.0)]) == []


def test_ratios_of_times_are_followed_on_one_kind_of_machine_shares_on_all() -> None:
    assert drops([ratio(3.0), ratio(2.0, environment="another")]) == []
    assert len(drops([share(900), share(800, environment="another")])) == 1


def test_shares_of_other_images_are_not_held_against_each_other() -> None:
    before, between, after = share(900), share(890, "b"), share(700, "c")
    assert len(drops([replace(before, fingerprint="one"), between, replace(after, fingerprint="one")])) == 1
    known = [replace(before, fingerprint="one"), between, replace(after, fingerprint="two"), share(500, "d")]
    # The line that does not know its images is taken for one of those before it.
    assert on_same_images(known) == [known[:2], known[2:]]
    assert [drop.after.commit for drop in drops(known)] == ["d"]


@given(st.lists(st.integers(0, 1000), max_size=6), st.lists(st.integers(0, 1000), max_size=6))
def test_what_is_appended_is_not_new_again(known: list[int], made: list[int]) -> None:
    before = [share(right) for right in known]
    new = unseen(before, [share(right, "b") for right in made])
    # The last of what was made is the last line now.
    assert not made or unseen([*before, *new], [share(made[-1], "c")]) == []


def test_a_line_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_bytes(msgspec.json.encode(share(900)) + b'\n{"commit": 1}\n')
    with pytest.raises(BenchmarkInvalidError, match=r"history\.jsonl: line 2: .*commit.*: take the line out"):
        read_history(path)
    assert read_history(tmp_path / "none.jsonl") == []


def test_the_command_tells_the_file_and_refuses_what_is_no_folder_of_results(tmp_path: Path) -> None:
    write_result(tmp_path / "seed.json", read_any(RESULTS / "seed.json"))
    done = CliRunner().invoke(cli, ["bench", "history", str(tmp_path)], standalone_mode=False)
    assert done.exception is None and f"{tmp_path / FILE}\n" in done.output
    done = CliRunner().invoke(cli, ["bench", "history", str(tmp_path / "none")], standalone_mode=False)
    assert isinstance(done.exception, BenchmarkInvalidError) and "no result" in str(done.exception)


def test_a_history_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    write_result(tmp_path / "seed.json", read_any(RESULTS / "seed.json"))
    (tmp_path / FILE).symlink_to(tmp_path / "gone" / FILE)
    with pytest.raises(SinkError, match=r"history\.jsonl: cannot write the history"):
        append_new(tmp_path)


def test_the_committed_history_knows_all_committed_results() -> None:
    made = [entry for result in gather(RESULTS).values() for entry in entries(result, "a", "2026-01-01")]
    assert len(made) > 50 and unseen(read_history(RESULTS / FILE), made) == [], "run 'digitcam bench history'"


def test_the_committed_history_is_whole() -> None:
    known = read_history(RESULTS / FILE)
    assert known and all(len(entry.commit.removesuffix("-dirty")) == 12 for entry in known)
