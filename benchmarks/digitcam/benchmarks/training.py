"""`bench training`: images a second drawn, trained on, and both at once; the share of time training waits for data."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from digitcam.benchmarks.environment import environment
from digitcam.benchmarks.results import TrainingResult
from digitcam.train.batches import Batches, draw_ahead, drawing
from digitcam.train.progress import Interval
from digitcam.train.recipe import Recipe
from digitcam.train.trainer import Trainer

HELD = 8
"""Batches drawn beforehand and learned from in turn, where training alone is timed."""


def training(recipe: Recipe, steps: int = 50, say: Callable[[str], None] = print) -> TrainingResult:
    """Draw on all cores, then train on batches drawn before, then do both as `digitcam train` does.

    Parameters
    ----------
    steps
        Batches a part; as many again are drawn and learned from first, untimed, while processes start and caches
        fill.
    """
    batch = recipe.schedule.batch
    drawn = steps * batch / _seconds_drawing(recipe, steps)
    say(f"draws {drawn:.0f} images/s")

    trainer, batches = Trainer(recipe), Batches(recipe)
    held = [batches[step] for step in range(HELD)]
    for step in range(HELD):
        trainer.step(step, held[step])
    start = time.perf_counter()
    for step in range(steps):
        trainer.step(step, held[step % HELD])
    trained = steps * batch / (time.perf_counter() - start)
    say(f"trains on {trained:.0f} images/s")

    together = Interval()
    with drawing(recipe, range(2 * steps)) as source:
        for step in range(2 * steps):
            asked = time.perf_counter()
            arrived = next(source)
            came = time.perf_counter()
            losses = trainer.step(step, arrived)
            if step >= steps:
                together.add(*losses, came - asked, time.perf_counter() - came)
    means = together.means(batch)
    say(f"does both at {means['images_per_s']:.0f} images/s, waiting {100 * means['waiting']:.1f} % of the time")
    return TrainingResult(
        recipe.name, environment(), round(drawn, 1), round(trained, 1), means["images_per_s"], means["waiting"]
    )


def _seconds_drawing(recipe: Recipe, steps: int) -> float:
    """Return how long drawing `steps` batches takes with one process a core."""
    start = 0.0
    for count, _ in enumerate(draw_ahead(recipe, range(2 * steps), workers=os.cpu_count() or 1), 1):
        if count == steps:
            start = time.perf_counter()
    return time.perf_counter() - start
