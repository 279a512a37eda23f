"""What `bench training`, `bench sweep` and `bench seed` write."""

from __future__ import annotations

import msgspec

from digitcam.benchmarks.environment import Environment
from digitcam.benchmarks.results.subject import SCHEMA, Subject
from digitcam.core.metrics import Metrics


class TrainingResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="training", tag_field="kind"):
    """What `bench training` writes: images a second, on all cores.

    drawn_per_second, trained_per_second
        Each alone.
    together_per_second, waiting
        Both as in a real run, and the share 0..1 of its time that training waits for images.
    """

    recipe: str
    environment: Environment
    drawn_per_second: float
    trained_per_second: float
    together_per_second: float
    waiting: float
    schema: int = SCHEMA


class SweepPoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sequence accuracy at one value of what is varied."""

    value: float
    sequence_accuracy: float


class SweepResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="sweep", tag_field="kind"):
    """What `bench sweep` writes: one curve an axis, `images` at each point, the others at their `usual` value."""

    subject: Subject
    environment: Environment
    format: str
    images: int
    usual: dict[str, float]
    curves: dict[str, list[SweepPoint]]
    schema: int = SCHEMA


class SeedRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One recipe, trained and measured on test images.

    images
        Training images seen.
    precision
        What training computed in, see `Schedule`.
    minutes
        Of training, validation included, all stretches of the run together.
    train_data, test_data
        What the images are: `SvhnData.source`, or the data's kind.
    environment, gpu
        The machine of the last stretch; `gpu` is empty where the processor trained.
    """

    images: int
    precision: str
    minutes: float
    train_data: str
    test_data: str
    commit: str
    environment: Environment
    gpu: str
    metrics: Metrics

    @property
    def machine(self) -> str:
        """What trained, in one phrase."""
        return self.gpu or f"{self.environment.cpu}, {self.environment.cores} cores"


class SeedResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="seed", tag_field="kind"):
    """What `bench seed` writes: runs by name, a recipe's and, with `seed.TWIN` and `MENDED`, those of its variants."""

    runs: dict[str, SeedRun]
    schema: int = SCHEMA
