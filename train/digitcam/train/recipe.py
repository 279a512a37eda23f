"""Recipes: one TOML file says all that a training run depends on. Every key is checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from digitcam.core.card import GridHead, Input, Licence, SlotsHead
from digitcam.core.errors import ConfigError
from digitcam.core.toml import read_toml, to_struct
from digitcam.train.canvas import CanvasData
from digitcam.train.data import Data
from digitcam.train.losses import LossConfig
from digitcam.train.model import NetworkConfig
from digitcam.train.mosaic import CUTS
from digitcam.train.plain import PlainConfig
from digitcam.train.street import StreetData

Positive = Annotated[int, msgspec.Meta(gt=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Precision = Literal["fp32", "bf16"]


class Window(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Train on smaller canvases: a network without global layers learns the same from less black.

    height, width
        Of the small canvas, in pixels; multiples of the network's stride.
    """

    height: Positive
    width: Positive


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """AdamW with a linear warm-up and a cosine to zero; the weights kept are an exponential moving average.

    A constant rate without warm-up, decay, average and limit to the gradient is Adam as the seed used it.

    images
        How many training images are seen; each is new.
    batch
        Images a step.
    learning_rate, weight_decay
        AdamW's, at the top of the schedule.
    warmup
        Images over which the rate rises.
    constant
        Hold the rate then, in place of the cosine.
    clip
        Limit to the gradient's norm; `inf` for none.
    ema
        Decay of the average a step.
    box_weight
        What the box loss counts beside the class loss.
    digits_first
        Share of the images over which the box does not count. From there on it does, and the convolutions are
        frozen; 0 for a run in one stage.
    quantised
        Share of the images, at the end, over which weights and activations are rounded as int8 rounds them, see
        `digitcam.train.quantised`.
    checkpoint_every
        Images between checkpoints and validations.
    precision
        `bf16` runs the network in bfloat16, the choice on GPUs and on processors that multiply in it (`lscpu` names
        amx_bf16 or avx512_bf16); others are slower with it.
    """

    images: Positive
    batch: Positive = 48
    learning_rate: Annotated[float, msgspec.Meta(gt=0)] = 3e-3
    weight_decay: Annotated[float, msgspec.Meta(ge=0)] = 0.02
    warmup: Annotated[int, msgspec.Meta(ge=0)] = 10_000
    constant: bool = False
    clip: Annotated[float, msgspec.Meta(gt=0)] = 5.0
    ema: Share = 0.999
    box_weight: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    digits_first: Share = 0.0
    quantised: Share = 0.0
    checkpoint_every: Positive = 50_000
    precision: Precision = "fp32"


