"""Result files: JSON, one schema a kind, strict in reading, never overwritten half."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import msgspec

from digitcam.benchmarks.results.accuracy import (
    AccuracyResult,
    Bin,
    Calibration,
    Coverage,
    DataSetAccuracy,
    Flip,
    FormatAccuracy,
)
from digitcam.benchmarks.results.debug import DebugResult, FormatLosses, LayerLoss
from digitcam.benchmarks.results.latency import FormatLatency, LatencyResult
from digitcam.benchmarks.results.learning import SeedResult, SeedRun, SweepPoint, SweepResult, TrainingResult
from digitcam.benchmarks.results.peers import Peer, PeersResult
from digitcam.benchmarks.results.running import OverheadResult, Sample, SoakResult
from digitcam.benchmarks.results.subject import SCHEMA, Subject
from digitcam.core.errors import BenchmarkInvalidError, SinkError

__all__ = [
    "SCHEMA",
    "AccuracyResult",
    "Bin",
    "Calibration",
    "Coverage",
    "DataSetAccuracy",
    "DebugResult",
    "Flip",
    "FormatAccuracy",
    "FormatLatency",
    "FormatLosses",
    "LatencyResult",
    "LayerLoss",
    "OverheadResult",
    "Peer",
    "PeersResult",
    "Result",
    "Sample",
    "SeedResult",
    "SeedRun",
    "SoakResult",
    "Subject",
    "SweepPoint",
    "SweepResult",
    "TrainingResult",
    "read_any",
    "read_result",
    "write_result",
]

Result: TypeAlias = (
    AccuracyResult
    | LatencyResult
    | TrainingResult
    | PeersResult
    | SweepResult
    | SeedResult
    | OverheadResult
    | SoakResult
    | DebugResult
)
R = TypeVar("R", bound=Result)


def write_result(path: Path, result: Result) -> None:
    """Write a result file, replacing an earlier one only when the new one is whole.

    Raises
    ------
    SinkError
        When it cannot be written; an earlier file stays.
    """
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
        part.replace(path)
    except OSError as error:
        raise SinkError(f"{path}: cannot write the result: {error.strerror}") from None


def read_result(path: Path, kind: type[R]) -> R:
    """Read a result file of one kind.

    Raises
    ------
    BenchmarkInvalidError
        When it is missing or of another kind or schema.
    """
    result: R = _read(path, kind)
    return result


def read_any(path: Path) -> Result:
    """Read a result file of whichever kind.

    Raises
    ------
    BenchmarkInvalidError
        When it is missing, no result, or of another schema.
    """
    result: Result = _read(path, Result)
    return result


def _read(path: Path, kind: Any) -> Any:
    try:
        result = msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise BenchmarkInvalidError(f"{path}: cannot read the result: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise BenchmarkInvalidError(f"{path}: not a result of this kind and version: {error}: measure again") from None
    if result.schema != SCHEMA:
        raise BenchmarkInvalidError(f"{path}: field 'schema' is {result.schema}, not {SCHEMA}: measure again")
    return result
