"""Recipes: one TOML file says all that a training run depends on. Every key is checked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec

from digitcam.core.card import GridHead, Input, Licence, SlotsHead
from digitcam.core.errors import ConfigError
from digitcam.train.data import Data
from digitcam.train.model import NetworkConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Positive = Annotated[int, msgspec.Meta(gt=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Window(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Train on smaller canvases: a network without global layers learns the same from less black.

    height, width
        Of the small canvas, in pixels; multiples of the network's stride.
    """

    height: Positive
    width: Positive


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """AdamW with a linear warm-up and a cosine to zero; the weights kept are an exponential moving average.

    images
        How many training images are seen; each is new.
    batch
        Images a step.
    learning_rate, weight_decay
        AdamW's, at the top of the schedule.
    warmup
        Images over which the rate rises.
    ema
        Decay of the average a step.
    box_weight
        What the box loss counts beside the class loss.
    checkpoint_every
        Images between checkpoints and validations.
    """

    images: Positive
    batch: Positive = 48
    learning_rate: Annotated[float, msgspec.Meta(gt=0)] = 3e-3
    weight_decay: Annotated[float, msgspec.Meta(ge=0)] = 0.02
    warmup: Annotated[int, msgspec.Meta(ge=0)] = 10_000
    ema: Share = 0.999
    box_weight: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    checkpoint_every: Positive = 50_000


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole training run."""

    name: str
    description: str
    seed: Annotated[int, msgspec.Meta(ge=0)] = 1
    input: Input
    head: GridHead | SlotsHead
    network: NetworkConfig = NetworkConfig()
    data: Data
    validation: tuple[str, ...] = ("canvas-variable", "canvas-five")
    window: Window | None = None
    schedule: Schedule
    licence: Licence

    def __post_init__(self) -> None:
        stride = self.network.stride
        if isinstance(self.head, GridHead) and self.head.stride != stride:
            raise ValueError(f"head.stride is {self.head.stride}, but network.widths makes it {stride}")
        if self.window and isinstance(self.head, SlotsHead):
            raise ValueError("window needs a grid head: slots are made for one input size")
        if self.input.channels != self.data.channels:
            raise ValueError(f"input.channels is {self.input.channels}, but the data has {self.data.channels}")
        if isinstance(self.head, SlotsHead) and self.head.positions < self.data.max_digits:
            raise ValueError(
                f"head.positions is {self.head.positions}, but the data has up to {self.data.max_digits} digits"
            )
        if self.input.width % 4:
            raise ValueError(f"input.width is {self.input.width}, no multiple of 4 as the deployed stem needs")
        shapes = {"input": self.input, "window": self.window}
        for name, shape in shapes.items():
            if shape and (shape.height % stride or shape.width % stride):
                raise ValueError(f"{name}: {shape.height}x{shape.width} is no multiple of the stride {stride}")


def load_recipe(path: Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe and apply overrides of the form `schedule.images=1000`, the value in TOML.

    Raises
    ------
    ConfigError
        Naming the file and the key, when the file is missing, no TOML, or a key is unknown or of a wrong value.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the recipe: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    for override in overrides:
        _override(tree, override)
    try:
        return msgspec.convert(tree, Recipe)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from None


def _override(tree: dict[str, Any], override: str) -> None:
    key, _, value = override.partition("=")
    *parents, last = key.split(".")
    try:
        for parent in parents:
            tree = tree.setdefault(parent, {})
        tree[last] = tomllib.loads(f"value = {value}")["value"]
    # A parent that is no table has no `setdefault` and takes no key.
    except (tomllib.TOMLDecodeError, AttributeError, TypeError):
        raise ConfigError(f"--set {override}: write it as key=value, the value as in TOML (text in quotes)") from None
