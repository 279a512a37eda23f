from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from digitcam.core.errors import SinkError
from digitcam.train import progress
from digitcam.train.curves import read_log, write_curves
from digitcam.train.progress import Interval, Log, bar


def line(images: int, accuracy: float = 0.5) -> dict[str, object]:
    validation = {"canvas-five": {"images": 9, "sequence_accuracy": accuracy, "sequence_by_length": {"5": accuracy}}}
    numbers = {"class_loss": 1.0, "box_loss": 0.5, "images_per_s": 100.0, "waiting": 0.25}
    return {"images": images, "seconds": 1.0, **numbers, "validation": validation}


def test_an_interval_by_hand() -> None:
    interval = Interval()
    interval.add(3.0, 1.0, waiting_s=0.5, training_s=1.5)
    interval.add(2.0, 0.0, waiting_s=0.0, training_s=2.0)
    assert interval.mean_loss == 3.0
    # 2 steps of 8 images in 4 s, of which half a second was spent waiting.
    assert interval.means(8) == {"class_loss": 2.5, "box_loss": 0.5, "images_per_s": 4.0, "waiting": 0.125}


def test_a_bar_in_a_file_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with bar(8000, 800, shown=True) as shown:
        for step in range(900):
            shown.update(8)
            shown.set_postfix(loss=f"{step}.5", refresh=False)
    said = capsys.readouterr().err
    assert "\r" not in said
    lines = said.splitlines()
    assert len(lines) == 2 and all(len(line) <= 110 for line in lines)
    assert "800/8.00k" in lines[0]
    assert "8.00k/8.00k" in lines[1] and "img/s" in lines[1] and "loss=899.5" in lines[1]
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0)
    with bar(80, 0, shown=True) as shown:
        for _ in range(10):
            shown.update(8)
    assert len(capsys.readouterr().err.splitlines()) > 5
    with bar(80, 0, shown=False) as shown:
        shown.update(8)
    assert capsys.readouterr().err == ""


def scalars(out: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_the_log_and_tensorboard(tmp_path: Path) -> None:
    out = tmp_path / "run"
    log = Log(out, 0)
    log.write(line(80), 0.003, np.zeros((48, 64, 3), np.uint8))
    log.write(line(160, 0.75), 0.002, None)
    log.close()
    assert read_log(out / "log.jsonl") == [line(80), line(160, 0.75)]
    found = scalars(out)
    assert found["train/learning_rate"] == [(80, pytest.approx(0.003)), (160, pytest.approx(0.002))]
    assert found["canvas-five/sequence_accuracy"] == [(80, 0.5), (160, 0.75)]
    assert {"train/class_loss", "train/box_loss", "train/images_per_s", "train/waiting"} < found.keys()


def test_a_log_taken_up_drops_what_was_not_kept(tmp_path: Path) -> None:
    log = Log(tmp_path, 0)
    for images in (80, 160):
        log.write(line(images), 0.003, None)
    log.close()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"images": 240, "sec')  # killed while writing
    log = Log(tmp_path, 80)
    log.write(line(160, 0.25), 0.003, None)
    log.close()
    assert read_log(tmp_path / "log.jsonl") == [line(80), line(160, 0.25)]
    assert scalars(tmp_path)["canvas-five/sequence_accuracy"] == [(80, 0.5), (160, 0.25)]


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    log = Log(tmp_path, 0)
    (tmp_path / "log.jsonl").unlink()
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(SinkError, match=r"log\.jsonl: cannot write to it: Is a directory: make room"):
        log.write(line(80), 0.003, None)
    log.close()
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match=r"log\.jsonl: cannot write to it: "):
        Log(tmp_path / "file", 0)


def test_curves(tmp_path: Path) -> None:
    path = tmp_path / "curves.png"
    write_curves(path, json.loads(json.dumps([line(80), line(160, 0.75)])))
    two = cv2.imread(str(path))
    write_curves(path, [line(80), line(160, 0.25)])
    assert two is not None and (two != cv2.imread(str(path))).any()
    with pytest.raises(SinkError, match=r"curves\.png: cannot write the curves"):
        write_curves(tmp_path / "none" / "curves.png", [line(80)])
