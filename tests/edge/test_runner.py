from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest

from digitcam.core.errors import ConfigError, ModelError, SourceError
from digitcam.core.reading import Latency, Model, Reading, decode_reading
from digitcam.edge import runner, web
from digitcam.edge.config import Rules, RunConfig, Web
from digitcam.edge.runner import run
from digitcam.edge.sources import Frame
from digitcam.edge.sources.demo import DemoSource

TS = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)


def readings_on(out: str) -> list[Reading]:
    return [decode_reading(line) for line in out.splitlines()]


# With the shipped network


def test_the_demo(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    sheet = tmp_path / "new" / "sheet.png"
    assert run(RunConfig(), frames=13, sheet=sheet) == 0
    out, err = capfd.readouterr()
    best: dict[int, Reading] = {}
    for reading in readings_on(out):
        best.setdefault(reading.seq, reading)
    assert sorted(best) == list(range(13))
    truths = [DemoSource("demo:").draw(seq)[1] for seq in range(13)]
    right = sum(best[seq].number == truth for seq, truth in enumerate(truths))
    accepted = sum(reading.accepted for reading in best.values())
    assert right >= 10
    assert err.splitlines()[-1] == f"read 13 frames, {accepted} accepted; right: {right} of 13 ({right / 13:.1%})"
    # Twelve frames, four a row, 320 wide.
    height, width = DemoSource("demo:").draw(0)[0].shape[:2]
    picture = cv2.imread(str(sheet))
    assert picture is not None
    assert picture.shape == (3 * round(320 * height / width), 4 * 320, 3)


def test_another_engine_reads_the_same(capfd: pytest.CaptureFixture[str]) -> None:
    numbers = []
    for format in ("fp32.onnx", "fp32.tflite"):
        run(RunConfig(source="demo:3", format=format), frames=2)
        numbers.append([(r.number, r.model.format) for r in readings_on(capfd.readouterr().out)])
    assert [n for n, _ in numbers[0]] == [n for n, _ in numbers[1]]
    assert {f for n in numbers for _, f in n} == {"fp32.onnx", "fp32.tflite"}


def test_nothing_accepted_is_1(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "blank.png"), np.zeros((60, 80), np.uint8))
    assert run(RunConfig(source=str(tmp_path / "blank.png"))) == 1
    out, err = capfd.readouterr()
    (reading,) = readings_on(out)
    assert (reading.number, reading.accepted, reading.reason) == ("", False, "no_number")
    assert err == "read 1 frames, 0 accepted\n"


