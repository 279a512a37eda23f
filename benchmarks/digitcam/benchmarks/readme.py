"""`make readme`: the READMEs' tables, made from the result files. `python -m digitcam.benchmarks.readme README.md`."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from string import Formatter

import msgspec

from digitcam.benchmarks.gather import threads
from digitcam.benchmarks.peers.compare import NEVER
from digitcam.benchmarks.results import (
    AccuracyResult,
    DebugResult,
    FormatAccuracy,
    LatencyResult,
    Peer,
    PeersResult,
    SeedRun,
    TrainingResult,
    read_result,
)
from digitcam.benchmarks.seed import MENDED, RECIPES, ROWS, TWIN, read_seed, variants
from digitcam.benchmarks.statistics import wilson
from digitcam.core.bundle import open_bundle
from digitcam.train.plain import PlainConfig
from digitcam.train.svhn import STAND_IN

ROOT = Path(__file__).parents[3]
SHIPPED = ("canvas", "digitcam-s", "digitcam-n")
WORLD = (
    ("drawn street scenes", "world", "street"),
    ("drawn scenes without a number", "world", "street-empty"),
    ("photographed counter wheels that stand on a digit, of meters not trained on", "world", "wheels"),
    ("photographed date codes", "world", "datecodes"),
    ("photographed house numbers", "svhn", "svhn-photographs"),
    ("canvases of one to five MNIST digits", "accuracy", "canvas-variable"),
    ("canvases of five MNIST digits", "accuracy", "canvas-five"),
)
"""What every network is measured on: label, result file, data set."""
MADE_FOR = [(row, network) for row in WORLD[:5] for network in SHIPPED[1:]]
"""What the networks for photographs were made for."""
NOT_MADE_FOR = [(row, network) for row in WORLD for network in SHIPPED if (row, network) not in MADE_FOR]
"""The rest; `canvas` on its own canvases is in `accuracy_table` too, in more detail."""
KINDS = {
    "house": "house numbers, placed and stretched as SVHN's labels say",
    "wheels": "counters of photographed wheels, of meters not trained on; the last wheel anywhere but halfway",
    "counter": "counters of drawn wheels, likewise",
    "display": "displays, of seven segments or dots",
    "print": "printed numbers of up to ten digits",
    "handwriting": "handwritten numbers, of MNIST's digits",
}
"""The kinds of numbers in `street`."""
PEERS = ("canvas-peers.json", "digitcam-s-peers.json", "digitcam-n-peers.json", "digitcam-s-datecodes-peers.json")
"""Comparisons with other readers; the first is always there."""
RESULTS = ROOT / "benchmarks" / "results"


def accuracy_table(results: Path) -> str:
    """Return the accuracy table of `canvas`."""
    result = read_result(results / "canvas-accuracy.json", AccuracyResult)
    rows = [
        "| data (test split) | format | sequence | character | localisation | IoU "
        "| points against float (95 %) | flips lost / won |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for data in result.data_sets:
        for format, found in data.formats.items():
            m = found.metrics
            place = f"{m.localisation_error_px2:.3f} px² | {m.iou:.3f}" if found.boxed else "- | -"
            rows.append(
                f"| {data.data}, {data.images:,} images | {format} | {m.sequence_accuracy:.4f} | "
                f"{m.character_accuracy:.4f} | {place} | "
                f"{_difference(found)} | {len(found.lost)} / {len(found.won)} |"
            )
    s = result.subject
    note = (
        f"`{s.name}`: {s.parameters:,} parameters, {s.macs / 1e6:.1f} MMAC, trained on {s.images_trained:,} drawn "
        "images; from `benchmarks/results/canvas-accuracy.json`."
    )
    return "\n".join([*rows, "", note])


def world_table(results: Path, of: Sequence[tuple[tuple[str, str, str], str]]) -> str:
    """Return what networks read of data sets, float and int8 on the same images; `of` pairs of them."""
    rows = [
        "| images | network | fp32 (95 %) | int8.onnx: points against it (95 %) | int8.tflite "
        "| IoU | accepted | accepted though wrong |",
        "|---|---|---|---|---|---|---|---|",
    ]
    alike = True
    for (label, file, name), network in of:
        found = read_result(results / f"{network}-{file}.json", AccuracyResult)
        data = next(data for data in found.data_sets if data.data == name)
        float_, onnx, tflite = (data.formats[format] for format in ("fp32.onnx", "int8.onnx", "int8.tflite"))
        other = data.formats["fp32.tflite"]
        alike &= not (other.lost or other.won)
        boxes = f"{tflite.metrics.iou:.3f}" if tflite.boxed else "-"
        share = float_.metrics.sequence_accuracy
        low, high = wilson(round(share * data.images), data.images)
        rows.append(
            f"| {data.images:,} {label} | {network} | {share:.4f} ({low:.4f} to {high:.4f}) | "
            f"{_difference(onnx)} | {_difference(tflite)} | {boxes} "
            f"| {tflite.accepted:.1%} | {tflite.wrongly_accepted:.2%} |"
        )
    floats = "both float formats are right on the same" if alike else "by fp32.onnx"
    note = (
        f"fp32: share of images on which exactly the right number was read, or rightly none; {floats}. int8: what is "
        "lost or won, on the same images. Last three columns for int8.tflite: IoU of the number's box, share of images "
        "with an accepted reading, and with one that is wrong. "
        "From `benchmarks/results/NAME-world.json`, `NAME-svhn.json` and `NAME-accuracy.json`."
    )
    return "\n".join([*rows, "", note])


def kinds_table(results: Path) -> str:
    """Return what the networks for photographs read of each kind of number in `street`, and what they accept."""
    networks = SHIPPED[1:]
    columns = ("right (95 %)", "accepted", "though wrong")
    heads = [f"{network}: {column}" for network in networks for column in columns]
    rows = [f"| numbers | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    measured = [read_result(results / f"{network}-kinds.json", AccuracyResult) for network in networks]
    counts = set()
    for kind, label in KINDS.items():
        cells = []
        for result in measured:
            data = next(data for data in result.data_sets if data.data == f"street-{kind}")
            counts.add(data.images)
            found = data.formats["int8.tflite"]
            share = found.metrics.sequence_accuracy
            low, high = wilson(round(share * data.images), data.images)
            cells += [
                f"{share:.3f} ({low:.3f} to {high:.3f})",
                f"{found.accepted:.1%}",
                f"{found.wrongly_accepted:.1%}",
            ]
        rows.append(f"| {label} | {' | '.join(cells)} |")
    note = (
        f"{', '.join(f'{count:,}' for count in sorted(counts))} scenes of each kind, test split, int8.tflite: share "
        "read exactly right, with an accepted reading, and with one that is wrong. "
        "From `benchmarks/results/NAME-kinds.json`."
    )
    return "\n".join([*rows, "", note])


def _difference(found: FormatAccuracy) -> str:
    """Return the points that a format differs from float by, with their interval."""
    if found.interval is None:
        return f"{found.difference:+.2f}"
    low, high = found.interval
    return f"{found.difference:+.2f} ({low:+.2f} to {high:+.2f})"


def debug_table(results: Path) -> str:
    """Return in which layer each int8 network loses most, and what keeping it in float would buy and cost."""
    rows = [
        "| network | format | logits, boxes | worst layer | loses | in float it buys | and costs |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in SHIPPED:
        result = read_result(results / f"{name}-debug.json", DebugResult)
        for format, found in result.formats.items():
            outputs = ", ".join(f"{found.outputs_db[output]:.0f}" for output in ("logits", "boxes"))
            worst = found.layers[0]
            rows.append(
                f"| {name} | {format} | {outputs} dB | `{worst.name}` | {worst.own_db:.0f} dB "
                f"| {worst.buys:.0%} of the error "
                f"| {worst.bytes / 1e3:.0f} kB, {worst.macs / 1e6:.1f} of {result.subject.macs / 1e6:.1f} MMAC |"
            )
    note = "Signal-to-noise ratios against float on validation images; from `benchmarks/results/NAME-debug.json`."
    return "\n".join([*rows, "", note])


def latency_table(results: Path, of: str = "latency") -> str:
    """Return how long the shipped networks take, by the files NAME-`of`.json."""
    found = {name: read_result(results / f"{name}-{of}.json", LatencyResult) for name in SHIPPED}
    columns = {
        head: cell
        for head, cell in _LATENCY_COLUMNS.items()
        # What none of the results has is no column.
        if any(cell(r, format) != "-" for r in found.values() for format in r.formats)
    }
    further = sorted({count for r in found.values() for count in r.further or {}})
    columns |= {f"p50, {threads(count)}": partial(_p50, threads=count) for count in further}
    rows = [f"| network | format | {' | '.join(columns)} |", f"|---|---|{'---|' * len(columns)}"]
    for name, result in found.items():
        for format in result.formats:
            rows.append(f"| {name} | {format} | {' | '.join(cell(result, format) for cell in columns.values())} |")
    last = found[SHIPPED[-1]]
    e = last.environment
    kept = {name: max((one.sustained_s or 0 for one in r.formats.values()), default=0) for name, r in found.items()}
    sustained = ", ".join(f"{name} for {seconds:.0f} s" for name, seconds in kept.items() if seconds)
    note = (
        f"{e.cpu}, {threads(last.threads)}, batch 1, int8 instructions: {', '.join(e.cpu_int8) or 'none'}; "
        f"{f'sustained: in one go, {sustained}; ' if sustained else ''}"
        f"{_of_earlier_weights(found)}"
        f"from `benchmarks/results/NAME-{of}.json`."
    )
    return "\n".join([*rows, "", note])


def _of_earlier_weights(found: dict[str, LatencyResult]) -> str:
    """Name the networks measured before they were trained further: how long they take is a matter of their shape."""
    now = {name: open_bundle(name).card.files for name in found}
    measured = {name: {f"model.{f}": sha for f, sha in r.subject.sha256.items()} for name, r in found.items()}
    earlier = [name for name in found if not measured[name].items() <= now[name].items()]
    return f"{', '.join(earlier)} with earlier weights of the same shape; " if earlier else ""


def _cell(pattern: str) -> Callable[[LatencyResult, str], str]:
    """Return what fills a pattern with a format's figures, named as in the result; a dash where one is not measured."""

    def fill(result: LatencyResult, format: str) -> str:
        figures = msgspec.structs.asdict(result.formats[format]) | {"kb": result.subject.bytes[format] / 1e3}
        named = [name for _, name, _, _ in Formatter().parse(pattern) if name]
        return "-" if any(figures[name] is None for name in named) else pattern.format(**figures)

    return fill


