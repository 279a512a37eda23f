from __future__ import annotations

import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import cv2
import msgspec
import numpy as np
import pytest
import readings
from machine import free_port, hidden

from digitcam.cli import cli
from digitcam.core.arrays import UInt8Array
from digitcam.core.boxes import iou
from digitcam.core.bundle import SHIPPED
from digitcam.core.canvas import draw_glyphs, rng_for
from digitcam.core.errors import ConfigError, ModelError, SourceError
from digitcam.core.reading import Reading, decode_reading
from digitcam.edge import runner
from digitcam.edge.config import ConfigFile, Region, Rules, RunConfig, Web
from digitcam.edge.config.mqtt import Mqtt
from digitcam.edge.config.outputs import HardFrames, History, Webhook
from digitcam.edge.control import Control
from digitcam.edge.folders import check_folders
from digitcam.edge.outcome import Outcome
from digitcam.edge.parts import Parts
from digitcam.edge.regions import View
from digitcam.edge.runner import Runner, run
from digitcam.edge.sinks import Planned
from digitcam.edge.sources import Frame
from digitcam.edge.sources.demo import DemoSource


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
    summary = f"read 13 frames, {accepted} accepted; right: {right} of 13 ({right / 13:.1%})"
    assert err.splitlines()[-1] == f"digitcam: {summary}"
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
    assert err == "digitcam: read 1 frames, 0 accepted\n"


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
    assert err.splitlines()[-1].startswith("digitcam: read 1 frames, ")


