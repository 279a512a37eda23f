from __future__ import annotations

from pathlib import Path

import pytest

from digitcam.core.card import SlotsHead
from digitcam.core.errors import ConfigError
from digitcam.train.canvas import CanvasData
from digitcam.train.data import data_set
from digitcam.train.losses import LossConfig
from digitcam.train.mosaic import mosaic
from digitcam.train.plain import PlainConfig
from digitcam.train.recipe import load_recipe

RECIPES = Path(__file__).parents[2] / "train" / "recipes"
GOOD = """
name = "small"
description = "For tests."
[input]
height = 64
width = 128
[head]
kind = "grid"
stride = 8
[data]
kind = "canvas"
[schedule]
images = 100
[licence]
data = "none"
weights = "none"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "small.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted(RECIPES.rglob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_loads(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    for name in recipe.validation:
        data_set(name)


def test_the_seed_s_recipes() -> None:
    variable, five = (load_recipe(RECIPES / "seed" / f"{n}.toml") for n in ("variable-length", "weighted-loss"))
    for recipe in (variable, five):
        assert isinstance(recipe.head, SlotsHead) and recipe.head.positions == 5
        assert isinstance(recipe.network, PlainConfig) and recipe.network.halving == "pool"
        assert recipe.loss == LossConfig(class_weight=1000, box="mean_square")
    assert variable.data == CanvasData(digits="mnist", min_digits=1, max_digits=5)
    assert five.data == CanvasData(digits="mnist", min_digits=5, max_digits=5)


def test_defaults_and_overrides(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    assert load_recipe(path).schedule.images == 100
    changed = load_recipe(path, ("schedule.images=7", 'data.digits="mnist"', "window={height=32, width=144}"))
    assert (changed.schedule.images, changed.data.digits) == (7, "mnist")
    assert changed.window is not None and changed.window.width == 144


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("images = 100", "images = 100\nimagse = 1", ["schedule.imagse is not known: did you mean images?"]),
        ("images = 100", 'images = "many"', ["schedule.images: expected a whole number, got text in quotes"]),
        ("images = 100", "images = 0", ["schedule.images"]),
        ("images = 100", "", ["images", "schedule"]),
        ("stride = 8", "stride = 4", ["head.stride", "network.widths", "8"]),
        ("height = 64", "height = 60", ["input", "60x128", "stride 8"]),
        (
            'kind = "grid"\nstride = 8',
            'kind = "slots"\npositions = 5\n[window]\nheight = 8\nwidth = 8',
            ["window", "grid"],
        ),
        ('kind = "grid"', 'kind = "circle"', ["circle", "head"]),
        ("[licence]", "[loss]\nnone_weight = 0.5\n[licence]", ["loss.none_weight", "slots"]),
        (
            '[input]\nheight = 64\nwidth = 128\n[head]\nkind = "grid"\nstride = 8',
            'teacher = "large.pt"\n[input]\nheight = 64\nwidth = 128\n[head]\nkind = "slots"\npositions = 5',
            ["teacher needs a grid head"],
        ),
        ('kind = "canvas"', 'kind = "canvas"\nmin_digits = 4\nmax_digits = 2', ["min_digits", "data"]),
        ("[data]", "[data", ["TOML"]),
    ],
)
def test_a_bad_recipe_is_named(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load_recipe(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in [str(path), *words]:
        assert word in message


@pytest.mark.parametrize(
    ("name", "overrides", "words"),
    [
        # Drawn tiles are 24 px at least, MNIST's 28; five of them stand side by side.
        (
            "quick",
            ("input.width=64", "window.width=64"),
            "window 56x64 is too small for data.max_digits = 5: that needs 24x120",
        ),
        ("quick", ("window.height=16",), "window 16x168 is too small for data.max_digits = 5: that needs 24x120"),
        (
            "quick",
            ("window.height=200", "window.width=400"),
            "window 200x400 is too large for data.digits = 'glyphs': at most 128x256",
        ),
        (
            "seed/weighted-loss",
            ("input.width=128",),
            "input 128x128 is too small for data.max_digits = 5: that needs 28x140",
        ),
        (
            "digitcam-s",
            ("input.height=16",),
            "mosaic: its smallest scene of 6x90 is too small for digits 10 high: that needs 12x12",
        ),
        # 0.35 of 56 and of 168.
        (
            "quick",
            ("mosaic=0.9",),
            "mosaic: its smallest scene of 20x59 is too small for data.max_digits = 5: that needs 24x120",
        ),
    ],
)
def test_a_size_that_cannot_be_drawn_is_named(name: str, overrides: tuple[str, ...], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(RECIPES / f"{name}.toml", overrides)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("quick", ("close_ups=0.5",)),
        ("seed/weighted-loss", ("close_ups=0.5",)),
        ("digitcam-s", ("window.height=64", "window.width=128")),
    ],
)
def test_close_ups_need_the_closer_look(name: str, overrides: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"close_ups needs head\.close_up, and no window"):
        load_recipe(RECIPES / f"{name}.toml", overrides)


def test_the_smallest_sizes_are_drawn() -> None:
    recipe = load_recipe(RECIPES / "quick.toml", ("window.height=24", "window.width=120"))
    assert {recipe.data.sample("train", index, 24, 120).image.shape for index in range(50)} == {(24, 120)}
    # 0.35 of 96 and of 256 are 34 and 90: three tiles of 24 fit.
    small = ("mosaic=1.0", "window.height=96", "window.width=256", "data.max_digits=3")
    recipe = load_recipe(RECIPES / "quick.toml", small)
    assert {mosaic(recipe.data, index, 96, 256, 1.0, 1).image.shape for index in range(50)} == {(96, 256)}


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"quick: no such recipe: name its file, as train/recipes/quick\.toml$"):
        load_recipe(Path("quick"))
    with pytest.raises(ConfigError, match=r"none\.toml: cannot read the recipe: No such file"):
        load_recipe(tmp_path / "none.toml")


@pytest.mark.parametrize(
    "override",
    ["schedule.images", "schedule.images=", "name=plain", "name.first=1", "name.a.b=1", "network.widths.0=4"],
)
def test_a_bad_override_is_named(tmp_path: Path, override: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(write(tmp_path, GOOD + "[network]\nwidths = [4, 4, 4]\n"), (override,))
    assert f"--set {override}" in str(caught.value)


def test_an_override_of_an_unknown_key_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    with pytest.raises(ConfigError, match="imagse") as caught:
        load_recipe(path, ("schedule.imagse=3",))
    assert str(path) in str(caught.value)
