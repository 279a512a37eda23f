"""The parts of `arm64_outputs.sh`: networks run, and their answers compared.

`record OUT.npz` runs the golden inputs of the shipped bundles through every format, on whichever processor.
`compare OUT.json EMULATOR HERE.npz NAME=THERE.npz...` writes by how much the answers differ, and exits 1 where those of
an int8 format do at all, or where another number is read.
"""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from digitcam.core.bundle import SHIPPED, Bundle, open_bundle
from digitcam.core.decode import decode

PACKAGES = ("numpy", "onnxruntime", "ai-edge-litert")
Arrays = dict[str, np.ndarray]


def bundles() -> dict[str, Bundle]:
    return {
        folder.name: open_bundle(folder) for folder in sorted(SHIPPED.glob("*/")) if (folder / "card.json").exists()
    }


def record(out: Path) -> None:
    """Write each output of each format as an array "BUNDLE/FORMAT/OUTPUT", float32 [N, ...], and what gave it."""
    from digitcam.edge import engines

    arrays: Arrays = {
        "machine": np.array(platform.machine()),
        "libc": np.array(" ".join(platform.libc_ver())),
        "python": np.array(platform.python_version()),
        **{f"package:{name}": np.array(version(name)) for name in PACKAGES},
    }
    for name, bundle in bundles().items():
        images = bundle.golden().images
        for format in bundle.formats:
            engine = engines.load(bundle, format)
            answers = [{key: value.copy() for key, value in engine.run(image[None]).items()} for image in images]
            for key in answers[0]:
                arrays[f"{name}/{format}/{key}"] = np.concatenate([answer[key] for answer in answers])
            print(f"arm64_outputs: {platform.machine()}: {name} {format}", file=sys.stderr, flush=True)
    np.savez_compressed(out, **arrays)


def compared(bundle: Bundle, here: Arrays, there: Arrays, prefix: str) -> Any:
    """Compare the answers of one format, whose arrays' names begin with `prefix`."""
    from digitcam.benchmarks.results import OutputDifference

    pairs = [(here[key], there[key]) for key in here if key.startswith(prefix)]
    numbers = [
        [
            [line.number for line in decode(logits, boxes, bundle.card.head, bundle.card.thresholds)]
            for logits, boxes in zip(arrays[f"{prefix}logits"], arrays[f"{prefix}boxes"], strict=True)
        ]
        for arrays in (here, there)
    ]
    return OutputDifference(
        images=len(numbers[0]),
        same_numbers=sum(a == b for a, b in zip(*numbers, strict=True)),
        values=sum(a.size for a, _ in pairs),
        # By their bits: no value is told to be equal to another one.
        equal=int(sum((a.view(np.uint32) == b.view(np.uint32)).sum() for a, b in pairs)),
        largest=float(max(np.abs(a - b).max() for a, b in pairs)),
    )


def compare(out: Path, emulator: str, here: Arrays, others: dict[str, Arrays]) -> list[str]:
    """Write the result; return what is not as it should be."""
    from digitcam.benchmarks.environment import environment
    from digitcam.benchmarks.results import EmulatedProcessor, OutputsResult, write_result

    shipped = bundles()
    processors, faults = {}, []
    for cpu, there in others.items():
        found = {
            name: {format: compared(bundle, here, there, f"{name}/{format}/") for format in bundle.formats}
            for name, bundle in shipped.items()
        }
        packages = {name: str(there[f"package:{name}"]) for name in PACKAGES}
        processors[cpu] = EmulatedProcessor(
            *(str(there[key]) for key in ("machine", "libc", "python")), packages, found
        )
        if packages != {name: str(here[f"package:{name}"]) for name in PACKAGES}:
            faults.append(f"{cpu}: other versions than here: {packages}")
        for name, formats in found.items():
            for format, one in formats.items():
                told = f"{cpu} {name} {format}: {one.equal} of {one.values} values equal, by up to {one.largest:.2g}"
                print(f"arm64_outputs: {told}, {one.same_numbers} of {one.images} inputs read the same")
                if one.same_numbers < one.images or (format.startswith("int8") and one.equal < one.values):
                    faults.append(told)
    sha256 = {name: {f: bundle.card.files[f"model.{f}"] for f in bundle.formats} for name, bundle in shipped.items()}
    write_result(out, OutputsResult(True, emulator, environment(), sha256, processors))
    return faults


def loaded(path: str) -> Arrays:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def main(verb: str, out: str, *words: str) -> int:
    if verb == "record":
        record(Path(out))
        return 0
    emulator, here, *others = words
    named = {cpu: loaded(path) for cpu, _, path in (word.partition("=") for word in others)}
    faults = compare(Path(out), emulator, loaded(here), named)
    for fault in faults:
        print(f"arm64_outputs: not as here: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
