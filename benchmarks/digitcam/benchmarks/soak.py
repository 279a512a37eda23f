"""`bench soak`: a run as long as one likes, with a broker and its page open; memory, threads, descriptors, readings.

The run is `digitcam run` in a process of its own, on drawn frames, with a Mosquitto of its own on loopback. A
subscriber counts what arrives, and the page's picture and numbers are fetched every second, as a browser does.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from digitcam.benchmarks.environment import environment
from digitcam.benchmarks.results import Sample, SoakResult
from digitcam.benchmarks.subject import subject
from digitcam.benchmarks.validity import growth, soak_objections
from digitcam.core.bundle import Bundle
from digitcam.core.errors import BenchmarkInvalidError, ConfigError
from digitcam.edge import engines

WARM_UP = 0.02
"""Share of the frames before the first sample."""
EVERY_S = 1.0
"""How often the page is fetched and the process looked at."""
SAMPLES = 100
"""How many samples a result keeps, at most twice as many."""
PATIENCE_S = 60.0
"""How long the run may take to start, to send a next reading, and to end."""


def soak(bundle: Bundle, frames: int, format: str | None = None, say: Callable[[str], None] = print) -> SoakResult:
    """Run for `frames` frames; return what became of memory and readings, and whether that will do for months.

    Raises
    ------
    ConfigError
        When there is no Mosquitto.
    BenchmarkInvalidError
        When the run ends early, or stands still.
    """
    format = format or engines.default_format()
    with tempfile.TemporaryDirectory() as folder, _mosquitto(Path(folder)) as port:
        arrived = _Arrived(frames)
        client = Client(CallbackAPIVersion.VERSION2)
        client.on_connect = lambda client, *_: client.subscribe("soak/reading", 1)
        client.on_message = lambda client, data, message: arrived.add(message.payload)
        client.connect("127.0.0.1", port)
        client.loop_start()
        page = f"http://127.0.0.1:{_free_port()}"
        config = Path(folder) / "soak.toml"
        config.write_text(_config(bundle, format, port, page))
        command = [sys.executable, "-m", "digitcam.cli", "run", "--config", str(config), "--frames", str(frames)]
        began = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as run:
            try:
                samples, pages = _watch(run, arrived, page, frames, say)
                _, said = run.communicate(timeout=PATIENCE_S)
            finally:
                run.kill()
        seconds = time.monotonic() - began
        if run.returncode:
            raise BenchmarkInvalidError(f"the run ended with exit code {run.returncode}: {said.strip()[-300:]}")
        _settle(arrived, frames)
        client.disconnect()
        client.loop_stop()
    reasons = soak_objections(frames - arrived.count, samples)
    result = SoakResult(
        subject=subject(bundle, [format]),
        environment=environment(),
        seconds=round(seconds, 1),
        frames=frames,
        received=arrived.count,
        lost=frames - arrived.count,
        growth_mb=growth([sample.memory_mb for sample in samples]),
        pages=pages,
        samples=samples,
        valid=not reasons,
        reasons=reasons,
    )
    say(f"{frames} frames in {seconds:.0f} s, {result.lost} lost; memory grew by {result.growth_mb:+.2f} MB")
    return result


class Samples:
    """Samples of a run of any length: few, evenly apart, the first among them."""

    def __init__(self) -> None:
        self.kept: list[Sample] = []
        self._seen, self._stride = 0, 1

    def add(self, sample: Sample) -> None:
        """Keep a sample if it is its turn; once there are twice as many as are wanted, every other one goes."""
        if self._seen % self._stride == 0:
            self.kept.append(sample)
        self._seen += 1
        if len(self.kept) == 2 * SAMPLES:
            self.kept, self._stride = self.kept[::2], 2 * self._stride


class _Arrived:
    """Which frames the subscriber has got readings of."""

    def __init__(self, frames: int) -> None:
        self._seen = bytearray(frames)
        self.count = 0

    def add(self, payload: bytes | bytearray) -> None:
        seq = json.loads(payload)["seq"]
        self.count += not self._seen[seq]
        self._seen[seq] = 1


def _watch(
    run: subprocess.Popen[str], arrived: _Arrived, page: str, frames: int, say: Callable[[str], None]
) -> tuple[list[Sample], int]:
    """Sample the run until it ends; return the samples after the warm-up, and how often the page was fetched."""
    samples = Samples()
    pages, last, moved_s = 0, 0, time.monotonic()
    while run.poll() is None:
        time.sleep(EVERY_S)
        if arrived.count != last:
            last, moved_s = arrived.count, time.monotonic()
        elif time.monotonic() - moved_s > PATIENCE_S:
            raise BenchmarkInvalidError(f"no reading for {PATIENCE_S:.0f} s after {last} frames")
        if last < WARM_UP * frames or last >= frames:
            continue
        try:
            for path in ("/", "/api/reading", "/api/health", "/frame.jpg"):
                with urllib.request.urlopen(page + path, timeout=PATIENCE_S) as answer:
                    answer.read()
            pages += 1
            sample = _sample(run.pid, last)
        except OSError:  # it has just ended
            continue
        samples.add(sample)
        if pages % 60 == 0:
            say(f"{last} frames, {sample.memory_mb:.1f} MB, {sample.threads} threads, {sample.descriptors} descriptors")
    if not samples.kept:
        raise BenchmarkInvalidError("the run ended before its memory was looked at: more frames")
    return samples.kept, pages


def _sample(pid: int, frames: int) -> Sample:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    memory_kb, threads = (int(re.findall(rf"{key}:\s*(\d+)", status)[0]) for key in ("VmRSS", "Threads"))
    descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Sample(frames, round(memory_kb * 1024 / 1e6, 3), threads, descriptors)


def _settle(arrived: _Arrived, frames: int) -> None:
    """Wait a little for what the broker has not passed on yet."""
    for _ in range(100):
        if arrived.count == frames:
            return
        threading.Event().wait(0.1)


def _config(bundle: Bundle, format: str, port: int, page: str) -> str:
    values: dict[str, Any] = {"source": "demo:", "model": str(bundle.path.resolve()), "format": format}
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    lines += ["[rules]", "window = 1", "needed = 1"]
    lines += ["[mqtt]", 'host = "127.0.0.1"', f"port = {port}", "tls = false", 'topic = "soak"']
    lines += ["[web]", f"port = {page.rpartition(':')[2]}"]
    return "\n".join(lines) + "\n"


@contextmanager
def _mosquitto(folder: Path) -> Iterator[int]:
    """Run a broker of our own; give its port."""
    if (command := shutil.which("mosquitto")) is None:
        raise ConfigError("bench soak needs Mosquitto: apt install mosquitto")
    port = _free_port()
    config = folder / "mosquitto.conf"
    # It may hold back what the subscriber is too slow for; none of it may be thrown away.
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
    with subprocess.Popen([command, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as broker:
        try:
            _wait_for(port)
            yield port
        finally:
            broker.terminate()


def _wait_for(port: int) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise BenchmarkInvalidError("Mosquitto does not start")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
