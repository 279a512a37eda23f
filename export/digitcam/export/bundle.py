"""A checkpoint to a bundle: all formats, golden answers, gates. Nothing is written unless every gate is passed."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from digitcam.core.bundle import GOLDEN, Bundle, open_bundle, write_bundle
from digitcam.core.canvas import Sample, draw_glyphs, rng_for
from digitcam.core.card import Card, Training
from digitcam.core.errors import ConfigError
from digitcam.core.formats import FORMATS
from digitcam.core.golden import Golden
from digitcam.core.metrics import Metrics
from digitcam.core.source import source_commit
from digitcam.export import audit, onnx, parity, tflite
from digitcam.export.acceptance import accept_threshold, coverages
from digitcam.export.equalise import equalise
from digitcam.export.quantize import calibration_images
from digitcam.train.checkpoint import network_of, read_checkpoint
from digitcam.train.data import samples
from digitcam.train.deploy import count_macs, fold
from digitcam.train.evaluate import Results
from digitcam.train.model import Network
from digitcam.train.recipe import Recipe

GATE_IMAGES = 5_000
_GOLDEN_STREAM = 2000
_GOLDEN_NUMBERS = ("0", "17", "406", "5823", "90142")


def export(
    checkpoint: Path,
    out: Path,
    images: int = GATE_IMAGES,
    max_drop: float = parity.MAX_DROP,
    say: Callable[[str], None] = print,
) -> Card:
    """Export a checkpoint into the bundle folder `out`.

    Parameters
    ----------
    images
        Validation images a data set for the accuracy gates.
    max_drop
        Points of sequence accuracy that int8 may lose on them.
    say
        Told what is being done.

    Raises
    ------
    GateError
        When a format misses a gate; `out` is not made then.
    ConfigError
        When `out` exists, or the network is one of the seed's, with pooling or a GRU.
    """
    if out.exists():
        raise ConfigError(f"{out}: exists already: remove it or give another --out")
    saved = read_checkpoint(checkpoint)
    recipe = saved.recipe
    network = network_of(saved)
    if not isinstance(network, Network):
        raise ConfigError(
            f"{checkpoint}: networks of the seed's, with pooling or GRU, are for comparison: export one of strided "
            "convolutions, as that of train/recipes/canvas.toml"
        )
    parameters = sum(p.numel() for p in network.parameters())
    say(f"calibrating on {recipe.name}'s training images")
    calibration = calibration_images(recipe)
    network = equalise(fold(network), calibration)
    files = {}
    for runtime, module in (("onnx", onnx), ("tflite", tflite)):
        say(f"converting to {runtime}, float and int8")
        files[f"model.fp32.{runtime}"] = module.export_float(network, recipe.input)
        files[f"model.int8.{runtime}"] = module.export_int8(network, recipe.input, calibration)
    card = Card(
        name=recipe.name,
        input=recipe.input,
        head=recipe.head,
        training=Training(recipe.name, _data_name(recipe), saved.images, source_commit()),
        licence=recipe.licence,
        parameters=parameters,
        macs=count_macs(network, recipe.input),
    )
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "draft"
        write_bundle(draft, card, files)
        bundle = open_bundle(draft)
        golden = golden_of(bundle)
        expected = parity.torch_outputs(network, golden.images)
        for format in FORMATS:
            audit.check(audit.audit(bundle, format))
            if format.startswith("fp32"):
                difference = parity.check_parity(format, golden.outputs[format], expected)
                say(f"{format}: logits within {difference:.1g} of torch's")
        metrics: dict[str, dict[str, Metrics]] = {format: {} for format in FORMATS}
        results: dict[str, list[Results]] = {format: [] for format in FORMATS}
        for data in recipe.validation:
            drawn = list(samples(data, "validation", images))
            for format in FORMATS:
                results[format].append(parity.read_format(bundle, format, drawn))
                found = metrics[format][data] = results[format][-1].metrics()
                say(
                    f"{format}: {data}, {images} validation images: sequence accuracy {found.sequence_accuracy:.4f}, "
                    f"localisation error {found.localisation_error_px2:.3f} px²"
                )
            parity.check_drop(data, {format: metrics[format][data] for format in FORMATS}, max_drop)
    files[GOLDEN] = pack_golden(golden)
    named = {f: {f"{data}/validation": m for data, m in by_data.items()} for f, by_data in metrics.items()}
    accept = accept_threshold(list(chain.from_iterable(results.values())))
    say(f"a reading counts from a confidence of {accept:.2f}")
    thresholds = msgspec.structs.replace(card.thresholds, accept=accept)
    card = msgspec.structs.replace(card, metrics=named, thresholds=thresholds, coverage=coverages(results))
    return write_bundle(out, card, files)


def golden_samples(height: int, width: int) -> list[Sample]:
    """Draw the golden inputs from fonts: one number of each length."""
    return [
        draw_glyphs(number, rng_for(7, _GOLDEN_STREAM, i), height, width) for i, number in enumerate(_GOLDEN_NUMBERS)
    ]


def golden_of(bundle: Bundle) -> Golden:
    """Return the golden inputs with the answers of this machine's engines."""
    spec = bundle.card.input
    drawn = golden_samples(spec.height, spec.width)
    grey = np.stack([sample.image for sample in drawn])[..., None]
    images = np.repeat(grey, spec.channels, axis=-1)
    outputs = {format: parity.engine_outputs(bundle, format, images) for format in bundle.formats}
    return Golden(images, [sample.number for sample in drawn], outputs)


def pack_golden(golden: Golden) -> bytes:
    """Return the content of `golden.npz`, which `Bundle.golden` reads."""
    arrays: dict[str, Any] = {"images": golden.images, "numbers": np.array(golden.numbers)}
    for format, outputs in golden.outputs.items():
        arrays |= {f"{format}/{name}": value for name, value in outputs.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _data_name(recipe: Recipe) -> str:
    """Return the data's settings in one line, as the recipe has them."""
    return ", ".join(f"{key} {value}" for key, value in msgspec.to_builtins(recipe.data).items())
