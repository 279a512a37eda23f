"""A small picamera2 plays the real one here; picamera2_virtual.sh reads through the real one."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from digitcam.core.errors import ConfigError, SourceError
from digitcam.edge.sources import open_source, picamera
from digitcam.edge.sources.picamera import Settings, open_camera, pixels

STRIDE = 704


class Transform:
    def __init__(self, hflip: int = 0, vflip: int = 0) -> None:
        self.hflip, self.vflip = hflip, vflip


class Played:
    """Plays picamera2.Picamera2 0.3.38 for one camera without autofocus, and notes what is asked of it."""

    opened: list[Played] = []  # noqa: RUF012
    camera_controls = {"FrameDurationLimits": 0, "ExposureTime": 0, "AnalogueGain": 0}  # noqa: RUF012
    gives: dict[str, Any] = {}  # noqa: RUF012  over what it is asked for
    busy = turns = stalls = False

    @staticmethod
    def global_camera_info() -> list[dict[str, Any]]:
        return [{"Model": "imx219", "Num": 0}]

    def __init__(self, number: int) -> None:
        if self.busy:
            try:
                raise RuntimeError("Failed to acquire camera:\n Device or resource busy")
            except RuntimeError as error:
                raise RuntimeError("Camera __init__ sequence did not complete.") from error
        self.number, self.log = number, ["open"]
        self.opened.append(self)

    def create_video_configuration(self, **given: Any) -> dict[str, Any]:
        return given

    def configure(self, given: dict[str, Any]) -> None:
        self.asked = given
        self.given = {**given, "transform": given["transform"] if self.turns else Transform()}
        for name in ("main", "lores"):
            self.given[name] = given[name] and {**given[name], **self.gives}
        self.log.append("configure")

    def camera_configuration(self) -> dict[str, Any]:
        return self.given

    def stream_configuration(self, name: str) -> dict[str, Any]:
        return self.given[name]  # type: ignore[no-any-return]

    def start(self) -> None:
        self.log.append("start")

    def capture_array(self, name: str, wait: float) -> np.ndarray:
        if self.stalls:
            raise TimeoutError
        width, height = self.given[name]["size"]
        if self.given[name]["format"] == "RGB888":
            return np.full((height, width, 3), (1, 2, 3), np.uint8)
        rows = np.full((height * 3 // 2, STRIDE), 128, np.uint8)
        rows[:height, :width] = 7
        return rows

    def close(self) -> None:
        self.log.append("close")


@pytest.fixture(autouse=True)
def _played(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, values in (("libcamera", {"Transform": Transform}), ("picamera2", {"Picamera2": Played})):
        module = ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(Played, "opened", [])


def played() -> Played:
    return Played.opened[-1]


def refused(uri: str, kind: type[Exception]) -> str:
    with pytest.raises(kind) as caught, open_source(f"{uri}#tries=1") as source:
        next(iter(source))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("stream", "shape", "value"), [("lores", (480, 640), [7]), ("main", (480, 640, 3), [1, 2, 3])])
def test_a_frame_of_each_stream(stream: str, shape: tuple[int, ...], value: list[int]) -> None:
    uri = f"picamera2://0?stream={stream}"
    with open_source(f"{uri}#stall_s=5") as source:
        frame = next(iter(source))
    assert (frame.source, frame.image.shape) == (uri, shape)
    assert frame.image.flags.c_contiguous
    assert np.unique(frame.image).tolist() == value
    assert played().log == ["open", "configure", "start", "close"]
    asked = played().asked
    assert asked["main"] == {"size": (640, 480), "format": "RGB888"}
    assert asked["lores"] == ({"size": (640, 480), "format": "YUV420"} if stream == "lores" else None)
    assert asked["raw"] is None and asked["queue"] is False


def test_all_that_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Played, "camera_controls", {**Played.camera_controls, "AfMode": 0, "LensPosition": 0})
    monkeypatch.setattr(Played, "turns", True)
    with open_source("picamera2://0?fps=4&exposure_us=250000&gain=2.5&focus=8&rotation=180") as source:
        next(iter(source))
    asked = played().asked
    assert asked["controls"] == {
        "FrameDurationLimits": (250000, 250000),
        "ExposureTime": 250000,
        "AnalogueGain": 2.5,
        "AfMode": 0,
        "LensPosition": 8.0,
    }
    assert (asked["transform"].hflip, asked["transform"].vflip) == (1, 1)


def test_padding_is_cut_off() -> None:
    memory = np.arange(6 * 5, dtype=np.uint8).reshape(6, 5)
    assert pixels(memory, "NV12", 3, 4).tolist() == [[0, 1, 2], [5, 6, 7], [10, 11, 12], [15, 16, 17]]


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("picamera2://", "write a Pi's camera as picamera2://0"),
        ("picamera2://imx219", "write a Pi's camera as picamera2://0"),
        ("picamera2://0?widht=5", "option 'widht' is not known: use stream, width, height"),
        ("picamera2://0?width=641", "$.width"),
        ("picamera2://0?stream=raw", "$.stream"),
        ("picamera2://0?rotation=90", "cannot turn by 90: turn the region instead"),
        ("picamera2://0?rotation=45", "rotation is 0 or 180"),
        ("picamera2://0?exposure_us=200000", "longer than a frame at 10 fps: lower fps to 5, or exposure_us"),
        ("picamera2://0#stall=5", "option 'stall' is not known: use stall_s, tries"),
    ],
)
def test_what_is_no_camera(uri: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_source(uri)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("gives", "query", "words"),
    [
        ({"format": "MJPEG"}, "", "gives MJPEG, which is not read here: read a USB camera as v4l2:///dev/video0"),
        ({"size": (656, 480)}, "", "does not take this size: use width=656&height=480"),
        ({}, "?rotation=180", "does not turn: leave rotation out and turn the region instead"),
        ({}, "?focus=3", "the camera has no focus to set: leave focus out"),
    ],
)
def test_what_a_camera_does_not_take(
    gives: dict[str, Any], query: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Played, "gives", gives)
    assert words in refused(f"picamera2://0{query}", ConfigError)
    assert played().log[-1] == "close"


def test_no_such_camera_and_one_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "picamera2://1: no camera number 1, 1 found: check the ribbon" in refused("picamera2://1", SourceError)
    monkeypatch.setattr(Played, "busy", True)
    said = refused("picamera2://0", SourceError)
    assert said.startswith("picamera2://0: Failed to acquire camera: Device or resource busy: end what else uses")


def test_a_camera_that_stalls_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Played, "stalls", True)
    camera = open_camera("cam:", 0, Settings(), 10)
    with pytest.raises(SourceError, match=r"^cam:: no frame for 9 s: check the ribbon cable$"):
        camera.read()
    refused("picamera2://0", SourceError)
    assert played().log[-1] == "close"


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    said = refused("picamera2://0", ConfigError)
    assert "sudo apt install -y python3-picamera2, and make the virtual environment with --system" in said


def test_what_is_closed_where_a_camera_does_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    class Half:
        def __init__(self, number: int) -> None:
            self.notifyme_w = 12345
            raise RuntimeError("in use")

    closed: list[int] = []
    monkeypatch.setattr(picamera, "os", SimpleNamespace(close=closed.append))
    with pytest.raises(RuntimeError):
        picamera._open(Half, 0)
    assert closed == [12345]
