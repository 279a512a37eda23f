"""Result files: JSON, one schema a kind, strict in reading, never overwritten half."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import msgspec

from digitcam.benchmarks.results.accuracy import (
    AccuracyResult,
    Bin,
    Calibration,
    DataSetAccuracy,
    Flip,
    FormatAccuracy,
)
from digitcam.benchmarks.results.debug import DebugResult, FormatLosses, LayerLoss
from digitcam.benchmarks.results.flashed import FlashResult, PowerCut, Seen
from digitcam.benchmarks.results.history import Entry
from digitcam.benchmarks.results.latency import (
    FormatLatency,
    FormatStages,
    Histogram,
    LatencyResult,
    Peak,
    Quantiles,
    Stages,
)
from digitcam.benchmarks.results.learning import SeedResult, SeedRun, SweepPoint, SweepResult, TrainingResult
from digitcam.benchmarks.results.outputs import EmulatedProcessor, OutputDifference, OutputsResult
from digitcam.benchmarks.results.peers import Peer, PeersResult
from digitcam.benchmarks.results.running import OverheadResult, Sample, SoakResult
from digitcam.benchmarks.results.subject import SCHEMA, Subject
from digitcam.benchmarks.results.watched import Conditions, Judged, Watched
from digitcam.core.errors import BenchmarkInvalidError, SinkError
from digitcam.core.metrics import Coverage
from digitcam.core.strict_json import decode_json
from digitcam.core.whole import write_file

__all__ = [
    "SCHEMA",
    "AccuracyResult",
    "Bin",
    "Calibration",
    "Conditions",
    "Coverage",
    "DataSetAccuracy",
    "DebugResult",
    "EmulatedProcessor",
    "Entry",
    "FlashResult",
    "Flip",
    "FormatAccuracy",
    "FormatLatency",
    "FormatLosses",
    "FormatStages",
    "Histogram",
    "Judged",
    "LatencyResult",
    "LayerLoss",
    "OutputDifference",
    "OutputsResult",
    "OverheadResult",
    "Peak",
    "Peer",
    "PeersResult",
    "PowerCut",
    "Quantiles",
    "Result",
    "Sample",
    "SeedResult",
    "SeedRun",
    "Seen",
    "SoakResult",
    "Stages",
    "Subject",
    "SweepPoint",
    "SweepResult",
    "TrainingResult",
    "Watched",
    "read_any",
    "read_result",
    "refuse_invalid",
    "write_judged",
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
    | OutputsResult
    | FlashResult
)
JudgedResult: TypeAlias = LatencyResult | OverheadResult | PeersResult | SoakResult
R = TypeVar("R", bound=Result)


def write_result(path: Path, result: Result) -> None:
    """Write a result file, replacing an earlier one only when the new one is whole.

    Raises
    ------
    SinkError
        When it cannot be written; an earlier file stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    except OSError as error:
        raise SinkError(f"{path}: cannot write the result: {error.strerror}") from None


def write_judged(path: Path, result: JudgedResult) -> None:
    """Write a measurement; one that is invalid beside it, to NAME.invalid.json, so that an earlier valid one stays.

    A valid one takes that file away.

    Raises
    ------
    BenchmarkInvalidError
        When it is invalid, after it has been written.
    SinkError
        When it cannot be written.
    """
    aside = path.with_suffix(".invalid.json")
    if result.holds:
        write_result(path, result)
        aside.unlink(missing_ok=True)
        return
    write_result(aside, result)
    raise BenchmarkInvalidError(
        f"the measurement is invalid and no result: {'; '.join(result.reasons or [])} "
        f"(it is in {aside}; {path} is as it was)"
    )


def read_result(path: Path, kind: type[R]) -> R:
    """Read a result file of one kind.

    Raises
    ------
    BenchmarkInvalidError
        When it is missing, of another kind or schema, or calls itself invalid.
    """
    result: R = _read(path, kind)
    refuse_invalid(path, result)
    return result


def read_any(path: Path) -> Result:
    """Read a result file of whichever kind, also a measurement that calls itself invalid; see `refuse_invalid`.

    Raises
    ------
    BenchmarkInvalidError
        When it is missing, no result, or of another schema.
    """
    result: Result = _read(path, Result)
    return result


def refuse_invalid(path: Path, result: Result) -> None:
    """Raise BenchmarkInvalidError, with the reasons, when a measurement calls itself invalid."""
    if isinstance(result, Judged) and not result.holds:
        reasons = "; ".join(result.reasons or [])
        raise BenchmarkInvalidError(f"{path}: the measurement is invalid and no result: {reasons}: measure again")


def _read(path: Path, kind: Any) -> Any:
    try:
        result = decode_json(path.read_bytes(), kind)
    except OSError as error:
        raise BenchmarkInvalidError(f"{path}: cannot read the result: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise BenchmarkInvalidError(f"{path}: not a result of this kind and version: {error}: measure again") from None
    if result.schema != SCHEMA:
        raise BenchmarkInvalidError(f"{path}: field 'schema' is {result.schema}, not {SCHEMA}: measure again")
    return result
