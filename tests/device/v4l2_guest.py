"""Our source on a real V4L2 device: run by v4l2_guest.sh, inside the machine that it starts."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from digitcam.core.arrays import UInt8Array
from digitcam.core.bundle import open_bundle
from digitcam.core.canvas import draw_glyphs, rng_for
from digitcam.core.errors import SourceError
from digitcam.core.reading import decode_reading
from digitcam.edge.pipeline import Reader
from digitcam.edge.sources import Frame, open_source
from digitcam.edge.sources.live import LiveSource

NUMBER = "4096"
WIDTH, HEIGHT = 640, 320
LOOPBACK, VIVID = Path("/dev/video5"), Path("/dev/video9")
URI = f"v4l2://{LOOPBACK}?width={WIDTH}&height={HEIGHT}&format=YUYV"
STALL_S = 5
WAIT_S = 180.0
"""How long anything may take: the machine is emulated."""
NEAR = 2
"""How many grey levels a frame may differ from its picture: rounding, there and back."""


def main() -> None:
    print(f"Python {sys.version.split()[0]}, OpenCV {cv2.__version__}, {version('v4l2loopback')}")
    picture = draw_glyphs(NUMBER, rng_for(11, 5, 0)).image
    picture = cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)  # type: ignore[assignment]
    modprobe("v4l2loopback", f"video_nr={LOOPBACK.name.removeprefix('video')}", "exclusive_caps=1")
    frame = yuyv(16 + picture * (219 / 255))
    with fed(frame):
        the_command()
        one_line_for_what_it_does_not_take()
    grey_levels(picture, frame)
    frozen_and_gone(frame)
    unplugged()


# What is checked


def the_command() -> None:
    start_s = time.monotonic()
    done = digitcam_run(f"{URI}#stall_s=60", 5)
    assert done.returncode == 0, done.stderr
    readings = [decode_reading(line) for line in done.stdout.splitlines()]
    assert [reading.number for reading in readings] == [NUMBER] * 5, done.stdout
    print(f"digitcam run: {NUMBER} five times, in {time.monotonic() - start_s:.0f} s (emulated)")


def one_line_for_what_it_does_not_take() -> None:
    for query, name in (("format=MJPG", "format"), ("width=320&height=240&format=YUYV", "width")):
        done = digitcam_run(f"v4l2://{LOOPBACK}?{query}", 1)
        lines = said(done)
        assert (done.returncode, done.stdout, len(lines)) == (2, "", 1), done
        assert f"the camera does not take this {name}: see v4l2-ctl" in lines[0], lines
        print(f"exit code 2: {lines[0]}")


def grey_levels(picture: UInt8Array, limited: bytes) -> None:
    full = yuyv(picture.astype(np.float64))
    for name, frame, query, near in (
        ("limited", limited, "", True),
        ("full", full, "", False),
        ("full", full, "&range=full", True),
    ):
        with fed(frame), followed(f"{URI}{query}#stall_s=60") as follower:
            image = follower.next().image
        # Grey in, grey out: U and V are 128.
        grey = image.astype(np.int16)
        apart = np.abs(grey - picture[..., None])
        print(f"{name} range{query}: {apart.mean():.2f} grey levels from the picture, {apart.max()} at most")
        assert (apart.max() <= NEAR) == near


def frozen_and_gone(frame: bytes) -> None:
    reader = Reader(open_bundle("canvas"))

    def read() -> None:
        assert reader.read(follower.next())[0].number == NUMBER

    with followed(f"{URI}#stall_s={STALL_S}") as follower:
        with fed(frame) as feeder:
            read()
            feeder.send_signal(signal.SIGSTOP)
            follower.wait(lambda: "no frame for" in follower.source.health().problem)
            print(f"frozen: {follower.source.health()}")
            feeder.send_signal(signal.SIGCONT)
            follower.wait(lambda: follower.source.health().state == "live")
            read()
            print(f"thawed: {follower.source.health()}")
            assert follower.source.health().reopened >= 1
        follower.wait(lambda: follower.source.health().state == "waiting")
        # It can be taken away once nobody holds it, which takes OpenCV's wait for a frame of ten seconds.
        follower.wait(lambda: not subprocess.run(["modprobe", "-r", "v4l2loopback"], capture_output=True).returncode)
        assert not LOOPBACK.exists()
        follower.wait(lambda: "plug the camera in" in follower.source.health().problem)
        print(f"gone: {follower.source.health()}")
        before = follower.source.health().reopened
        modprobe("v4l2loopback", f"video_nr={LOOPBACK.name.removeprefix('video')}", "exclusive_caps=1")
        with fed(frame):
            follower.wait(lambda: follower.source.health().reopened > before)
            read()
            print(f"back: {follower.source.health()}")
            in_use()
    with fed(frame):
        done = digitcam_run(f"{URI}#stall_s=60", 1)
    assert decode_reading(done.stdout).number == NUMBER, done


def in_use() -> None:
    """A camera that somebody reads is not read twice."""
    done = digitcam_run(f"{URI}#stall_s=60&tries=1", 1)
    lines = said(done)
    assert (done.returncode, done.stdout, len(lines)) == (SourceError.exit_code, "", 1), done
    assert "end what else uses it" in lines[0], lines
    print(f"exit code {done.returncode}: {lines[0]}")


def unplugged() -> None:
    """Take the device away under a stream, as a pulled plug does; vivid shows colour bars, so no number is read."""
    driver = Path("/sys/bus/platform/drivers/vivid")
    modprobe("vivid", "n_devs=1", "node_types=0x1", f"vid_cap_nr={VIVID.name.removeprefix('video')}")
    with followed(f"v4l2://{VIVID}?width=640&height=360&format=YUYV#stall_s=30") as follower:
        shape = follower.next().image.shape
        (driver / "unbind").write_text("vivid.0")
        follower.wait(lambda: "plug the camera in" in follower.source.health().problem)
        print(f"unplugged: {follower.source.health()}")
        (driver / "bind").write_text("vivid.0")
        follower.wait(lambda: follower.source.health().reopened == 1)
        assert follower.next().image.shape == shape == (360, 640, 3)
        print(f"plugged in: {follower.source.health()}")


# With what


class Follower:
    """Takes a source's frames in a thread of its own, as a run does, so that stalls are noticed meanwhile."""

    def __init__(self, source: LiveSource) -> None:
        self.source, self.over = source, threading.Event()
        self._came = threading.Condition()
        self._newest: Frame | None = None
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def next(self) -> Frame:
        """Wait for a frame that comes from now on."""
        with self._came:
            self._newest = None
            assert self._came.wait_for(lambda: self._newest, WAIT_S), self.source.health()
            assert self._newest
            return self._newest

    def wait(self, until: Callable[[], bool]) -> None:
        """Wait until something is so."""
        end_s = time.monotonic() + WAIT_S
        while not until():
            assert time.monotonic() < end_s, self.source.health()
            time.sleep(0.1)

    def stop(self) -> None:
        self.over.set()
        self._thread.join(WAIT_S)

    def _follow(self) -> None:
        for frame in self.source.until(self.over):
            with self._came:
                self._newest = frame
                self._came.notify_all()


