"""`bench overhead`: what a run adds to the network's own time, from frame to reading sent."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from digitcam.benchmarks.environment import environment
from digitcam.benchmarks.results import OverheadResult
from digitcam.benchmarks.stages import open_runners, read_timed
from digitcam.benchmarks.subject import subject
from digitcam.benchmarks.validity import objections
from digitcam.benchmarks.watch import Watch
from digitcam.core.bundle import Bundle
from digitcam.edge import engines
from digitcam.edge.board import Board
from digitcam.edge.sources import Frame
from digitcam.edge.sources.demo import DemoSource

SIZE = (640, 480)
"""Width and height of the frames."""
DISTINCT, BLOCK, BLOCKS, WARM_UP = 64, 64, 32, 64
"""Different frames; frames a block, of which the run and the bare network take turns; frames before it counts."""
STARTS, RUN_FRAMES = 21, 300


def overhead(bundle: Bundle, format: str | None = None, say: Callable[[str], None] = print) -> OverheadResult:
    """Time a whole run on frames held in memory, in turn with the bare network; then starting, and its memory.

    The run judges what it reads by rules and writes JSON lines, to nowhere. The board is watched meanwhile.

    Raises
    ------
    ConfigError
        When the bundle lacks the format.
    ModelError
        When its engine is not installed.
    """
    format = format or engines.default_format()
    frames = _frames()
    run_ms: list[float] = []
    rest_ms: list[float] = []
    bare_ms: list[float] = []
    engine, spec = engines.load(bundle, format), bundle.card.input
    tensor = np.zeros((1, spec.height, spec.width, spec.channels), np.uint8)
    board = Board()
    watch = Watch(board, os.sched_getaffinity(0))
    with open_runners(bundle, [format]) as runners:
        read_timed(runners[format], frames[:WARM_UP])
        for _ in range(BLOCKS):
            for times in read_timed(runners[format], frames[:BLOCK]):
                run_ms.append(times.in_hand)
                rest_ms.append(times.in_hand - times.inference)
            bare_ms += _bare(engine, tensor)
            watch.look()
    helps, bares = _starts()
    memory_mb = _memory_mb(bundle, format)
    conditions = watch.found()
    reasons = objections(conditions, board.model())
    result = OverheadResult(
        subject=subject(bundle, [format]),
        environment=environment(),
        format=format,
        frame=SIZE,
        frames=len(run_ms),
        rest_p50_ms=_quantile(rest_ms, 50),
        rest_p90_ms=_quantile(rest_ms, 90),
        rest_p99_ms=_quantile(rest_ms, 99),
        run_fps=round(1e3 / float(np.mean(run_ms)), 1),
        bare_fps=round(1e3 / float(np.mean(bare_ms)), 1),
        help_ms=_quantile(helps, 50),
        python_ms=_quantile(bares, 50),
        memory_mb=memory_mb,
        conditions=conditions,
        valid=not reasons,
        reasons=reasons,
    )
    say(
        f"{format}: {result.rest_p50_ms:.2f} ms a frame besides the network (p99 {result.rest_p99_ms:.2f}); "
        f"{result.run_fps:.0f} frames/s, the bare network {result.bare_fps:.0f}"
    )
    say(f"digitcam --help takes {result.help_ms:.0f} ms, bare Python {result.python_ms:.0f} ms")
    say(f"a run peaks at {result.memory_mb:.0f} MB of memory")
    return result


def _frames() -> list[Frame]:
    """Return demo frames of `SIZE`, uint8 [480, 640, 3]: as wide as that, their proportions kept, on black."""
    found = []
    for frame in islice(DemoSource("demo:"), DISTINCT):
        height = SIZE[0] * frame.image.shape[0] // frame.image.shape[1]
        image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        top = (SIZE[1] - height) // 2
        image[top : top + height] = cv2.resize(frame.image, (SIZE[0], height), interpolation=cv2.INTER_CUBIC)
        found.append(frame._replace(image=image))
    return found


def _bare(engine: engines.Engine, tensor: np.ndarray) -> list[float]:
    times = []
    for _ in range(BLOCK):
        start = time.perf_counter()
        engine.run(tensor)
        times.append((time.perf_counter() - start) * 1e3)
    return times


def _starts() -> tuple[list[float], list[float]]:
    """Time `digitcam --help` and Python doing nothing, in turn, in milliseconds."""
    commands = ([sys.executable, "-m", "digitcam.cli", "--help"], [sys.executable, "-c", "pass"])
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(STARTS):
        for command, taken in zip(commands, times, strict=True):
            start = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            taken.append((time.perf_counter() - start) * 1e3)
    return times


def _memory_mb(bundle: Bundle, format: str) -> float:
    """Return the most memory that a run of its own held, in 10^6 bytes."""
    command = [sys.executable, "-m", "digitcam.cli", "run", "--source", "demo:", "--model", str(bundle.path)]
    command += ["--format", format, "--frames", str(RUN_FRAMES)]
    peak_kb = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        # Not wait4's ru_maxrss, which counts what this process held when it forked.
        while child.poll() is None:
            found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{child.pid}/status").read_text(encoding="ascii"))
            peak_kb = int(found[1]) if found else peak_kb
            time.sleep(0.01)
    return round(peak_kb * 1024 / 1e6, 1)


def _quantile(values: list[float], percent: int) -> float:
    return round(float(np.percentile(values, percent)), 3)
