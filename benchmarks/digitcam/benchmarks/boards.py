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
    LatencyResult,
    OverheadResult,
    SoakResult,
    Watched,
    read_any,
    refuse_invalid,
)
from digitcam.benchmarks.validity import objections
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


def check_board(path: Path) -> BoardResult:
    """Read a result that is to stand among those of boards.

    Raises
    ------
    BenchmarkInvalidError
        Naming file and field, when it cannot be read, is of another kind, calls itself invalid, does not say what it
        was measured on, or when times in it are no result by `validity.objections`, whatever it calls itself.
    """
    result = read_any(path)
    if not isinstance(result, BoardResult):
        kind = result.__struct_config__.tag
        raise BenchmarkInvalidError(f"{path}: field 'kind' is {kind}: of boards there are {', '.join(KINDS)}")
    refuse_invalid(path, result)
    for field, mend in TOLD.items():
        if getattr(result.environment, field) is None:
            raise BenchmarkInvalidError(f"{path}: field 'environment.{field}' is missing: {mend}")
    if isinstance(result, Watched):
        if result.conditions is None:
            raise BenchmarkInvalidError(f"{path}: field 'conditions' is missing: measure again with this digitcam")
        by_threads = result.by_threads if isinstance(result, LatencyResult) else None
        if reasons := objections(result.conditions, result.environment.board, by_threads):
            raise BenchmarkInvalidError(f"{path}: the measurement is invalid: {'; '.join(reasons)}")
    return result


def schema() -> bytes:
    """Return the JSON schema of a board's result, made from the classes that read it."""
    found = msgspec.json.schema(BoardResult)
    for definition in found["$defs"].values():
        # Docstrings are indented or not by the version of Python.
        definition["description"] = inspect.cleandoc(definition["description"])
    return msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n"


if __name__ == "__main__":
    sys.stdout.buffer.write(schema())
