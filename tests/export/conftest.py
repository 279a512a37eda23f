from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch

from digitcam.train.checkpoint import write_checkpoint
from digitcam.train.model import Network, NetworkConfig
from digitcam.train.recipe import Recipe, load_recipe

RECIPES = Path(__file__).parents[2] / "train" / "recipes"


def tiny(recipe: Recipe) -> Recipe:
    """Return a recipe of the same data and head with a network of a few thousand parameters."""
    return msgspec.structs.replace(recipe, network=NetworkConfig(widths=(8, 8, 8), blocks=1, hidden=8))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[[Recipe], Path]:
    """Write the checkpoint of an untrained network whose normalisations have seen something."""

    def write(recipe: Recipe) -> Path:
        torch.manual_seed(3)
        network = Network(recipe.network, recipe.head, recipe.input)
        network.train()(torch.rand(2, recipe.input.channels, recipe.input.height, recipe.input.width))
        path = tmp_path / "checkpoint.pt"
        write_checkpoint(path, recipe, network.state_dict(), 96)
        return path

    return write


@pytest.fixture(scope="session")
def quick() -> Recipe:
    return tiny(load_recipe(RECIPES / "quick.toml"))


@pytest.fixture(scope="session")
def slots() -> Recipe:
    recipe = load_recipe(RECIPES / "seed" / "variable-length.toml", ('data.digits="glyphs"',))
    return msgspec.structs.replace(tiny(recipe), validation=("glyphs-variable",))