class Published(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What Marek (2017) measured of a recipe on test images, as far as he says; defined as in `core.measure`.

    sequence, character
        Accuracies, 0..1.
    localisation
        Mean error in px².
    """

    sequence: Share
    character: Share | None = None
    localisation: Annotated[float, msgspec.Meta(ge=0)] | None = None


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole training run.

    validation
        Names of the data sets looked at beside training and by the export's gates.
    mosaic
        Share of the training images made of four scenes, see `digitcam.train.mosaic`.
    close_ups
        Share of the training images that are enlarged as the closer look enlarges, see `digitcam.train.closer`.
    teacher
        A checkpoint, its path from the working directory: a larger network of the same input and grid head, whose
        answers a small one learns beside the truth, see `losses.grid_loss`.
    mend
        For a recipe that fails: what mends it, overrides as `load_recipe` takes them. `bench seed` trains it so too.
    """

    name: str
    description: str
    seed: Annotated[int, msgspec.Meta(ge=0)] = 1
    input: Input
    head: GridHead | SlotsHead
    network: NetworkConfig | PlainConfig = NetworkConfig()
    data: Data
    validation: tuple[str, ...] = ("canvas-variable", "canvas-five")
    window: Window | None = None
    mosaic: Share = 0.0
    close_ups: Share = 0.0
    loss: LossConfig = LossConfig()
    schedule: Schedule
    licence: Licence
    published: Published | None = None
    teacher: str | None = None
    mend: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.network, PlainConfig):
            self._check_plain(self.network)
        elif isinstance(self.head, GridHead) and (self.loss.box, self.loss.none_weight) != ("smooth_l1", 1.0):
            raise ValueError("loss.box and loss.none_weight need a slots head: leave them out")
        if self.teacher and isinstance(self.head, SlotsHead):
            raise ValueError("teacher needs a grid head")
        stride = self.network.stride
        if isinstance(self.head, GridHead) and self.head.stride != stride:
            raise ValueError(f"head.stride is {self.head.stride}, but network.widths makes it {stride}")
        if self.window and isinstance(self.head, SlotsHead):
            raise ValueError("window needs a grid head: slots are made for one input size")
        if self.mosaic and (isinstance(self.head, SlotsHead) or self.input.channels != 1):
            raise ValueError("mosaic needs a grid head and a grey input: it puts several numbers into one frame")
        if self.close_ups and (self.head.close_up is None or self.window):
            raise ValueError("close_ups needs head.close_up, and no window: it shows what the closer look would")
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
            cell = self.network.coarsest
            if shape and (shape.height % cell or shape.width % cell):
                raise ValueError(f"{name}: {shape.height}x{shape.width} is no multiple of the coarsest stride {cell}")
        if isinstance(self.data, CanvasData | StreetData):
            self._check_size(self.data)

    def _check_size(self, data: CanvasData | StreetData) -> None:
        name, shape = ("window", self.window) if self.window else ("input", self.input)
        sizes = {name: (shape.height, shape.width)}
        if self.mosaic:
            sizes["mosaic: its smallest scene of"] = (round(CUTS[0] * shape.height), round(CUTS[0] * shape.width))
        for what, (height, width) in sizes.items():
            try:
                data.check_size(height, width)
            except ValueError as error:
                raise ValueError(f"{what} {error}") from None

    def _check_plain(self, network: PlainConfig) -> None:
        if isinstance(self.head, GridHead):
            raise ValueError("network.kind 'plain' needs head.kind 'slots'")
        if network.box_layers is None and (self.schedule.box_weight or self.schedule.digits_first):
            raise ValueError("without network.box_layers there is no box: set schedule.box_weight to 0")


def to_recipe(tree: Any) -> Recipe:
    """Return the recipe in a tree of plain values, from TOML or a checkpoint; a network of no kind is a residual one.

    Raises
    ------
    msgspec.ValidationError
        When a key is unknown or of a wrong value.
    """
    return msgspec.convert(_of_a_kind(tree), Recipe)


def _of_a_kind(tree: Any) -> Any:
    if isinstance(tree, dict) and isinstance(tree.get("network"), dict):
        return {**tree, "network": {"kind": "residual", **tree["network"]}}
    return tree


def load_recipe(path: Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe and apply overrides of the form `schedule.images=1000`, the value in TOML.

    Raises
    ------
    ConfigError
        Naming the file, line and key, when the file is missing, no TOML, or a key is unknown or of a wrong value.
    """
    if not path.suffix and not path.exists():
        raise ConfigError(f"{path}: no such recipe: name its file, as train/recipes/{path.name}.toml")
    file = read_toml(path, "the recipe")
    for override in overrides:
        _override(file.tree, override)
    return to_struct(_of_a_kind(file.tree), Recipe, file)


def _override(tree: dict[str, Any], override: str) -> None:
    key, _, value = override.partition("=")
    *parents, last = key.split(".")
    try:
        for parent in parents:
            tree = tree.setdefault(parent, {})
        tree[last] = msgspec.toml.decode(f"value = {value}")["value"]
    # A parent that is no table has no `setdefault` and takes no key.
    except (msgspec.DecodeError, AttributeError, TypeError):
        raise ConfigError(f"--set {override}: write it as key=value, the value as in TOML (text in quotes)") from None