def _p50(result: LatencyResult, format: str, threads: int) -> str:
    """Return a format's median with a number of threads."""
    formats = result.by_threads.get(threads, {})
    return f"{formats[format].p50_ms:.2f} ms" if format in formats else "-"


_LATENCY_COLUMNS = {
    "size": _cell("{kb:.0f} kB"),
    "p50": _cell("{p50_ms:.2f} ms"),
    "p90": _cell("{p90_ms:.2f} ms"),
    "p99": _cell("{p99_ms:.2f} ms"),
    "frames/s": _cell("{fps:.0f}"),
    "times fp32.onnx": _cell("{ratio:.2f}"),
    "sustained": _cell("{sustained_fps:.0f}"),
    "memory": _cell("{memory_mb:.0f} MB"),
    "GMAC/s": _cell("{gmacs:.1f}"),
    "of the peak": _cell("{peak_share:.0%}"),
    "energy": _cell("{energy_mj:.1f} mJ"),
}


def training_table(results: Path) -> str:
    """Return how fast the recipes of the shipped bundles train."""
    rows = ["| recipe | drawn alone | trained alone | both, as in a run | waiting for data |", "|---|---|---|---|---|"]
    for name in SHIPPED:
        r = read_result(results / f"{name}-training.json", TrainingResult)
        rows.append(
            f"| {r.recipe} | {r.drawn_per_second:,.0f} images/s | {r.trained_per_second:,.0f} images/s | "
            f"{r.together_per_second:,.0f} images/s | {100 * r.waiting:.1f} % |"
        )
    e = r.environment
    return "\n".join([*rows, "", f"{e.cores} cores, {e.cpu}; from `benchmarks/results/NAME-training.json`."])


