from __future__ import annotations

from pathlib import Path

from digitcam.benchmarks.results import TrainingResult, read_result, write_result
from digitcam.benchmarks.training import training
from digitcam.core.card import GridHead, Input, Licence
from digitcam.train.canvas import CanvasData
from digitcam.train.model import NetworkConfig
from digitcam.train.recipe import Recipe, Schedule

TINY = Recipe(
    name="tiny",
    description="",
    input=Input(height=32, width=64),
    head=GridHead(stride=8),
    network=NetworkConfig(widths=(4, 4, 8), blocks=0, hidden=8),
    data=CanvasData(digits="glyphs", max_digits=1),
    schedule=Schedule(images=10_000, batch=4),
    licence=Licence("", ""),
)


def test_measures_all_three_rates(tmp_path: Path) -> None:
    said: list[str] = []
    result = training(TINY, steps=3, say=said.append)
    assert result.recipe == "tiny"
    assert min(result.drawn_per_second, result.trained_per_second, result.together_per_second) > 0
    assert 0 <= result.waiting <= 1
    assert [line.split()[0] for line in said] == ["draws", "trains", "does"]
    write_result(tmp_path / "tiny.json", result)
    assert read_result(tmp_path / "tiny.json", TrainingResult) == result
