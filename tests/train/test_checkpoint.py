from __future__ import annotations

import errno
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from digitcam.core.card import GridHead, Input, Licence
from digitcam.core.errors import ModelError, SinkError
from digitcam.train.canvas import CanvasData
from digitcam.train.checkpoint import network_of, read_checkpoint, write_checkpoint
from digitcam.train.model import NetworkConfig
from digitcam.train.recipe import Recipe, Schedule

RECIPE = Recipe(
    name="tiny",
    description="For tests.",
    input=Input(height=32, width=64),
    head=GridHead(stride=8),
    network=NetworkConfig((4, 4, 8), 1, 8),
    data=CanvasData(max_digits=2),
    schedule=Schedule(images=8),
    licence=Licence("none", "none"),
)


@contextmanager
def full_disk(bytes_left: int) -> Iterator[None]:
    """No file grows beyond so many bytes: the nearest to a full disk that needs no rights."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def weights(seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return RECIPE.network.build(RECIPE.head, RECIPE.input).state_dict()


def test_there_and_back(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, RECIPE, weights(1), 8, {"step": 1})
    saved = read_checkpoint(path)
    assert (saved.recipe, saved.images, saved.training) == (RECIPE, 8, {"step": 1})
    found = network_of(saved).state_dict()
    assert all(torch.equal(found[name], value) for name, value in weights(1).items())
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_full_disk_is_named_and_leaves_the_earlier_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, RECIPE, weights(1), 8)
    before = path.read_bytes()
    with full_disk(len(before) // 2), pytest.raises(SinkError) as caught:
        write_checkpoint(path, RECIPE, weights(2), 16)
    assert str(caught.value) == f"{path}: cannot write the checkpoint: File too large: the one before it is whole"
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint.pt"]


def raiser(error: BaseException) -> Callable[[int], None]:
    def fail(_: int) -> None:
        raise error

    return fail


def test_a_disk_that_is_full_only_on_flushing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", raiser(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(SinkError, match=r"checkpoint\.pt: .*No space left on device: make room"):
        write_checkpoint(tmp_path / "checkpoint.pt", RECIPE, weights(1), 8)
    assert not list(tmp_path.iterdir())


def test_an_aborted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", raiser(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(tmp_path / "checkpoint.pt", RECIPE, weights(1), 8)
    assert not list(tmp_path.iterdir())


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(ModelError, match=r"checkpoint\.pt: cannot read the checkpoint: No such file"):
        read_checkpoint(path)
    write_checkpoint(path, RECIPE, weights(1), 8)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"checkpoint\.pt: not a checkpoint"):
        read_checkpoint(path)


class Code:
    """Pickled, it makes a file as soon as it is read."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.made,)


def test_a_checkpoint_with_code_is_refused(tmp_path: Path) -> None:
    path, made = tmp_path / "checkpoint.pt", tmp_path / "made"
    write_checkpoint(path, RECIPE, weights(1), 8, {"step": Code(made)})
    with pytest.raises(ModelError, match=r"checkpoint\.pt: not a checkpoint that this version .*\(UnpicklingError\)"):
        read_checkpoint(path)
    assert not made.exists()
    # It would have, had it been trusted.
    torch.load(path, weights_only=False)
    assert made.exists()