def peers_table(results: Path) -> str:
    """Return the tables of other readers on the same frames, one a result that is there."""
    more = [path for name in PEERS[1:] if (path := results / name).exists()]
    never = ", ".join(f"{name} ({why})" for name, why in NEVER.items())
    return "\n\n".join([*(_peers(path) for path in (results / PEERS[0], *more)), f"Not measured anywhere: {never}."])


def _peers(path: Path) -> str:
    result = read_result(path, PeersResult)
    rows = [_peer_cells(name, peer) for name, peer in result.peers.items()]
    # Without the columns for which a result has nothing.
    columns = [column for column in rows[0] if any(row[column] for row in rows)]
    lines = [columns, ["---"] * len(columns), *([row[column] for column in columns] for row in rows)]
    where = f"`{result.source}`, {result.split} split" if result.split else f"`{result.source}`"
    tuned = f"; settings chosen on {result.tuned} others" if result.tuned else ""
    others = {name: why for name, why in (result.left_out or {}).items() if name not in NEVER}
    absent = f"; not measured: {', '.join(f'{name} ({why})' for name, why in others.items())}" if others else ""
    note = f"{result.frames} frames of {where}, frame to number{tuned}{absent}; from `benchmarks/results/{path.name}`."
    table = ["| " + " | ".join(line) + " |" for line in lines]
    table[1] = table[1].replace(" ", "")
    return "\n".join([*table, "", note])


