"""`make readme`: the README's tables, made from the result files. `python -m digitcam.benchmarks.readme README.md`."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from digitcam.benchmarks.results import AccuracyResult, DrawingResult, LatencyResult, PeersResult, read_result

RESULTS = Path(__file__).parents[2] / "results"


def accuracy_table(results: Path) -> str:
    """Return the accuracy table of `canvas`."""
    result = read_result(results / "canvas-accuracy.json", AccuracyResult)
    rows = [
        "| data (test split) | format | sequence | character | localisation | IoU | against float | flips lost / won |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for data in result.data_sets:
        for format, found in data.formats.items():
            m = found.metrics
            rows.append(
                f"| {data.data}, {data.images:,} images | {format} | {m.sequence_accuracy:.4f} | "
                f"{m.character_accuracy:.4f} | {m.localisation_error_px2:.3f} px² | {m.iou:.3f} | "
                f"{found.difference:+.2f} points | {len(found.lost)} / {len(found.won)} |"
            )
    s = result.subject
    note = (
        f"`{s.name}`: {s.parameters:,} parameters, {s.macs / 1e6:.1f} MMAC, trained on {s.images_trained:,} drawn "
        "images; from `benchmarks/results/canvas-accuracy.json`."
    )
    return "\n".join([*rows, "", note])


def latency_table(results: Path) -> str:
    """Return the latency table of `canvas`."""
    result = read_result(results / "canvas-latency.json", LatencyResult)
    rows = [
        "| format | size | p50 | p90 | p99 | frames/s | times fp32.onnx |",
        "|---|---|---|---|---|---|---|",
    ]
    for format, f in result.formats.items():
        rows.append(
            f"| {format} | {result.subject.bytes[format] / 1e3:.0f} kB | {f.p50_ms:.2f} ms | {f.p90_ms:.2f} ms | "
            f"{f.p99_ms:.2f} ms | {f.fps:.0f} | {f.ratio:.2f} |"
        )
    e = result.environment
    note = (
        f"{e.cpu}, {result.threads} thread, batch 1, int8 instructions: {', '.join(e.cpu_int8) or 'none'}; "
        "from `benchmarks/results/canvas-latency.json`."
    )
    return "\n".join([*rows, "", note])


def drawing_table(results: Path) -> str:
    """Return one sentence about drawing and training speed."""
    r = read_result(results / "drawing.json", DrawingResult)
    return (
        f"On {r.environment.cores} cores ({r.environment.cpu}) the generator draws {r.drawn_per_second:,.0f} images/s "
        f"and training takes {r.trained_per_second:,.0f} images/s: {r.ratio:.1f} drawn for each "
        "(`benchmarks/results/drawing.json`)."
    )


def peers_table(results: Path) -> str:
    """Return the table of other readers on the same frames."""
    result = read_result(results / "canvas-peers.json", PeersResult)
    rows = ["| reader | version, setting | numbers right | p50 a frame |", "|---|---|---|---|"]
    for name, peer in result.peers.items():
        rows.append(
            f"| {name} | {peer.version}, {peer.setting} | {peer.sequence_accuracy:.2f} | {peer.p50_ms:.1f} ms |"
        )
    note = f"{result.frames} frames of `{result.source}`, frame to number; from `benchmarks/results/canvas-peers.json`."
    return "\n".join([*rows, "", note])


TABLES: dict[str, Callable[[Path], str]] = {
    "accuracy": accuracy_table,
    "latency": latency_table,
    "drawing": drawing_table,
    "peers": peers_table,
}


def render(text: str, results: Path = RESULTS) -> str:
    """Return a README with what stands between `<!-- results: NAME -->` and `<!-- end -->` made anew."""

    def fill(match: re.Match[str]) -> str:
        return f"{match[1]}\n{TABLES[match[2]](results)}\n\n{match[3]}"

    return re.sub(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", fill, text, flags=re.DOTALL)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(render(path.read_text(encoding="utf-8")), encoding="utf-8")
