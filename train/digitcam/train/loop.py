"""The training loop: draws, steps, averages, validates, saves; a run taken up again goes on as if unbroken.

Started by torchrun, several processes train as one: each draws and learns from its share of every batch.
"""

from __future__ import annotations

import sys
import threading
import time
from functools import partial
from pathlib import Path

import msgspec

from digitcam.core.arrays import UInt8Array
from digitcam.core.draw import write_image
from digitcam.core.errors import ConfigError, DigitcamError
from digitcam.train.batches import Batches, drawing, steps_of
from digitcam.train.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from digitcam.train.curves import read_log, write_curves
from digitcam.train.data import caution, check_there, data_set, samples, size_of
from digitcam.train.distributed import any_process, from_first, joined, rank, world
from digitcam.train.evaluate import Results, read_network
from digitcam.train.interrupt import StoppedError, stopping
from digitcam.train.preview import failures
from digitcam.train.progress import Interval, Log, bar
from digitcam.train.recipe import Recipe
from digitcam.train.trainer import DivergedError, Trainer, digits_first, learning_rate, rounded_from

VALIDATION_IMAGES = 1_000
"""Images of each validation set looked at beside training, of a smaller one all; the export's gates look at more."""
WEIGHTS = "weights.pt"
"""What a run's folder calls the file that is exported, kept and shared."""
FAILURES = 24
"""Images on the sheet of failures."""


def _validated(name: str) -> int:
    """Return how many images of a validation set are looked at."""
    return min(VALIDATION_IMAGES, size_of(name, "validation"))


def _continues(old: Recipe, new: Recipe) -> bool:
    """Say whether a run of the one can go on as the other: they may differ in how many images are seen."""
    same_length = msgspec.structs.replace(new.schedule, images=old.schedule.images)
    return old == msgspec.structs.replace(new, schedule=same_length)


def _same_stages(old: Recipe, new: Recipe, step: int) -> bool:
    """Say whether all steps before `step` are of the same stage in both: what comes next begins at a share of all."""
    return all(min(step, begins(old)) == min(step, begins(new)) for begins in (digits_first, rounded_from))


def train(recipe: Recipe, out: Path, resume: bool = False, start: Path | None = None) -> Path:
    """Train a recipe; return the checkpoint `out/checkpoint.pt`.

    A run begins with random weights, or with those of the checkpoint `start`, whose images are counted with its own.

    A run resumed with more `schedule.images` goes on where the longer schedule stands, unless a stage has begun
    (`schedule.digits_first`, `quantised`) that begins later there.

    `out/log.jsonl` and `out/tensorboard` get a line a validation: images, seconds, losses, images a second, the
    share of time waiting for data, validation metrics. In the end `out/weights.pt` holds the weights alone, a
    checkpoint to export, keep and share; `curves.png` shows the log, `failures.png` what is still read wrongly.

    Raises
    ------
    ConfigError
        When `out` already holds a run and `resume` is not set, or holds one of another recipe, or one that learned from
        photographs in place of what is drawn now or the other way round, or one that began a stage where the longer
        one does not; when `start` is of another network, or given for a run that is resumed; when bfloat16 does not
        compute here what it should.
    ModelError
        When `start` is no checkpoint.
    DivergedError
        When the loss is no number; the last checkpoint stays as it was.
    SinkError
        When a file cannot be written; the last checkpoint stays as it was.
    StoppedError
        After Ctrl-C or SIGTERM, the step at hand finished and kept.
    """
    with joined(), stopping() as stop:
        return Run(recipe, out, resume, start).go(stop)


