"""What `bench debug` writes."""

from __future__ import annotations

import msgspec

from digitcam.benchmarks.environment import Environment
from digitcam.benchmarks.results.subject import SCHEMA, Subject


class LayerLoss(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What int8 loses in one layer; signal-to-noise ratios in dB, against float.

    weights_db
        Of the weights; None where there are none.
    output_db
        Of what the layer gives in the int8 network, with all that was lost before it.
    own_db
        Of what it gives against a float layer on the very same int8 input: what this layer itself loses.
    buys, weights_buy
        Share of the squared error of the network's outputs that goes away when the layer's weights and its output
        are kept in float, and when its weights alone are; below 0 where errors cancelled each other.
    bytes, macs
        What it costs: bytes more of weights, and multiplications done in float.
    """

    name: str
    operator: str
    weights_db: float | None
    output_db: float
    own_db: float
    buys: float
    weights_buy: float
    bytes: int
    macs: int


class FormatLosses(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One int8 network, its layers worst first.

    outputs_db
        Signal-to-noise ratio of each of the network's outputs.
    model_db
        That of the computed model of the int8 network, in which layers are put back to float, against the network
        itself: what is lower than the outputs' ratios is not told by it.
    """

    outputs_db: dict[str, float]
    model_db: float
    layers: list[LayerLoss]


class DebugResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="debug", tag_field="kind"):
    """What `bench debug` writes: where each int8 format loses, on the first `images` of a data set."""

    subject: Subject
    environment: Environment
    reference: str
    data: str
    split: str
    images: int
    formats: dict[str, FormatLosses]
    schema: int = SCHEMA
