from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from digitcam.benchmarks.boards import check_board, schema
from digitcam.benchmarks.readme import RESULTS
from digitcam.benchmarks.results import Conditions, LatencyResult, OverheadResult, SoakResult, read_result, write_result
from digitcam.cli import cli
from digitcam.core.errors import BenchmarkInvalidError

BOARDS = RESULTS / "boards"
replace = msgspec.structs.replace


@pytest.fixture
def sent(tmp_path: Path) -> Path:
    """A result as a board would give it."""
    result = read_result(RESULTS / "canvas-overhead.json", OverheadResult)
    conditions = Conditions(9.0, 9, [], None, None, [], [], 0.0, 0.0)
    told = {"memory_mb": 8000.0, "os": "Debian", "kernel": "6.12", "cooling": "a fan", "supply": "USB-C"}
    path = tmp_path / "some-canvas-overhead.json"
    environment = replace(result.environment, board="Raspberry Pi 5", **told)
    write_result(path, replace(result, environment=environment, conditions=conditions))
    return path


def change(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert text.count(before) == 1
    path.write_text(text.replace(before, after))


def test_the_committed_schema_is_that_of_the_classes() -> None:
    made = "run: python -m digitcam.benchmarks.boards > benchmarks/results/boards/schema.json"
    assert (BOARDS / "schema.json").read_bytes() == schema(), made


def test_the_schema_tells_kinds_fields_and_units() -> None:
    found = msgspec.json.decode(schema())
    assert set(found["discriminator"]["mapping"]) == {"accuracy", "latency", "overhead", "soak"}
    machine = found["$defs"]["Environment"]
    assert machine["additionalProperties"] is False and "cooling" not in machine["required"]
    assert {"board", "revision", "memory_mb", "os", "kernel", "governor", "cooling", "supply"} <= set(
        machine["properties"]
    )


def test_what_was_sent_tells_all(sent: Path) -> None:
    assert check_board(sent).environment.cooling == "a fan"
    for path in BOARDS.glob("*.json"):
        if path.name != "schema.json":
            check_board(path)


@pytest.mark.parametrize(
    ("before", "after", "say"),
    [
        ('"a fan"', "null", "field 'environment.cooling' is missing: say in DIGITCAM_COOLING"),
        ('"USB-C"', "null", "field 'environment.supply' is missing: say in DIGITCAM_SUPPLY"),
        ('"os": "Debian"', '"os": null', "field 'environment.os' is missing: measure on Linux"),
        ('"memory_mb": 8000.0', '"memory_mb": "8 GB"', r"\$\.environment\.memory_mb"),
        ('"board"', '"bord"', "unknown field `bord` - at `\\$\\.environment`"),
        ('"rest_p50_ms"', '"rest_ms"', "rest_ms"),
        ('"kind": "overhead"', '"kind": "speed"', "'speed' - at `\\$\\.kind`"),
        ('"throttled": []', '"throttled": ["under-voltage"]', "the measurement is invalid: throttled: under-voltage"),
        (
            '"throttled": []',
            '"throttled": null',
            "invalid: whether it was throttled is unknown, vcgencmd gave no answer",
        ),
        ('"schema": 1', '"schema": 2', "field 'schema' is 2"),
    ],
)
def test_file_and_field_are_named(before: str, after: str, say: str, sent: Path) -> None:
    change(sent, before, after)
    with pytest.raises(BenchmarkInvalidError, match=say) as caught:
        check_board(sent)
    assert str(caught.value).startswith(f"{sent}: ") and "\n" not in str(caught.value)


def test_results_without_a_board_are_refused() -> None:
    with pytest.raises(BenchmarkInvalidError, match="field 'kind' is seed: of boards there are accuracy, latency"):
        check_board(RESULTS / "seed.json")


def test_a_measurement_that_calls_itself_invalid_is_refused(tmp_path: Path) -> None:
    result = read_result(RESULTS / "canvas-latency.json", LatencyResult)
    write_result(tmp_path / "hot.json", replace(result, valid=False, reasons=["throttled"]))
    with pytest.raises(BenchmarkInvalidError, match=r"hot\.json: the measurement is invalid .*throttled"):
        check_board(tmp_path / "hot.json")


TOLD = {"memory_mb": 8000.0, "os": "Debian", "kernel": "6.12", "cooling": "a fan", "supply": "USB"}


def as_sent(path: Path, **changes: Any) -> Path:
    """Write a latency result as a board would give it, with changes of which its `valid` knows nothing."""
    result = read_result(RESULTS / "digitcam-s-latency.json", LatencyResult)
    formats = {format: replace(one, halves_ms=(one.p50_ms, one.p50_ms)) for format, one in result.formats.items()}
    whole = replace(result, environment=replace(result.environment, **TOLD), formats=formats)
    write_result(path, replace(whole, **changes))
    return path


def test_a_measurement_that_calls_itself_valid_is_judged_anew(tmp_path: Path) -> None:
    good = check_board(as_sent(tmp_path / "good.json"))
    assert isinstance(good, LatencyResult) and good.conditions is not None

    def of_int8(**changes: Any) -> dict[str, Any]:
        return {"formats": {**good.formats, "int8.onnx": replace(good.formats["int8.onnx"], **changes)}}

    for changes, say in (
        ({"conditions": replace(good.conditions, throttled=["under-voltage"])}, "throttled: under-voltage"),
        ({"conditions": replace(good.conditions, clock_mhz=(600.0, 1800.0))}, "the clock was low: 600 of 1800 MHz"),
        ({"conditions": None, "valid": None}, "field 'conditions' is missing: measure again"),
        (of_int8(runs=3), "too few runs: int8.onnx, 1 thread: 3"),
        (of_int8(ratios=None), "int8.onnx, 1 thread: field 'ratios' is missing: measure again with this digitcam"),
        (of_int8(halves_ms=None), "int8.onnx, 1 thread: field 'halves_ms' is missing: measure again"),
        (of_int8(halves_ms=(0.0, 1.0)), "the machine changed its speed: int8.onnx, 1 thread: 0.00 ms, then 1.00"),
        (of_int8(sustained_s=53.9), "int8.onnx, 1 thread: field 'sustained_s' is 53.9: leave --sustained out"),
        (of_int8(sustained_s=None, sustained_fps=None), "field 'sustained_s' is missing: leave --sustained out"),
        ({"further": {2: of_int8(ratios=None)["formats"]}}, "int8.onnx, 2 threads: field 'ratios' is missing"),
    ):
        with pytest.raises(BenchmarkInvalidError, match=say):
            check_board(as_sent(tmp_path / "bad.json", **changes))


def test_a_long_run_that_does_not_call_itself_valid_is_judged(tmp_path: Path) -> None:
    result = read_result(RESULTS / "canvas-soak.json", SoakResult)
    whole = replace(result, environment=replace(result.environment, **TOLD), valid=None, reasons=None)
    path = tmp_path / "soak.json"
    write_result(path, whole)
    assert check_board(path) == whole
    write_result(path, replace(whole, received=whole.frames - 3))
    with pytest.raises(BenchmarkInvalidError, match=r"soak\.json: the measurement is invalid: 3 readings were lost$"):
        check_board(path)


def test_the_command_looks_at_every_file(sent: Path, tmp_path: Path) -> None:
    words = ["bench", "validate", str(tmp_path / "none.json"), str(sent)]
    done = CliRunner().invoke(cli, words, standalone_mode=False)
    assert done.return_value == 6
    assert done.stdout == f"{sent}: canvas on Raspberry Pi 5: ok\n"
    assert done.stderr == f"digitcam: {tmp_path / 'none.json'}: cannot read the result: No such file or directory\n"
    assert CliRunner().invoke(cli, ["bench", "validate", str(sent)], standalone_mode=False).return_value == 0
