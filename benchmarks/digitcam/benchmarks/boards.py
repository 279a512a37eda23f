"""Results that people send of their boards: what such a file must tell, and its JSON schema.

`python -m digitcam.benchmarks.boards > benchmarks/results/boards/schema.json` makes the schema anew.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import TypeAlias, get_args

import msgspec

from digitcam.benchmarks.environment import COOLING, SUPPLY
from digitcam.benchmarks.results import (
    AccuracyResult,
    Conditions,
    LatencyResult,
    OverheadResult,
    SoakResult,
    Watched,
    read_any,
    refuse_invalid,
)
from digitcam.benchmarks.validity import SUSTAINED_S, by_name, objections, soak_objections
from digitcam.core.errors import BenchmarkInvalidError

BoardResult: TypeAlias = AccuracyResult | LatencyResult | OverheadResult | SoakResult
KINDS = tuple(str(kind.__struct_config__.tag) for kind in get_args(BoardResult))
TOLD = {
    "memory_mb": "measure on Linux",
    "os": "measure on Linux",
    "kernel": "measure on Linux",
    "cooling": f"say in {COOLING} how it is cooled, as 'heat sink, no fan', and measure again",
    "supply": f"say in {SUPPLY} what feeds it, as 'USB-C, 5.1 V, 3 A', and measure again",
}
"""Fields of the environment that a board's result must have, and what gives them."""
IN_ONE_GO_S = 0.9 * SUSTAINED_S
"""How long a format must have run in one go: of the minute, looking at the board takes a part."""


def check_board(path: Path) -> BoardResult:
    """Read a result that is to stand among those of boards.

    Raises
    ------
    BenchmarkInvalidError
        Naming file and field, when it cannot be read, is of another kind, calls itself invalid, does not say what it
        was measured on, lacks what `bench latency` measures by default, or is no result by `validity`, whatever it
        calls itself.
    """
    result = read_any(path)
    if not isinstance(result, BoardResult):
        kind = result.__struct_config__.tag
        raise BenchmarkInvalidError(f"{path}: field 'kind' is {kind}: of boards there are {', '.join(KINDS)}")
    refuse_invalid(path, result)
    for field, mend in TOLD.items():
        if getattr(result.environment, field) is None:
            raise BenchmarkInvalidError(f"{path}: field 'environment.{field}' is missing: {mend}")
    if isinstance(result, Watched) and result.conditions is None:
        raise BenchmarkInvalidError(f"{path}: field 'conditions' is missing: measure again with this digitcam")
    if isinstance(result, LatencyResult):
        _check_complete(path, result)
    if reasons := _objections(result):
        raise BenchmarkInvalidError(f"{path}: the measurement is invalid: {'; '.join(reasons)}")
    return result


def _check_complete(path: Path, result: LatencyResult) -> None:
    """Raise BenchmarkInvalidError for a format whose halves are not told, or that was not kept up for a minute."""
    for name, found in by_name(result.by_threads).items():
        for field in ("ratios", "halves_ms"):
            if getattr(found, field) is None:
                raise BenchmarkInvalidError(
                    f"{path}: {name}: field '{field}' is missing: measure again with this digitcam"
                )
        if (found.sustained_s or 0.0) < IN_ONE_GO_S:
            told = f"is {found.sustained_s:g}" if found.sustained_s is not None else "is missing"
            raise BenchmarkInvalidError(f"{path}: {name}: field 'sustained_s' {told}: leave --sustained out")


def _objections(result: BoardResult) -> list[str]:
    match result:
        case LatencyResult(conditions=Conditions() as conditions):
            return objections(conditions, result.environment.board, result.by_threads)
        case OverheadResult(conditions=Conditions() as conditions):
            return objections(conditions, result.environment.board)
        case SoakResult():
            return soak_objections(result.frames - result.received, result.samples)
    return []


def schema() -> bytes:
    """Return the JSON schema of a board's result, made from the classes that read it."""
    found = msgspec.json.schema(BoardResult)
    for definition in found["$defs"].values():
        # Docstrings are indented or not by the version of Python.
        definition["description"] = inspect.cleandoc(definition["description"])
    return msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n"


if __name__ == "__main__":
    sys.stdout.buffer.write(schema())