@contextmanager
def followed(uri: str) -> Iterator[Follower]:
    source = open_source(uri)
    assert isinstance(source, LiveSource)
    with source:
        follower = Follower(source)
        try:
            yield follower
        finally:
            follower.stop()


@contextmanager
def fed(frame: bytes) -> Iterator[subprocess.Popen[bytes]]:
    """Show a frame on the loopback device until the end of the block."""
    file = Path("frame.yuyv")
    file.write_bytes(frame)
    feeder = Path(__file__).with_name("v4l2_feeder.py")
    command = [sys.executable, "-S", str(feeder), str(LOOPBACK), str(WIDTH), str(HEIGHT), str(file)]
    with subprocess.Popen(command) as process:
        try:
            yield process
        finally:
            process.kill()


def yuyv(luma: np.ndarray) -> bytes:
    """Return a frame of this luma [height, width] without colour, as YUYV."""
    chroma = np.full_like(luma, 128)
    return bytes(np.stack([luma, chroma], axis=2).round().astype(np.uint8))


def digitcam_run(uri: str, frames: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "digitcam.cli", "run", "--model", "canvas", "--source", uri, "--frames"]
    return subprocess.run([*command, str(frames)], capture_output=True, text=True, timeout=WAIT_S)


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the lines of ours on standard error; LiteRT has something to say too."""
    return [line for line in done.stderr.splitlines() if not line.startswith("INFO: ")]


def modprobe(*words: str) -> None:
    subprocess.run(["modprobe", *words], check=True)


def version(module: str) -> str:
    words = ["modinfo", "-F", "version", module]
    return f"{module} {subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()}"


if __name__ == "__main__":
    main()