def test_an_image_that_cannot_be_read_is_4_and_the_rest_are_read(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    image, _ = DemoSource("demo:").draw(0)
    (tmp_path / "a.png").write_bytes(b"no image")
    cv2.imwrite(str(tmp_path / "b.png"), image)
    assert run(RunConfig(source=str(tmp_path))) == 4
    out, err = capfd.readouterr()
    assert {reading.source for reading in readings_on(out)} == {str(tmp_path / "b.png")}
    assert err.startswith(f"digitcam: {tmp_path / 'a.png'}: ")
    assert err.splitlines()[-1].startswith("read 1 frames, ")


def test_no_frames_asked_for(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(RunConfig(), frames=0, sheet=tmp_path / "sheet.png") == 1
    assert capfd.readouterr() == ("", "read 0 frames, 0 accepted\n")
    assert not (tmp_path / "sheet.png").exists()


@pytest.mark.parametrize(
    ("config", "error"),
    [
        (RunConfig(model="no such bundle"), ModelError),
        (RunConfig(source="telnet://meter"), ConfigError),
        (RunConfig(source="gone.mp4"), SourceError),
    ],
)
def test_what_cannot_be_opened(config: RunConfig, error: type[Exception], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(error):
        run(config)
    assert capfd.readouterr() == ("", "")


# With readings by hand: what the runner does with them


class Frames:
    """A source of as many frames as there are truths."""

    def __init__(self, truths: list[str | None], failed: int = 0) -> None:
        self.truths, self.failed, self.open = truths, failed, False

    def __enter__(self) -> Frames:
        self.open = True
        return self

    def __exit__(self, *_: object) -> None:
        self.open = False

    def __iter__(self) -> Iterator[Frame]:
        for seq, truth in enumerate(self.truths):
            yield Frame(np.zeros((48, 64, 3), np.uint8), TS, seq, "test:", 1.0, truth)


class Script:
    """Reads prepared numbers, `?` before one that is not accepted."""

    def __init__(self, numbers: list[str]) -> None:
        self.numbers, self.previous = numbers, ""

    def read(self, frame: Frame) -> list[Reading]:
        text = self.numbers[frame.seq]
        accepted = not text.startswith("?")
        reading = Reading(
            ts=frame.ts,
            seq=frame.seq,
            source=frame.source,
            number=text.removeprefix("?"),
            digits=(),
            box=(0, 0, 0, 0),
            confidence=0.9,
            accepted=accepted,
            reason="" if accepted else "low_confidence",
            previous=self.previous or None,
            model=Model("script", "", ""),
            latency_ms=Latency(1, 0, 0, 0, 1),
        )
        if accepted:
            self.previous = text
        return [reading]


class Collector:
    """A sink and a page that keep what they are given."""

    def __init__(self) -> None:
        self.numbers: list[str | None] = []
        self.shown: list[str | None] = []
        self.reasons: list[str] = []
        self.open = False

    def __enter__(self) -> Collector:
        self.open = True
        return self

    def __exit__(self, *_: object) -> None:
        self.open = False

    def send(self, readings: list[Reading], number: str | None) -> None:
        assert self.open
        self.numbers.append(number)
        self.reasons.append(readings[0].reason)

    def show(self, frame: Frame, readings: list[Reading], number: str | None) -> None:
        assert frame.seq == readings[0].seq
        self.shown.append(number)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Collector:
    collector = Collector()
    monkeypatch.setattr(runner, "open_sinks", lambda config: [collector])
    monkeypatch.setattr(web, "Page", lambda config: collector)
    return collector


def play(monkeypatch: pytest.MonkeyPatch, numbers: list[str], source: Frames | None = None) -> Frames:
    source = source or Frames([None] * len(numbers))
    monkeypatch.setattr(runner, "open_bundle", lambda where: None)
    monkeypatch.setattr(runner, "Reader", lambda *_: Script(numbers))
    monkeypatch.setattr(runner, "open_source", lambda uri: source)
    return source


def test_the_summary_counts_frames_accepted_and_right(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    # Right counts whether accepted or not; the fourth frame has no known truth.
    source = play(monkeypatch, ["12", "?7", "007", "5"], Frames(["12", "7", "7", None]))
    assert run(RunConfig()) == 0
    assert capsys.readouterr().err == "read 4 frames, 3 accepted; right: 2 of 3 (66.7%)\n"
    assert not source.open
    assert not collector.open


def test_without_rules_the_last_accepted_number_stands(monkeypatch: pytest.MonkeyPatch, collector: Collector) -> None:
    play(monkeypatch, ["12", "?13", "14"])
    run(RunConfig())
    assert collector.numbers == ["12", "12", "14"]


def test_with_rules_the_trusted_number_stands_in_sinks_and_page(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    play(monkeypatch, ["12", "?12", "12", "13", "13", "13"])
    assert run(RunConfig(rules=Rules(window=3, needed=2, decimals=1), web=Web())) == 0
    assert collector.numbers == [None, None, "1.2", "1.2", "1.3", "1.3"]
    assert collector.shown == collector.numbers
    assert collector.reasons == ["not_steady", "low_confidence", "", "outvoted", "", ""]
    # Of what the reader accepted, two did not count yet.
    trusted, summary = capsys.readouterr().err.splitlines()
    assert trusted == "2026-03-01T12:00:00+00:00 trusted: 1.2 is the first number trusted"
    assert summary == "read 6 frames, 3 accepted"


def test_skipped_frames_outweigh_nothing_accepted(monkeypatch: pytest.MonkeyPatch, collector: Collector) -> None:
    play(monkeypatch, ["?1"], Frames([None], failed=1))
    assert run(RunConfig()) == 4


def test_ready_at_the_first_frame_then_a_frame_feeds_the_watchdog(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, tmp_path: Path
) -> None:
    play(monkeypatch, ["1", "1", "1"])
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        run(RunConfig())
        said = [manager.recv(100) for _ in range(4)]
    assert said == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1", b"STOPPING=1"]


def test_a_source_without_frames_is_never_ready(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, tmp_path: Path
) -> None:
    play(monkeypatch, [])
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        assert run(RunConfig()) == 1
        assert manager.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_after_the_frame_at_hand(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    source = play(monkeypatch, ["1"] * 9)
    show = collector.send

    def send(readings: list[Reading], stands: str | None) -> None:
        show(readings, stands)
        if readings[0].seq == 1:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(collector, "send", send)
    assert run(RunConfig()) == 0
    assert capsys.readouterr().err == "read 2 frames, 2 accepted\n"
    assert not source.open


def test_a_page_without_its_library_names_the_extra(monkeypatch: pytest.MonkeyPatch, collector: Collector) -> None:
    play(monkeypatch, ["1"])
    monkeypatch.delitem(sys.modules, "digitcam.edge.web")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ConfigError, match=r"^\[web\] needs uvicorn: pip install 'digitcam\[web\]'$"):
        run(RunConfig(web=Web()))
