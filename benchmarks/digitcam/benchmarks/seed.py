"""`bench seed`: the seed's experiments trained again, as they were, without pooling and mended, beside his numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch

from digitcam.benchmarks.environment import environment
from digitcam.benchmarks.results import SeedResult, SeedRun, read_result, write_result
from digitcam.core.errors import ConfigError
from digitcam.core.source import source_commit
from digitcam.train.canvas import CanvasData
from digitcam.train.checkpoint import network_of, read_checkpoint
from digitcam.train.data import data_set, source_of
from digitcam.train.evaluate import evaluate_network
from digitcam.train.loop import train
from digitcam.train.plain import PlainConfig
from digitcam.train.recipe import Precision, Recipe, load_recipe
from digitcam.train.svhn import SvhnData

RECIPES = Path("train/recipes/seed")
ROWS = (
    "sequence-canvas",
    "localization-fc",
    "localization-square-error",
    "classification-only",
    "weighted-loss",
    "variable-length",
    "svhn-baseline",
    "svhn-paper-conv",
    "svhn-paper-conv-dropout",
    "svhn-transfer",
    "svhn-transfer-l2",
    "svhn-no-pooling",
    "svhn-no-digit-reweight",
    "ten-minutes",
)
"""The recipes, in the order of his experiments; the last is ours."""
TWIN = "-strided"
"""What is added to the name of a recipe whose pooling is replaced by strided convolutions."""
MENDED = "-mended"
"""What is added to the name of a recipe whose `mend` is applied."""


def variants(
    name: str, folder: Path = RECIPES, images: int | None = None, precision: Precision | None = None
) -> dict[str, Recipe]:
    """Return a row's recipes by the names of their runs: itself, its twin without pooling if it has any, itself mended.

    Parameters
    ----------
    images, precision
        Training images and arithmetic, in place of the recipe's.

    Raises
    ------
    ConfigError
        As `load_recipe`.
    """
    path = folder / f"{name}.toml"
    given = {"schedule.images": images, "schedule.precision": precision}
    budget = tuple(f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None)
    recipe = load_recipe(path, budget)
    others: dict[str, tuple[str, ...]] = {}
    if isinstance(recipe.network, PlainConfig) and recipe.network.halving == "pool":
        others[name + TWIN] = ('network.halving="conv"',)
    if recipe.mend:
        others[name + MENDED] = recipe.mend
    found = {run: load_recipe(path, (*budget, *changes, f'name="{run}"')) for run, changes in others.items()}
    return {name: recipe} | found


def seed(
    out: Path,
    runs: Path,
    only: tuple[str, ...] = (),
    images: int | None = None,
    precision: Precision | None = None,
    count: int = 5_000,
    resume: bool = False,
    folder: Path = RECIPES,
    say: Callable[[str], None] = print,
) -> None:
    """Train and measure rows; each run is written into the result file `out` as it ends, beside those it has.

    Parameters
    ----------
    runs
        Where the training runs are kept, a folder each.
    only
        Rows, or single runs by their names with `TWIN` or `MENDED`; all by default.
    images, precision
        Training images a run and arithmetic, in place of the recipe's.
    count
        Test images.
    resume
        Take runs further that are in `runs` already.

    Raises
    ------
    ConfigError
        When a name is not known, or a run exists and `resume` is not set.
    """
    recipes = {name: variants(name, folder, images, precision) for name in ROWS}
    known = {run for row in recipes.values() for run in row}
    for name in only:
        if name not in known:
            raise ConfigError(
                f"--only {name}: no such row: choose from {', '.join(ROWS)}, some with {TWIN} or {MENDED}"
            )
    read_seed(out)  # a damaged file should be known of before hours of training
    for row, runs_of in recipes.items():
        for name, recipe in runs_of.items():
            if only and row not in only and name not in only:
                continue
            say(f"{name}: {recipe.schedule.images:,} images")
            found = measured(recipe, runs / name, count, resume)
            write_seed(out, name, found)
            m = found.metrics
            say(
                f"{name}: sequence {m.sequence_accuracy:.4f}, character {m.character_accuracy:.4f}, "
                f"localisation {m.localisation_error_px2:.2f} px², {found.minutes:g} minutes"
            )


def measured(recipe: Recipe, out: Path, count: int, resume: bool) -> SeedRun:
    """Train a recipe in the folder `out` and measure it on the first `count` test images of its validation set."""
    saved = read_checkpoint(train(recipe, out, resume))
    (name,) = recipe.validation
    test = data_set(name)
    assert isinstance(test, CanvasData | SvhnData), "the rows are of canvases and house numbers"
    test_data = source_of(test, "test")
    metrics = evaluate_network(network_of(saved), recipe, name, "test", count)
    assert saved.training is not None
    return SeedRun(
        images=saved.images,
        precision=recipe.schedule.precision,
        minutes=round(saved.training["seconds"] / 60, 1),
        train_data=saved.source,
        test_data=test_data,
        commit=source_commit(),
        environment=environment(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        metrics=metrics,
    )


def read_seed(path: Path) -> SeedResult:
    """Read a result file; one that does not exist has no runs.

    Raises
    ------
    BenchmarkInvalidError
        As `read_result`.
    """
    return read_result(path, SeedResult) if path.exists() else SeedResult({})


def write_seed(path: Path, name: str, run: SeedRun) -> None:
    """Put a run into a result file, whose other runs stay.

    Raises
    ------
    SinkError
        As `write_result`.
    """
    write_result(path, SeedResult({**read_seed(path).runs, name: run}))
