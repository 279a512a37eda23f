from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
import readings
from machine import small_disk

from digitcam.core.errors import SinkError
from digitcam.core.reading import Reading, encode_reading
from digitcam.edge.config.outputs import HardFrames
from digitcam.edge.config.rules import Rules
from digitcam.edge.outcome import Outcome
from digitcam.edge.sinks.hard_frames import HardFramesSink, hard
from digitcam.edge.sources import Frame
from digitcam.edge.trust import Mark, Trust

START = datetime(2026, 3, 1, 13, 0, 0, 123456, timezone(timedelta(hours=1)))
STANDS = Trust(Rules(decimals=1), standing=Mark("12", START, START))


def outcome(number: str, reason: str = "", stands: str | None = None, trust: Trust | None = None) -> Outcome:
    reading = readings.reading(
        number,
        [0.5] * len(number),
        ts=START,
        seq=4,
        region="water",
        box=(0, 0, 2, 1),
        accepted=not reason,
        reason=reason,
    )
    return Outcome("water", [reading], trust.number if trust else stands, trust)


def frame(seconds: float = 0.0, seq: int = 4) -> Frame:
    image = np.random.default_rng(seq).integers(0, 256, (40, 50)).astype(np.uint8)
    return Frame(image, START + timedelta(seconds=seconds), seq, "test:", 0.0, "12")


def sink(folder: Path, **changes: Any) -> HardFramesSink:
    return HardFramesSink(HardFrames(**{"folder": str(folder), "pause_s": 0.0, **changes}))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("given", "reasons", "why"),
    [
        (outcome("12"), ("low_confidence", "disagrees"), ""),
        (outcome("12", "low_confidence"), ("low_confidence",), "low_confidence"),
        (outcome("12", "falls"), ("low_confidence",), ""),
        (outcome("13", "falls", "12"), ("disagrees",), "disagrees"),
        (outcome("13", "falls", "12"), ("disagrees", "falls"), "falls"),
        (outcome("12", "low_confidence", "12"), ("disagrees",), ""),
        (outcome("13", "low_confidence"), ("disagrees",), ""),  # nothing stands
        (outcome("", "no_number", "12"), ("disagrees",), ""),  # nothing is read
        (outcome("", "no_number", "12"), ("no_number",), "no_number"),
        (outcome("12", trust=STANDS), ("disagrees",), ""),  # 1.2 stands: points are not read
        (outcome("13", "outvoted", trust=STANDS), ("disagrees",), "disagrees"),
        (outcome("13", "not_steady", trust=Trust(Rules())), ("disagrees",), ""),
    ],
)
def test_which_frames_are_hard(given: Outcome, reasons: tuple[str, ...], why: str) -> None:
    assert hard(given, reasons) == why


def test_the_frame_and_what_was_read_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "hard"
    wrong, fine = outcome("13", "falls", "12"), outcome("7")._replace(region="gas")
    with sink(folder) as opened:
        opened.send(frame(), [wrong, fine])
        opened.send(frame(1, 5), [fine])
    name = "hard-20260301T120000123456Z-000004"
    assert names(folder) == [f"{name}.json", f"{name}.png"]
    picture = cv2.imread(str(folder / f"{name}.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(picture, frame().image)
    text = (folder / f"{name}.json").read_text()
    assert text.endswith("\n")
    assert text.count("\n") == 1
    line = json.loads(text)
    assert {key: value for key, value in line.items() if key != "regions"} == {
        "schema": 1,
        "ts": "2026-03-01T13:00:00.123456+01:00",
        "seq": 4,
        "source": "test:",
        "truth": "12",
    }
    first, second = line["regions"]
    assert (first["region"], first["reason"], first["number"], first["label"]) == ("water", "falls", "12", None)
    assert (second["region"], second["reason"], second["number"]) == ("gas", "", None)
    assert msgspec.convert(first["readings"][0], Reading) == wrong.best
    assert first["readings"] == [json.loads(encode_reading(wrong.best))]


def test_after_the_clock_is_set_back_the_oldest_still_go(tmp_path: Path) -> None:
    with sink(tmp_path, keep=2) as opened:
        for second in (50, 51, 1, 2, 3):
            opened.send(frame(second, second), [outcome("1", "low_confidence")])
            assert f"{second:06}.png" in "".join(names(tmp_path))
    assert [name[-10:] for name in names(tmp_path) if name.endswith("png")] == ["000002.png", "000003.png"]


def test_the_oldest_go_and_files_of_others_stay(tmp_path: Path) -> None:
    (tmp_path / "hard-of-mine.png").touch()
    (tmp_path / "hard-20260301T120000123456Z-000000.png.part").touch()  # of a process that was killed
    with sink(tmp_path, keep=2) as opened:
        for seq in range(4):
            opened.send(frame(seq, seq), [outcome("1", "low_confidence")])
    kept = [f"hard-20260301T12000{n}123456Z-00000{n}.{ending}" for n in (2, 3) for ending in ("json", "png")]
    assert names(tmp_path) == [*kept, "hard-of-mine.png"]


def test_the_oldest_go_too_when_they_take_too_many_bytes(tmp_path: Path) -> None:
    with sink(tmp_path / "one") as opened:
        opened.send(frame(0, 0), [outcome("1", "low_confidence")])
    pair = sum(path.stat().st_size for path in (tmp_path / "one").iterdir())
    # Noise: all pictures are about as large. Three pairs do not fit, two do.
    with sink(tmp_path / "many", keep_mb=2.5 * pair / 1e6) as opened:
        for seq in range(5):
            opened.send(frame(seq, seq), [outcome("1", "low_confidence")])
    kept = [f"00000{seq}.{ending}" for seq in (3, 4) for ending in ("json", "png")]
    assert [name.rpartition("-")[2] for name in names(tmp_path / "many")] == kept
    # The newest stays, however large.
    with sink(tmp_path / "many", keep_mb=1e-6) as opened:
        opened.send(frame(5, 5), [outcome("1", "low_confidence")])
    assert [Path(name).stem[-6:] for name in names(tmp_path / "many")] == ["000005"] * 2


def test_a_pause_between_two(tmp_path: Path) -> None:
    with sink(tmp_path, pause_s=60.0) as opened:
        # The clock is set back an hour before the last two.
        for seq, seconds in enumerate((0, 1, 59, 60, 100, -3500, -3499)):
            opened.send(frame(seconds, seq), [outcome("1", "low_confidence")])
    assert sorted(int(path.stem[-6:]) for path in tmp_path.glob("*.png")) == [0, 3, 5]


def test_a_full_disk_is_told_once_and_nothing_is_left_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sink(tmp_path) as opened:
        with small_disk(1500):  # the line fits, the picture does not
            for seq in range(3):
                opened.send(frame(seq, seq), [outcome("1", "low_confidence")])
        assert names(tmp_path) == []
        assert capsys.readouterr().err == (
            f"digitcam: {tmp_path}: cannot keep hard frames here: File too large: reading goes on\n"
        )
        opened.send(frame(3, 3), [outcome("1", "low_confidence")])
        assert len(names(tmp_path)) == 2
        assert capsys.readouterr().err == f"digitcam: {tmp_path}: hard frames are kept again\n"


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match=r"file/hard: cannot keep hard frames here: Not a directory$"):
        sink(tmp_path / "file" / "hard").__enter__()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"reasons": ("falls", "blurred")}, "^reasons: 'blurred' is not known: use no_number, .*, disagrees$"),
        ({"reasons": ()}, "^reasons is empty"),
    ],
)
def test_what_the_table_may_not_say(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        HardFrames(folder="f", **changes)
