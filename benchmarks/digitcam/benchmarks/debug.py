"""`bench debug`: in which layers int8 loses, and what keeping each of them in float would buy and cost."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence

import numpy as np

from digitcam.benchmarks.environment import environment
from digitcam.benchmarks.results import DebugResult, FormatLosses, LayerLoss
from digitcam.benchmarks.subject import REFERENCE, subject
from digitcam.core.arrays import FloatArray, UInt8Array
from digitcam.core.bundle import Bundle
from digitcam.core.errors import BenchmarkInvalidError, ConfigError
from digitcam.core.preprocess import letterbox
from digitcam.edge import engines
from digitcam.train.data import refuse_rare, samples
from digitcam.train.mnist import Split

MOST_DB = 120.0
"""What a ratio is given as where there is no noise, or its negative where there is no signal."""
SHOWN = 5
"""Layers a format that are told while measuring; the result has all."""


class Ratio:
    """Signal and noise energy, summed over tensors."""

    def __init__(self) -> None:
        self.signal = self.noise = 0.0

    def add(self, expected: FloatArray, found: FloatArray) -> None:
        """Count a tensor and what it should have been."""
        whole = expected.astype(np.float64)
        self.signal += float(np.square(whole).sum())
        self.noise += float(np.square(whole - found).sum())

    @property
    def db(self) -> float:
        """The ratio in dB, within ±`MOST_DB`."""
        if self.noise == 0 or self.signal == 0:
            return MOST_DB if self.noise == 0 else -MOST_DB
        return float(np.clip(10 * np.log10(self.signal / self.noise), -MOST_DB, MOST_DB))

    @property
    def share(self) -> float:
        """The noise as a share of the signal."""
        return self.noise / self.signal if self.signal else float(self.noise > 0)


def snr_db(expected: FloatArray, found: FloatArray) -> float:
    """Return one tensor's signal-to-noise ratio."""
    ratio = Ratio()
    ratio.add(expected, found)
    return ratio.db


def debug(
    bundle: Bundle, data: str, split: Split = "validation", count: int = 32, say: Callable[[str], None] = print
) -> DebugResult:
    """Compare every int8 format of a bundle with float, layer by layer, on the first images of a data set.

    Raises
    ------
    ConfigError
        When the data set is one of `RARE`, the bundle has no int8 format, or onnx is not installed.
    ModelError
        When a network cannot be loaded, or an int8 one is not one of the float one.
    """
    refuse_rare(data)
    formats = [format for format in bundle.formats if format.startswith("int8")]
    if not formats:
        raise ConfigError(f"{bundle.path}: has no int8 format, only {', '.join(bundle.formats)}")
    if importlib.util.find_spec("onnx") is None:
        raise ConfigError("bench debug needs onnx: pip install 'digitcam[export]'")
    described = subject(bundle, [REFERENCE, *formats])
    # They say what is wrong with a file; the readers of graphs do not.
    loaded = {format: engines.load(bundle, format) for format in (REFERENCE, *formats)}
    images = [letterbox(sample.image, bundle.card.input)[0] for sample in samples(data, split, count)]
    if not images:
        raise BenchmarkInvalidError(f"{data}: has no {split} images")
    losses = {format: _losses(bundle, format, loaded[format], images, say) for format in formats}
    return DebugResult(described, environment(), REFERENCE, data, split, len(images), losses)


def _losses(
    bundle: Bundle, format: str, engine: engines.Engine, images: Sequence[UInt8Array], say: Callable[[str], None]
) -> FormatLosses:
    from digitcam.benchmarks.int8 import OnnxInt8, OnnxRun, TfliteInt8
    from digitcam.benchmarks.layers import OWN, Network, weight_bytes

    network = Network(bundle.read(f"model.{REFERENCE}"))
    kind = TfliteInt8 if format.endswith("tflite") else OnnxInt8
    inside = kind(bundle.read(f"model.{format}"), network)
    whole, model = OnnxRun(network.probed()), OnnxRun(network.as_int8(inside.quantised, probe=True))
    output = {layer.name: Ratio() for layer in network.layers}
    own = {layer.name: Ratio() for layer in network.layers}
    outputs, modelled = {name: Ratio() for name in network.outputs}, Ratio()
    expected = []
    for image in images:
        truth, found, told, computed = whole.run(image), inside.run(image), engine.run(image), model.run(image)
        expected.append({name: truth[name] for name in network.outputs})
        for name in network.outputs:
            outputs[name].add(truth[name], told[name])
            modelled.add(told[name], computed[name])
        for layer in network.layers:
            output[layer.name].add(truth[layer.output], found[layer.name])
            own[layer.name].add(computed[layer.output + OWN], computed[layer.output])

    def error(float_weights: Sequence[str] = (), float_outputs: Sequence[str] = ()) -> float:
        """Return the modelled network's squared error, each output's as a share of its signal."""
        variant = OnnxRun(network.as_int8(inside.quantised, float_weights, float_outputs))
        ratios = {name: Ratio() for name in network.outputs}
        for image, truth in zip(images, expected, strict=True):
            found = variant.run(image)
            for name, ratio in ratios.items():
                ratio.add(truth[name], found[name])
        return sum(ratio.share for ratio in ratios.values())

    base = error()

    def bought(*without: Sequence[str]) -> float:
        return round(1 - error(*without) / base, 4) if base else 0.0

    layers = []
    for layer in network.layers:
        name, weights = layer.name, inside.quantised[layer.name].weights
        layers.append(
            LayerLoss(
                name=name,
                operator=layer.operator,
                weights_db=None if weights is None else round(snr_db(network.constants[layer.weights], weights), 2),
                output_db=round(output[name].db, 2),
                own_db=round(own[name].db, 2),
                buys=bought([name], [name]),
                weights_buy=bought([name]) if layer.weights else 0.0,
                bytes=weight_bytes(network, layer),
                macs=layer.macs,
            )
        )
    layers.sort(key=lambda loss: loss.own_db)
    found_db = {name: round(ratio.db, 2) for name, ratio in outputs.items()}
    say(f"{format}: {', '.join(f'{name} {db:.1f} dB' for name, db in found_db.items())}; its worst layers:")
    for loss in layers[:SHOWN]:
        say(
            f"  {loss.name}: loses to {loss.own_db:.1f} dB; in float it buys {100 * loss.buys:.0f}% of the error "
            f"({100 * loss.weights_buy:.0f}% by its weights alone) for {loss.bytes:,} bytes and {loss.macs:,} MACs"
        )
    return FormatLosses(found_db, round(modelled.db, 2), layers)
