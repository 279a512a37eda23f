"""All result files of a folder, and machines and networks as pages and histories name them."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from digitcam.benchmarks.environment import Environment
from digitcam.benchmarks.results import Result, read_any
from digitcam.core.errors import BenchmarkInvalidError

BOARDS = "boards"
"""The folder within the results where those of other people's boards lie."""
SCHEMA_FILE = "schema.json"
"""What lies beside them and is no result."""
R = TypeVar("R")


def gather(folder: Path) -> dict[str, Result]:
    """Read every result (`*.json`) in a folder and in its `boards/`, by path within the folder, in order.

    Raises
    ------
    BenchmarkInvalidError
        When there is none, or one of the files is no result of this version.
    """
    boards = (path for path in (folder / BOARDS).glob("*.json") if path.name != SCHEMA_FILE)
    paths = [*sorted(folder.glob("*.json")), *sorted(boards)]
    if not paths:
        raise BenchmarkInvalidError(
            f"{folder}: no result (*.json) in this folder: measure first, or name another (digitcam bench --help)"
        )
    return {path.relative_to(folder).as_posix(): read_any(path) for path in paths}


def of_kind(results: dict[str, Result], kind: type[R]) -> dict[str, R]:
    """Return those of one kind."""
    return {name: result for name, result in results.items() if isinstance(result, kind)}


def machine(environment: Environment) -> str:
    """Return the machine in short, without versions; processors of one name differ in what they do with int8."""
    cores = "1 core" if environment.cores == 1 else f"{environment.cores} cores"
    int8 = f" ({', '.join(environment.cpu_int8)})" if environment.cpu_int8 else ""
    return f"{environment.cpu}{int8}, {cores}, {environment.system}"


def threads(count: int) -> str:
    """Return a number of threads in words."""
    return "1 thread" if count == 1 else f"{count} threads"
