"""The model card: all that must be known to feed a network and to understand its answer.

Written by training and export, read on the device. `card.json` is strict: an unknown key or another schema
version is an error, because a card half understood gives numbers that look right and are not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from digitcam.core.errors import ModelError
from digitcam.core.metrics import Coverage, Metrics
from digitcam.core.strict_json import decode_json

SCHEMA = 1

Positive = Annotated[int, msgspec.Meta(gt=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The network's input: uint8 [1, height, width, channels] as the camera gives it (grey, or BGR)."""

    height: Positive
    width: Positive
    channels: Literal[1, 3] = 1
    layout: Literal["NHWC"] = "NHWC"
    resize: Literal["letterbox"] = "letterbox"
    fill: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0


class GridHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="grid", tag_field="kind"):
    """Each cell of a map says digit or none and where its box is; see `core.decode.decode_grid`.

    Outputs: `logits` [1, height/stride, width/stride, len(alphabet)+1], none last;
    `boxes` [1, height/stride, width/stride, 4].

    close_up
        The height in input pixels to which a number's digits are enlarged for a second look, see `core.closeup`; None
        to look once.
    """

    stride: Positive
    alphabet: str = "0123456789"
    close_up: Positive | None = None


class SlotsHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="slots", tag_field="kind"):
    """A fixed number of positions and one box; see `core.decode.decode_slots`.

    Outputs: `logits` [1, positions, len(alphabet)+1], none last; `boxes` [1, 4].
    """

    positions: Positive
    alphabet: str = "0123456789"

    @property
    def close_up(self) -> None:
        """As `GridHead.close_up`: it looks once."""
        return None


class Thresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`digit`: a cell with at least this probability of being some digit counts; `accept`: of a whole reading."""

    digit: Share = 0.5
    accept: Share = 0.5


class Training(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the weights come from."""

    recipe: str
    data: str
    images: int
    commit: str


class Licence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Terms of the data the network learned from, and of its weights."""

    data: str
    weights: str


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One bundle's contract."""

    schema: int = SCHEMA
    name: str
    input: Input
    head: GridHead | SlotsHead
    thresholds: Thresholds = Thresholds()
    training: Training
    licence: Licence
    parameters: int
    macs: int
    metrics: dict[str, dict[str, Metrics]] = {}
    """Format, then data set and split; as measured by the export's gates on validation images."""
    coverage: dict[str, list[Coverage]] = {}
    """By format, from which confidence its readings are right to 98 and 99 %, and the share of the images they cover:
    of all validation images that `metrics` name, together. Empty in cards from before it was measured."""
    files: dict[str, Sha256] = {}
    """SHA-256 of every other file of the bundle, by its name there."""

    @property
    def looks_twice(self) -> bool:
        """Whether it may take a second, closer look, see `core.closeup`."""
        return self.head.close_up is not None

    def once(self) -> Card:
        """Return the card of a network that looks once, see `core.closeup`."""
        if not self.looks_twice:
            return self
        return msgspec.structs.replace(self, head=msgspec.structs.replace(self.head, close_up=None))

    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each output tensor by its name."""
        classes = len(self.head.alphabet) + 1
        if isinstance(self.head, GridHead):
            rows, columns = self.input.height // self.head.stride, self.input.width // self.head.stride
            return {"logits": (1, rows, columns, classes), "boxes": (1, rows, columns, 4)}
        return {"logits": (1, self.head.positions, classes), "boxes": (1, 4)}


def decode_card(data: bytes, where: str | Path) -> Card:
    """Read a card.

    Raises
    ------
    ModelError
        Naming `where` and the field, if `data` is no JSON, of another schema, or does not fit it.
    """
    try:
        version = decode_json(data, _Version).schema
        if version != SCHEMA:
            mend = "install a newer digitcam" if version > SCHEMA else "export the model again"
            raise ModelError(f"{where}: field 'schema' is {version}, this digitcam reads {SCHEMA}: {mend}")
        card: Card = decode_json(data, Card)
    except msgspec.MsgspecError as error:
        raise ModelError(f"{where}: not a model card: {error}") from None
    return card


def encode_card(card: Card) -> bytes:
    """Return the card as indented JSON, one that `decode_card` reads."""
    return msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n"


class _Version(msgspec.Struct):
    schema: int