def test_no_frames_asked_for(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(RunConfig(), frames=0, sheet=tmp_path / "sheet.png") == 1
    assert capfd.readouterr() == ("", "digitcam: read 0 frames, 0 accepted\n")
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
            yield readings.frame(seq, truth=truth)


class Script:
    """Reads prepared numbers, `?` before one that is not accepted."""

    def __init__(self, numbers: list[str]) -> None:
        self.numbers = numbers
        self.previous: dict[str, str] = {}

    def read_view(self, frame: Frame, view: View) -> list[Reading]:
        text = self.numbers[frame.seq]
        number, previous = text.removeprefix("?"), self.previous.get(view.region)
        if text.startswith("?"):
            return [readings.reading(number, [0.1] * len(number), ts=frame.ts, seq=frame.seq, previous=previous)]
        self.previous[view.region] = number
        return [readings.reading(number, ts=frame.ts, seq=frame.seq, previous=previous)]

    def unread(self, frame: Frame, region: str, reason: str) -> Reading:
        return msgspec.structs.replace(readings.reading(""), ts=frame.ts, seq=frame.seq, region=region, reason=reason)


class Collector:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.open = False

    def __enter__(self) -> Collector:
        self.open = True
        return self

    def __exit__(self, *_: object) -> None:
        self.open = False

    def send(self, frame: Frame, outcomes: Sequence[Outcome]) -> None:
        assert self.open
        assert [outcome.best.seq for outcome in outcomes] == [frame.seq]
        self.outcomes += outcomes


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Collector:
    collector = Collector()
    monkeypatch.setattr(runner, "plan_sinks", lambda *_: [Planned("stdout", None, lambda: collector)])
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
    assert capsys.readouterr().err == "digitcam: read 4 frames, 3 accepted; right: 2 of 3 (66.7%)\n"
    assert not source.open
    assert not collector.open


def test_without_rules_the_last_accepted_number_stands(monkeypatch: pytest.MonkeyPatch, collector: Collector) -> None:
    play(monkeypatch, ["12", "?13", "14"])
    run(RunConfig())
    assert [(o.number, o.trust) for o in collector.outcomes] == [("12", None), ("12", None), ("14", None)]
    assert [o.why for o in collector.outcomes] == ["", "low_confidence", ""]


def test_with_rules_the_trusted_number_stands(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    play(monkeypatch, ["12", "?12", "12", "13", "13", "13"])
    assert run(RunConfig(rules=Rules(window=3, needed=2, decimals=1))) == 0
    assert [o.number for o in collector.outcomes] == [None, None, "1.2", "1.2", "1.3", "1.3"]
    assert [o.best.reason for o in collector.outcomes] == ["not_steady", "low_confidence", "", "outvoted", "", ""]
    assert [o.trust.number for o in collector.outcomes if o.trust] == [o.number for o in collector.outcomes]
    assert collector.outcomes[3].why == "1.3: most of the last 3 readings say 1.2"
    # Of what the reader accepted, two did not count yet.
    trusted, summary = capsys.readouterr().err.splitlines()
    assert trusted == "digitcam: 2026-03-01T12:00:00+00:00 trusted: 1.2 is the first number trusted"
    assert summary == "digitcam: read 6 frames, 3 accepted"


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
        said = [manager.recv(100) for _ in range(5)]
    assert said == [b"STATUS=reads 1", b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1", b"STOPPING=1"]


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

    def send(frame: Frame, outcomes: Sequence[Outcome]) -> None:
        show(frame, outcomes)
        if frame.seq == 1:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(collector, "send", send)
    assert run(RunConfig()) == 0
    assert capsys.readouterr().err == "digitcam: read 2 frames, 2 accepted\n"
    assert not source.open


def test_a_page_without_its_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, ["1"])
    for module in [name for name in sys.modules if name.startswith("digitcam.edge.web")]:
        monkeypatch.delitem(sys.modules, module)
    for module in ("starlette.applications", "uvicorn"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=r"^\[web\] needs (starlette|uvicorn).*: pip install 'digitcam\[web\]'$"):
        run(RunConfig(web=Web()))


def test_a_number_set_by_somebody_is_trusted_from_the_next_frame_on(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    play(monkeypatch, ["12"] * 5)
    control = Control()
    with Parts() as parts:
        running = Runner(RunConfig(rules=Rules(window=3, needed=2, rising=True)), ConfigFile(), control, parts)
        for frame in running.frames():
            running.read(frame)
            if frame.seq == 1:
                for region, number in (("", "07"), ("gas", "8"), ("", "one\ntwo")):
                    control.set_number(region, number)
    assert [o.number for o in collector.outcomes] == [None, "12", "07", "12", "12"]
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "digitcam: 2026-03-01T12:00:00+00:00 trusted: 12 is the first number trusted"
    assert told[1].endswith(" set: 07 is trusted, for somebody said so")
    refused = [line for line in told if line.startswith("digitcam: cannot")]
    assert refused[0] == "digitcam: cannot set '8': gas has no rules"
    assert refused[1].startswith("digitcam: cannot set 'one\\ntwo': 'one\\ntwo' is no number: write digits")
    assert len(refused) == 2
    # Who asked may be far from the log.
    assert running.health.report().refused == refused[1].removeprefix("digitcam: ")
    control.set_number("", "13")
    running._attend()
    assert running.health.report().refused is None


# Regions, with the shipped network


def side_by_side() -> UInt8Array:
    """Draw 30718, 204 beside it, and 559 beside that, turned clockwise by a quarter."""
    one, two, three = (draw_glyphs(n, rng_for(11, 5, i)).image for i, n in enumerate(("30718", "204", "559")))
    scene = np.zeros((256, 640), np.uint8)
    scene[:128, :256], scene[:128, 256:512], scene[:, 512:] = one, two, cv2.rotate(three, cv2.ROTATE_90_CLOCKWISE)
    return scene


def test_regions_are_read_each_by_its_own_rules(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, tmp_path: Path
) -> None:
    monkeypatch.setattr(collector, "send", lambda frame, outcomes: collector.outcomes.extend(outcomes))
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), side_by_side())
    regions = (
        Region(name="gas", box=(0, 0, 256, 128), rules=Rules(window=1, needed=1, decimals=2)),
        Region(name="water", box=(0.4, 0, 0.4, 0.5), rules=Rules(window=1, needed=1, digits=4)),
        # Upright it is 256 wide and 128 high, about (576, 128).
        Region(name="turned", box=(448, 64, 256, 128), turn=90),
    )
    assert run(RunConfig(source=str(tmp_path), model="canvas", regions=regions, accept=0.3)) == 0
    found = [(o.region, o.number, o.best.region, o.best.number, o.best.reason) for o in collector.outcomes]
    assert found == 2 * [
        ("gas", "307.18", "gas", "30718", ""),
        ("water", None, "water", "204", "pattern"),
        ("turned", "559", "turned", "559", ""),
    ]
    assert [o.best.previous for o in collector.outcomes] == [None, None, None, "30718", None, "559"]
    samples = [draw_glyphs(n, rng_for(11, 5, i)).box_xywh for i, n in enumerate(("30718", "204", "559"))]
    x, y, w, h = samples[2]
    turned = np.array([512 + 128 - y - h, x, h, w])
    for outcome, box in zip(collector.outcomes, (samples[0], samples[1] + [256, 0, 0, 0], turned), strict=False):
        assert iou(np.array(outcome.best.box), box) > 0.7, outcome.region


def test_frames_of_another_size(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(collector, "send", lambda frame, outcomes: collector.outcomes.extend(outcomes))
    for name, width in (("a.png", 512), ("b.png", 256)):
        cv2.imwrite(str(tmp_path / name), np.zeros((128, width), np.uint8))
    right = Region(name="right", box=(0.5, 0, 0.5, 1))
    assert run(RunConfig(source=str(tmp_path), regions=(right,))) == 1
    assert len(collector.outcomes) == 2
    # In pixels it lies in the first frame alone. Another region that fits would be looked for in the wrong place too,
    # as both would in a larger frame; shares are not.
    collector.outcomes.clear()
    regions = (
        Region(name="right", box=(256, 0, 256, 128)),
        Region(name="left", quad=((0, 0), (99, 0), (99, 99), (0, 99))),
        Region(name="share", box=(0, 0, 0.5, 1)),
    )
    for name, width in (("c.png", 256), ("d.png", 512), ("e.png", 1024)):
        cv2.imwrite(str(tmp_path / name), np.zeros((128, width), np.uint8))
    config = RunConfig(source=str(tmp_path), regions=regions)
    capsys.readouterr()
    assert run(config) == 1
    as_before, odd = ["no_number"] * 3, ["frame_size", "frame_size", "no_number"]
    assert [o.best.reason for o in collector.outcomes] == as_before + odd + odd + as_before + odd
    assert [(o.region, o.best.seq, o.best.region, o.best.number) for o in collector.outcomes[3:6]] == [
        (name, 1, name, "") for name in ("right", "left", "share")
    ]
    mend = "regions in pixels are rejected: draw them anew"
    assert capsys.readouterr().err.splitlines() == [
        f"digitcam: regions: the frames are 256x128 now, and were 512x128: {mend}",
        "digitcam: regions: frames of 512x128 fit again",
        f"digitcam: regions: the frames are 1024x128 now, and were 512x128: {mend}",
        "digitcam: read 5 frames, 0 accepted",
    ]
    # The rules have a word to say of it too.
    collector.outcomes.clear()
    run(msgspec.structs.replace(config, rules=Rules()))
    assert [o.why for o in collector.outcomes[2:4]] == [
        "no number in the frame",
        "the frame has another size than those before",
    ]
    # From a file's first frame on it is a mistake.
    (tmp_path / "a.png").unlink()
    with pytest.raises(ConfigError, match=r"^regions: right reaches out of the 256x128 frame: draw it anew$"):
        run(config)
    assert not collector.open


class Sizes(Frames):
    """A frame of each width, in pixels, and 48 high."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__([None] * len(widths))
        self.widths = widths

    def __iter__(self) -> Iterator[Frame]:
        for seq, width in enumerate(self.widths):
            yield readings.frame(seq, width=width)


class Camera(Sizes):
    """Those of a camera, which ends when they do."""

    fresh_s = 10.0

    def until(self, stop: threading.Event) -> Iterator[Frame]:
        return iter(self)


def test_a_camera_may_begin_with_frames_of_another_size(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    # As after a power cut, until it has its settings again.
    play(monkeypatch, ["1"] * 4, Camera([32, 32, 64, 64]))
    assert run(RunConfig(regions=(Region(name="gas", box=(40, 0, 24, 48)),))) == 0
    assert [outcome.best.reason for outcome in collector.outcomes] == ["frame_size", "frame_size", "", ""]
    assert capsys.readouterr().err.splitlines() == [
        "digitcam: regions: gas reaches out of the 32x48 frame: draw it anew: such frames are rejected",
        "digitcam: regions: frames of 64x48 fit again",
        "digitcam: read 4 frames, 2 accepted",
    ]


# A configuration read anew


def test_regions_drawn_in_frames_of_another_size_are_for_those(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, tmp_path: Path
) -> None:
    play(monkeypatch, ["1"] * 5, Sizes([64, 128, 128, 128, 64]))
    config = tmp_path / "run.toml"
    config.write_text("[[regions]]\nname = 'gas'\nbox = [0, 0, 9, 9]")
    file, control = ConfigFile(config), Control()
    with Parts() as parts:
        running = Runner(file.load(), file, control, parts)
        for frame in running.frames():
            running.read(frame)
            if frame.seq == 2:
                config.write_text("[[regions]]\nname = 'gas'\nbox = [99, 0, 9, 9]")
                control.ask_reload()
    odd = "frame_size"
    assert [outcome.best.reason for outcome in collector.outcomes] == ["", odd, odd, "", odd]


class Running:
    """`digitcam run` on a watched folder, as a process of its own; each picture goes in under another name."""

    def __init__(self, config: Path, folder: Path, notify: Path) -> None:
        command = [sys.executable, "-m", "digitcam.cli", "run", "--config", str(config)]
        env = {**os.environ, "NOTIFY_SOCKET": str(notify)}
        self.folder, self.count = folder, 0
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, cwd=config.parent
        )
        self.out: queue.Queue[str] = queue.Queue()
        self.err: queue.Queue[str] = queue.Queue()
        for stream, lines in ((self.process.stdout, self.out), (self.process.stderr, self.err)):
            threading.Thread(target=self._collect, args=(stream, lines), daemon=True).start()

    def _collect(self, stream: IO[str], lines: queue.Queue[str]) -> None:
        for line in stream:
            lines.put(line.rstrip("\n"))

    def put(self, image: UInt8Array) -> Path:
        self.count += 1
        path = self.folder / f"{self.count}.png"
        cv2.imwrite(str(self.folder.parent / "part.png"), image)
        return (self.folder.parent / "part.png").rename(path)

    def first(self, image: UInt8Array) -> Reading:
        """Put pictures until one is read: one that is there before the folder is watched never is."""
        while True:
            self.put(image)
            try:
                return decode_reading(self.out.get(timeout=2))
            except queue.Empty:
                assert self.process.poll() is None, list(self.err.queue)

    def next(self, image: UInt8Array) -> list[Reading]:
        """Put a picture and return what is read up to it."""
        path, found = self.put(image), []
        while not found or found[-1].source != str(path):
            found.append(decode_reading(self.out.get(timeout=WAIT_S)))
        return found

    def reload(self) -> str:
        self.process.send_signal(signal.SIGHUP)
        return self.err.get(timeout=WAIT_S)


WAIT_S = 60


def test_sighup_reads_the_configuration_anew_and_keeps_the_camera(tmp_path: Path) -> None:
    folder, config, bundle = tmp_path / "in", tmp_path / "run.toml", tmp_path / "bundle"
    folder.mkdir()
    shutil.copytree(SHIPPED / "canvas", bundle)

    def write(rules: str, model: str = "bundle") -> None:
        lines = (
            f'source = "watch:{folder}"',
            f'model = "{model}"',
            'format = "int8.onnx"',
            "accept = 0.1",
            "[rules]",
            rules,
        )
        config.write_text("\n".join(lines))

    image = draw_glyphs("30718", rng_for(11, 5, 0)).image
    write("window = 1\nneeded = 1\ndigits = 5")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(WAIT_S)
        running = Running(config, folder, tmp_path / "notify")
        try:
            found = [running.first(image)]
            assert manager.recv(100) == b"STATUS=reads 30718"
            assert manager.recv(100) == b"READY=1"
            assert (found[0].number, found[0].accepted) == ("30718", True)
            assert running.err.get(timeout=WAIT_S).endswith(" trusted: 30718 is the first number trusted")

            write("window = 1\nneeded = 1\ndigits = 4")
            assert running.reload() == "digitcam: the configuration was read anew"
            found += running.next(image)
            assert found[-1].reason == "pattern"

            # What cannot be used changes nothing.
            write("window = 1\nneeded = 1\ndigits = 40")
            expected = (
                f"digitcam: {config}, line 8: rules.digits: expected a whole number <= 20: "
                "the configuration stays as it was"
            )
            assert running.reload() == expected
            found += running.next(image)
            assert found[-1].reason == "pattern"

            write("window = 1\nneeded = 1\ndigits = 5\n[[regions]]\nname = 'far'\nbox = [900, 0, 9, 9]")
            assert running.reload() == (
                "digitcam: regions: far reaches out of the 256x128 frame: draw it anew"
                ": the configuration stays as it was"
            )

            # A network that is overwritten while it is used is still used.
            (bundle / "model.int8.onnx").write_bytes(b"rubbish")
            write("window = 1\nneeded = 1\ndigits = 5")
            found += running.next(image)
            assert (found[-1].number, found[-1].reason) == ("30718", "pattern")
            said = running.reload()
            assert said.startswith("digitcam: ") and "model.int8.onnx" in said
            assert said.endswith(": the configuration stays as it was")
            found += running.next(image)
            assert (found[-1].number, found[-1].reason) == ("30718", "pattern")

            write("window = 1\nneeded = 1\ndigits = 5", model="canvas")
            assert running.reload() == "digitcam: the configuration was read anew"
            found += running.next(image)
            assert (found[-1].reason, found[-1].accepted) == ("", True)

            # The folder was watched all the time by the same source: it skipped nothing and counted on.
            assert [reading.seq for reading in found] == list(range(len(found)))
            running.process.terminate()
            assert running.process.wait(WAIT_S) == 0
        finally:
            running.process.kill()
            running.process.wait(WAIT_S)


def test_check_opens_nothing_and_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "run.toml"
    config.write_text("source = 'watch:gone'\n[mqtt]\nhost = 'nobody.invalid'")
    assert cli.main(["run", "--config", str(config), "--check"], standalone_mode=False) == 0
    assert capsys.readouterr() == ("", f"{config}: ok\n")
    (tmp_path / "file").touch()
    for text, says in (
        (f"[history]\nfile = '{tmp_path}'", "is a folder: change history.file"),
        (f"[history]\nfile = '{tmp_path}/file/x/history.db'", "file is no folder: change history.file"),
        (f"[hard_frames]\nfolder = '{tmp_path}/file'", "file is no folder: change hard_frames.folder"),
    ):
        config.write_text(text)
        with pytest.raises(ConfigError, match=f"{says}$"):
            cli.main(["run", "--config", str(config), "--check"], standalone_mode=False)
    config.write_text(f"[history]\nfile = '{tmp_path}/new/history.db'\n[hard_frames]\nfolder = '{tmp_path}/new/hard'")
    assert cli.main(["run", "--config", str(config), "--check"], standalone_mode=False) == 0
    assert not (tmp_path / "new").exists()
    for text, error in (("model = 'gone'", ModelError), ("source = 'telnet://x'", ConfigError), ("x = 1", ConfigError)):
        config.write_text(text)
        with pytest.raises(error):
            cli.main(["run", "--config", str(config), "--check"], standalone_mode=False)


def test_where_this_user_may_not_look_the_check_asks_nothing(tmp_path: Path) -> None:
    file = History(file=f"{tmp_path}/history.db")
    with hidden(tmp_path):
        check_folders(RunConfig(history=file, hard_frames=HardFrames(folder=f"{tmp_path}/hard")))
        with pytest.raises(ConfigError, match=r"/etc/passwd is no folder: change hard_frames\.folder$"):
            check_folders(RunConfig(history=file, hard_frames=HardFrames(folder="/etc/passwd")))


class Folder(Frames):
    """A source that gives its frames and then waits for more until it is told to stop."""

    fresh_s: float | None = None

    def until(self, stop: threading.Event) -> Iterator[Frame]:
        yield from iter(self)
        self.truths = []
        while not stop.is_set():
            stop.wait(0.05)


def test_while_no_frame_comes_the_number_is_held_and_a_quiet_folder_feeds_the_watchdog(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    play(monkeypatch, ["12"], Folder([None]))
    monkeypatch.setattr(runner, "IDLE_S", 0.1)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)

        def end_when_fed() -> None:
            while manager.recv(100) != b"READY=1\nWATCHDOG=1":
                pass
            os.kill(os.getpid(), signal.SIGTERM)

        ending = threading.Thread(target=end_when_fed)
        ending.start()
        # The frame is of March: since then the number was not read.
        assert run(RunConfig(rules=Rules(window=1, needed=1))) == 0
        ending.join()
    told = capsys.readouterr().err.splitlines()
    assert told[0].endswith("trusted: 12 is the first number trusted")
    assert " held: 12 is held: not read for " in told[1] and told[1].endswith(" s: no frame came")
    assert len(told) == 3  # once, and the summary


class Timed(Frames):
    """A frame every ten seconds, while the clock is set: by so many seconds before the frame of a `seq`."""

    def __init__(self, count: int, before_seq: int, jump_s: float) -> None:
        super().__init__([None] * count)
        self.before_seq, self.jump_s = before_seq, jump_s

    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            at_s = 10.0 * frame.seq
            jumped_s = self.jump_s if frame.seq >= self.before_seq else 0.0
            yield frame._replace(ts=readings.NOON + timedelta(seconds=at_s + jumped_s), steady_s=500 + at_s)


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0, 0.0])
def test_a_clock_that_is_set_gives_a_false_number_no_time(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, jump_s: float
) -> None:
    # Two of three frames read the false number from seq 4 on, 40 s after the first; the clock is set then.
    play(monkeypatch, [*["417"] * 3, *["317"] * 70], Timed(73, before_seq=5, jump_s=jump_s))
    run(RunConfig(rules=Rules(window=3, needed=2, rising=True, takeover_s=600)))
    stood = [outcome.number for outcome in collector.outcomes]
    # 640 s after the first it takes over.
    assert stood == [None, *["417"] * 63, *["317"] * 9]
    trust = collector.outcomes[-1].trust
    assert trust and [event.kind for event in trust.history] == ["trusted", "held", "takeover"]
    # What is told of it is by the calendar.
    assert trust.standing and trust.standing.since == readings.NOON + timedelta(seconds=40 + jump_s)


def test_a_clock_that_is_set_gives_the_number_no_time_to_change(
    monkeypatch: pytest.MonkeyPatch, collector: Collector
) -> None:
    # At 6 a minute, half a minute makes 4 of the 13; an hour made them all.
    play(monkeypatch, [*["417"] * 3, *["430"] * 3], Timed(6, before_seq=3, jump_s=3600))
    run(RunConfig(rules=Rules(window=1, needed=1, per_minute=6)))
    assert [outcome.best.reason for outcome in collector.outcomes] == ["", "", "", *["too_fast"] * 3]


def test_a_clock_that_is_set_while_no_frame_comes_holds_no_number(
    monkeypatch: pytest.MonkeyPatch, collector: Collector
) -> None:
    camera = Folder([None])
    play(monkeypatch, ["12"], camera)
    now, now_s = datetime.now(timezone.utc), time.monotonic()

    def wait(calendar_s: float, steady_s: float) -> dict[str, bool]:
        clock = SimpleNamespace(now=lambda zone: now + timedelta(seconds=calendar_s))
        monkeypatch.setattr(runner, "datetime", clock)
        monkeypatch.setattr(runner.time, "monotonic", lambda: now_s + steady_s)
        running._attend()
        return running.health.report().held

    with Parts() as parts:
        running = Runner(RunConfig(rules=Rules(window=1, needed=1)), ConfigFile(), Control(), parts)
        running.read(readings.frame()._replace(ts=now, steady_s=now_s))
        assert wait(100, 100) == {"": False}
        assert wait(3800, 200) == {"": False}
        assert wait(3890, 290) == {"": False}
        assert wait(3910, 310) == {"": True}


def test_a_slow_source_feeds_the_watchdog_until_its_next_frame_is_late(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, tmp_path: Path
) -> None:
    slow = Folder([None])
    slow.fresh_s = 60
    play(monkeypatch, ["12"], slow)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    now_s = time.monotonic()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, Parts() as parts:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)

        def fed_after(seconds: float) -> bool:
            monkeypatch.setattr(runner.time, "monotonic", lambda: now_s + seconds)
            running._attend()
            with suppress(BlockingIOError):
                return manager.recv(100) == b"READY=1\nWATCHDOG=1"
            return False

        running = Runner(RunConfig(), ConfigFile(), Control(), parts)
        assert not fed_after(0)
        monkeypatch.setattr(runner.time, "monotonic", lambda: now_s)
        running.read(next(iter(slow)))
        manager.recv(100)  # its status
        assert [seconds for seconds in (4, 6, 59, 61, 90) if fed_after(seconds)] == [6, 59]


@pytest.mark.parametrize("rules", [Rules(window=1, needed=1, held_after_s=600), None])
def test_what_is_not_read_is_told_also_where_no_number_stands(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, capsys: pytest.CaptureFixture[str], rules: Rules | None
) -> None:
    # A run begins with the light dead; without rules, a number is read and then nothing more.
    camera = Folder([None, None, None])
    play(monkeypatch, ["?1", "?1" if rules else "12", "?1"], camera)
    frames, begun_s = iter(camera), time.monotonic()

    def held_after(seconds: float, comes: bool) -> dict[str, bool]:
        monkeypatch.setattr(runner.time, "monotonic", lambda: begun_s + seconds)
        if comes:
            running.read(next(frames))
        else:
            running._attend()
        return running.health.report().held

    after_s = rules.held_after_s if rules else 300
    with Parts() as parts:
        monkeypatch.setattr(runner.time, "monotonic", lambda: begun_s)
        running = Runner(RunConfig(rules=rules), ConfigFile(), Control(), parts)
        assert held_after(after_s - 1, comes=False) == {"": False}
        assert held_after(after_s + 1, comes=True) == {"": True}
        assert held_after(after_s + 10, comes=False) == {"": True}
        # Without rules the second frame is read, and 300 s count from there.
        assert held_after(2 * after_s, comes=True) == {"": rules is not None}
        assert held_after(3 * after_s - 10, comes=True) == {"": rules is not None}
        assert held_after(3 * after_s + 1, comes=False) == {"": True}
    told = [line for line in capsys.readouterr().err.splitlines() if "accepted for" in line]
    first = f"digitcam: no reading was accepted for {after_s + 1:.0f} s"
    assert told == ([first] if rules else [first, "digitcam: no reading was accepted for 301 s"])


def test_a_new_run_resumes_what_the_history_kept(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = RunConfig(
        rules=Rules(window=1, needed=1, rising=True, decimals=1), history=History(file=str(tmp_path / "history.db"))
    )
    play(monkeypatch, ["567"])
    run(config)
    play(monkeypatch, ["123", "568"])
    run(config)
    assert [outcome.number for outcome in collector.outcomes] == ["56.7", "56.7", "56.8"]
    assert [outcome.best.reason for outcome in collector.outcomes] == ["", "falls", ""]
    # Rules that the number does not fit begin anew.
    capsys.readouterr()
    play(monkeypatch, ["1234"])
    run(msgspec.structs.replace(config, rules=Rules(window=1, needed=1, digits=4)))
    told = capsys.readouterr().err.splitlines()
    assert told[0] == (
        "digitcam: the number in the history is not resumed: "
        "56.8 has more digits behind the point than rules.decimals = 0"
    )
    assert collector.outcomes[-1].number == "1234"


@pytest.mark.parametrize("uri", ["replay:fault.tar", "fault.tar"])
def test_a_recording_is_no_news_and_begins_with_no_number_of_today(
    uri: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    history = History(file=str(tmp_path / "history.db"))
    config = RunConfig(rules=Rules(window=1, needed=1, rising=True), history=history)
    play(monkeypatch, ["567"])
    run(config)
    capfd.readouterr()
    kept = Path(history.file).read_bytes()
    # All of these would fail here or leave something behind.
    config = msgspec.structs.replace(
        config,
        source=uri,
        mqtt=Mqtt(host="127.0.0.1", port=free_port(), password_file="/gone", username="me", tls=False),
        webhook=Webhook(url=f"http://127.0.0.1:{free_port()}", token_file="/gone"),
        hard_frames=HardFrames(folder=str(tmp_path / "hard")),
    )
    play(monkeypatch, ["123", "124"])
    assert run(config) == 0
    out, err = capfd.readouterr()
    assert [(reading.number, reading.reason) for reading in readings_on(out)] == [("123", ""), ("124", "")]
    left_out = f"digitcam: {uri} is a recording: mqtt, webhook, history, hard_frames of the configuration are left out"
    assert [line for line in err.splitlines() if "trusted: " not in line] == [
        left_out,
        "digitcam: read 2 frames, 2 accepted",
    ]
    assert Path(history.file).read_bytes() == kept
    assert not (tmp_path / "hard").exists()
