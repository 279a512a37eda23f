"""`bench drawing`: does the generator keep ahead of training? Both on all cores, one after the other."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from digitcam.benchmarks.environment import environment
from digitcam.benchmarks.results import DrawingResult
from digitcam.train.loop import Batches, Trainer, draw_ahead
from digitcam.train.recipe import Recipe


def drawing(recipe: Recipe, steps: int = 100, say: Callable[[str], None] = print) -> DrawingResult:
    """Draw `5 * steps` batches of a recipe, train on `steps` batches drawn before; return images a second of both."""
    batches, batch = Batches(recipe), recipe.schedule.batch
    cores = os.cpu_count() or 1
    warm = steps
    for count, _ in enumerate(draw_ahead(recipe, range(6 * steps), workers=cores), 1):
        if count == warm:  # the workers have started and read their data
            start = time.perf_counter()
    drawn = 5 * steps * batch / (time.perf_counter() - start)
    say(f"draws {drawn:.0f} images/s")

    held = [batches[step] for step in range(8)]
    trainer = Trainer(recipe)
    for step in range(5):
        trainer.step(step, held[step])
    start = time.perf_counter()
    for step in range(steps):
        trainer.step(step, held[step % len(held)])
    trained = steps * batch / (time.perf_counter() - start)
    say(f"trains on {trained:.0f} images/s: {drawn / trained:.1f} drawn for each")
    return DrawingResult(recipe.name, environment(), round(drawn, 1), round(trained, 1), round(drawn / trained, 2))
