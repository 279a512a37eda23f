"""What a run says while it goes on: the bar, `log.jsonl`, TensorBoard."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import msgspec
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from digitcam.core.arrays import UInt8Array
from digitcam.core.errors import SinkError
from digitcam.core.whole import write_file
from digitcam.train.curves import read_log

LINE_EVERY_S = 60
"""Seconds between the bar's lines where it goes into a file."""


class Interval(msgspec.Struct, forbid_unknown_fields=True):
    """Sums over the steps since the last line of the log. A checkpoint keeps them, so no step is left out."""

    steps: int = 0
    class_loss: float = 0.0
    box_loss: float = 0.0
    seconds: float = 0.0
    waiting_s: float = 0.0

    def add(self, class_loss: float, box_loss: float, waiting_s: float, training_s: float) -> None:
        """Count a step."""
        self.steps += 1
        self.class_loss += class_loss
        self.box_loss += box_loss
        self.seconds += waiting_s + training_s
        self.waiting_s += waiting_s

    @property
    def mean_loss(self) -> float:
        """Class and box loss together, a step."""
        return (self.class_loss + self.box_loss) / self.steps

    def means(self, batch: int) -> dict[str, float]:
        """Return mean losses a step, images a second, and the share of time spent waiting for data."""
        return {
            "class_loss": round(self.class_loss / self.steps, 5),
            "box_loss": round(self.box_loss / self.steps, 5),
            "images_per_s": round(self.steps * batch / self.seconds, 1),
            "waiting": round(self.waiting_s / self.seconds, 4),
        }


class _Lines(io.StringIO):
    """A file for a bar that cannot redraw itself: each state becomes a line."""

    def write(self, text: str) -> int:
        if line := text.strip("\r\n "):
            print(line, file=sys.stderr, flush=True)
        return len(text)


def bar(total: int, done: int, shown: bool) -> Any:
    """Return a progress bar over images, on standard error; in a file, a line now and then."""
    place = {} if sys.stderr.isatty() else {"file": _Lines(), "mininterval": LINE_EVERY_S, "ncols": 100}
    return tqdm(total=total, initial=done, unit="img", unit_scale=True, disable=not shown, **place)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SinkError(f"{path}: cannot write to it: {error.strerror}: make room, then --resume") from None


class Log:
    """`out/log.jsonl`, a line a validation, and the same as curves in `out/tensorboard`."""

    def __init__(self, out: Path, done: int) -> None:
        self.path, self.board_path = out / "log.jsonl", out / "tensorboard"
        # A run that was killed may have logged steps that it takes again.
        kept = [line for line in read_log(self.path) if line["images"] <= done]
        with _writing(self.path):
            out.mkdir(parents=True, exist_ok=True)
            write_file(self.path, "".join(json.dumps(line) + "\n" for line in kept).encode())
        with _writing(self.board_path):
            self.board = SummaryWriter(str(self.board_path), purge_step=done + 1)

    def close(self) -> None:
        """Write what TensorBoard has not written yet."""
        with _writing(self.board_path):
            self.board.close()

    def write(self, line: Mapping[str, Any], learning_rate: float, failures: UInt8Array | None) -> None:
        """Append a line; TensorBoard gets its numbers, the learning rate and a BGR sheet of failures.

        Raises
        ------
        SinkError
            When one of the files cannot be written.
        """
        with _writing(self.path), self.path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
            log.flush()
            os.fsync(log.fileno())
        images = line["images"]
        scalars = {f"train/{key}": line[key] for key in ("class_loss", "box_loss", "images_per_s", "waiting")}
        scalars["train/learning_rate"] = learning_rate
        for name, metrics in line["validation"].items():
            scalars |= {f"{name}/{key}": value for key, value in metrics.items() if isinstance(value, float)}
        with _writing(self.board_path):
            for tag, value in scalars.items():
                self.board.add_scalar(tag, value, images)
            if failures is not None:
                rgb = cv2.cvtColor(failures, cv2.COLOR_BGR2RGB)
                self.board.add_image("validation/failures", rgb, images, dataformats="HWC")
            self.board.flush()