def _peer_cells(name: str, peer: Peer) -> dict[str, str]:
    right = f"{peer.sequence_accuracy:.2f}"
    if peer.interval is not None:
        right += f" ({peer.interval[0]:.2f} to {peer.interval[1]:.2f})"
    return {
        "reader": name,
        "version, setting": f"{peer.version}, {peer.setting}",
        "numbers right": right,
        "p50 a frame": f"{peer.p50_ms:.1f} ms",
        "p90": "" if peer.p90_ms is None else f"{peer.p90_ms:.1f} ms",
        "times digitcam's": "" if peer.times is None else f"{peer.times:,.{int(peer.times < 1)}f}",
        "memory": "" if peer.memory_mb is None else f"{peer.memory_mb:,.0f} MB",
        "installed": "" if peer.install_mb is None else f"{peer.install_mb:,.0f} MB",
    }


def seed_table(results: Path) -> str:
    """Return the seed's experiments, his numbers beside ours; a run that is not in the result yet is a dash."""
    runs = read_seed(results / "seed.json").runs
    rows = [
        "| recipe | his | ours | ours without pooling | ours mended | images seen | minutes |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        recipes = variants(row, ROOT / RECIPES)
        recipe, his = recipes[row], recipes[row].published
        published = _numbers(his.sequence, his.character, his.localisation) if his else "-"
        # A row that has no pooling in the first place has no twin, and stands in its column.
        pooled = row + TWIN in recipes
        columns = (row if pooled else "", row + TWIN if pooled else row, row + MENDED)
        done = [runs.get(name) for name in recipes]
        box = not isinstance(recipe.network, PlainConfig) or recipe.network.box_layers is not None
        cells = [_measured(runs.get(name), box) for name in columns]
        seen = [f"{run.images:,}" if run else "-" for run in done]
        minutes = [f"{run.minutes:,.0f}" if run else "-" for run in done]
        rows.append(f"| {row} | {published} | {' | '.join(cells)} | {' / '.join(seen)} | {' / '.join(minutes)} |")
    return "\n".join([*rows, "", _seed_note(list(runs.values()))])


def _seed_note(runs: list[SeedRun]) -> str:
    meaning = "Sequence accuracy / character accuracy / localisation error in px², on test images"
    if not runs:
        return f"{meaning}; none of ours has run yet: `digitcam bench seed`."
    images = ", ".join(sorted({f"{run.metrics.images:,}" for run in runs}))
    machines = "; ".join(sorted({f"{run.machine}, {run.precision}" for run in runs}))
    drawn = f" * {STAND_IN} for the photographs." if any(STAND_IN in _sources(run) for run in runs) else ""
    return f"{meaning} (ours: {images}). Machine: {machines}.{drawn} From `benchmarks/results/seed.json`."


def _sources(run: SeedRun) -> tuple[str, str]:
    return run.train_data, run.test_data


def _measured(run: SeedRun | None, box: bool) -> str:
    if run is None:
        return "-"
    m = run.metrics
    numbers = _numbers(m.sequence_accuracy, m.character_accuracy, m.localisation_error_px2 if box else None)
    return f"{numbers} *" if STAND_IN in _sources(run) else numbers


def _numbers(sequence: float, character: float | None, localisation: float | None) -> str:
    parts = [f"{sequence:.2f}", "-" if character is None else f"{character:.2f}"]
    digits = 2 if localisation is not None and localisation < 100 else 1
    return " / ".join([*parts, "-" if localisation is None else f"{localisation:.{digits}f}"])


TABLES: dict[str, Callable[[Path], str]] = {
    "accuracy": accuracy_table,
    "world": partial(world_table, of=MADE_FOR),
    "world_others": partial(world_table, of=NOT_MADE_FOR),
    "kinds": kinds_table,
    "debug": debug_table,
    "latency": latency_table,
    "latency_avx2": partial(latency_table, of="latency-avx2"),
    "training": training_table,
    "peers": peers_table,
    "seed": seed_table,
}


def render(text: str, results: Path = RESULTS) -> str:
    """Return a README with what stands between `<!-- results: NAME -->` and `<!-- end -->` made anew."""

    def fill(match: re.Match[str]) -> str:
        return f"{match[1]}\n{TABLES[match[2]](results)}\n\n{match[3]}"

    return re.sub(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", fill, text, flags=re.DOTALL)


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(render(path.read_text(encoding="utf-8")), encoding="utf-8")