class Run:
    """A training run in the folder `out`. Of several processes only the first writes, speaks and validates."""

    def __init__(self, recipe: Recipe, out: Path, resume: bool, start: Path | None = None) -> None:
        self.recipe, self.out, self.path = recipe, out, out / "checkpoint.pt"
        if resume and start:
            raise ConfigError(f"{start}: a run that is resumed has begun already: leave --start out")
        if recipe.schedule.batch % world():
            raise ConfigError(
                f"schedule.batch is {recipe.schedule.batch}, which {world()} processes cannot share evenly: "
                f"make it a multiple of {world()}"
            )
        # What is missing should be missed now, not in a worker, and not at the first validation.
        batches = Batches(recipe, rank(), world())
        first = batches[0]
        self.source = batches.source
        check_there(recipe.data, "train")
        for name in recipe.validation:
            next(iter(samples(name, "validation", 1)))
            check_there(data_set(name), "validation")
        saved = from_first(partial(_earlier, self.path, recipe, resume))
        self.trainer = Trainer(recipe)
        self.trainer.check(first)
        self.start, self.interval, self.seconds, self.before = 0, Interval(), 0.0, 0
        if saved is not None and saved.training is not None:
            if saved.source != self.source:
                found = f"learned from {saved.source}, but here it would go on with {self.source}"
                raise ConfigError(f"{self.path}: {found}: give another --out")
            self.start = self.trainer.resume(saved)
            self.interval = msgspec.convert(saved.training.get("interval", {}), Interval)
            self.seconds = float(saved.training.get("seconds", 0))
            self.before = int(saved.training.get("before", 0))
        elif start:
            earlier = read_checkpoint(start)
            self.trainer.begin_with(earlier.weights, start)
            self.before = earlier.images
        self.log: Log | None = None
        self.results: dict[str, Results] = {}
        self.began = time.monotonic()

    def go(self, stop: threading.Event) -> Path:
        """Train to the end, or until `stop` is set; return the checkpoint."""
        if self.start < steps_of(self.recipe):
            from_first(self._open)
            try:
                self._steps(stop)
            except DivergedError as error:
                raise DivergedError(f"{error}: lower schedule.learning_rate; {self._kept()}") from None
            except RuntimeError as error:
                if "DataLoader worker" not in str(error):
                    raise
                raise DigitcamError(f"a process that draws images was killed: out of memory? {self._kept()}") from None
            finally:
                if self.log is not None:
                    self.log.close()
        from_first(self._finish)
        return self.path

    def _steps(self, stop: threading.Event) -> None:
        batch, total = self.recipe.schedule.batch, steps_of(self.recipe)
        every = max(1, self.recipe.schedule.checkpoint_every // batch)
        with (
            drawing(self.recipe, range(self.start, total)) as batches,
            bar(total * batch, self.start * batch, shown=rank() == 0) as progress,
        ):
            for step in range(self.start, total):
                asked = time.perf_counter()
                drawn = next(batches)
                came = time.perf_counter()
                losses = self.trainer.step(step, drawn)
                # The first batch waits for the processes to start.
                waited = came - asked if step > self.start else 0.0
                self.interval.add(*losses, waited, time.perf_counter() - came)
                progress.update(batch)
                progress.set_postfix(loss=f"{self.interval.mean_loss:.4f}", refresh=False)
                due = (step + 1) % every == 0 or step + 1 == total
                if due:
                    ended, self.interval = self.interval, Interval()
                    from_first(partial(self._record, step + 1, ended))
                if any_process(stop.is_set()) and step + 1 < total:
                    if not due:
                        from_first(partial(self._save, step + 1))
                    raise StoppedError(f"stopped at {(step + 1) * batch} of {total * batch} images: {self._kept()}")

    def _open(self) -> None:
        if warning := caution(self.recipe.data, "train"):
            print(f"digitcam: {warning}", file=sys.stderr, flush=True)
        self.log = Log(self.out, self.start * self.recipe.schedule.batch)

    def _record(self, step: int, interval: Interval) -> None:
        """Validate, and write the log's line and the checkpoint before `step`."""
        recipe, images = self.recipe, step * self.recipe.schedule.batch
        self._check_weights(step)
        self._validate()
        line = {
            "images": images,
            "seconds": round(self._elapsed(), 1),
            **interval.means(recipe.schedule.batch),
            "validation": {name: msgspec.to_builtins(found.metrics()) for name, found in self.results.items()},
        }
        assert self.log is not None
        # The log first: a line without its checkpoint is dropped on resuming, a missing one could not be made again.
        self.log.write(line, learning_rate(recipe, step - 1), self._failures())
        self._save(step)

    def _validate(self) -> None:
        self.results = {
            name: read_network(self.trainer.average, self.recipe, name, "validation", _validated(name))
            for name in self.recipe.validation
        }

    def _save(self, step: int) -> None:
        self._check_weights(step)
        images = self.before + step * self.recipe.schedule.batch
        training = self.trainer.state(step) | {
            "interval": msgspec.to_builtins(self.interval),
            "seconds": self._elapsed(),
            "before": self.before,
            "source": self.source,
        }
        write_checkpoint(self.path, self.recipe, self.trainer.average.state_dict(), images, training)

    def _finish(self) -> None:
        final = read_checkpoint(self.path)
        write_checkpoint(self.path.with_name(WEIGHTS), self.recipe, final.weights, final.images)
        write_curves(self.out / "curves.png", read_log(self.out / "log.jsonl"))
        if not self.results:  # the run before was ended between its last checkpoint and here
            self._validate()
        sheet = self._failures()
        if sheet is not None:
            write_image(self.out / "failures.png", sheet)

    def _failures(self) -> UInt8Array | None:
        return failures(self.results, "validation", FAILURES) if self.results else None

    def _check_weights(self, step: int) -> None:
        if not all(bool(value.isfinite().all()) for value in self.trainer.network.state_dict().values()):
            raise DivergedError(f"weights are no numbers at step {step - 1}")

    def _elapsed(self) -> float:
        return self.seconds + time.monotonic() - self.began

    def _kept(self) -> str:
        """Say where the last checkpoint is."""
        if not self.path.exists():
            return "no checkpoint was written yet"
        return f"{self.path} holds the training up to {read_checkpoint(self.path).images} images"


def _earlier(path: Path, recipe: Recipe, resume: bool) -> Checkpoint | None:
    """Return the checkpoint to go on from, if any."""
    if not path.exists():
        return None
    if not resume:
        raise ConfigError(f"{path}: holds a run already: say --resume, or give another --out")
    saved = read_checkpoint(path)
    if not _continues(saved.recipe, recipe):
        raise ConfigError(f"{path}: is of another recipe: give another --out")
    if saved.training is None:
        raise ConfigError(f"{path}: holds only weights, no state to resume from: give another --out")
    if not _same_stages(saved.recipe, recipe, saved.training["step"]):
        raise ConfigError(
            f"{path}: is in a stage (schedule.digits_first, quantised) that begins elsewhere with schedule.images = "
            f"{recipe.schedule.images}: leave it at {saved.recipe.schedule.images}, or train anew with another --out"
        )
    return saved
