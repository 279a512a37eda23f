"""The most memory that a process holds which does nothing but run one network.

`python -m digitcam.benchmarks.memory BUNDLE FORMAT THREADS` prints it, in 10^6 bytes.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from digitcam.core.bundle import Bundle, open_bundle
from digitcam.core.errors import BenchmarkInvalidError
from digitcam.edge import engines

RUNS = 10


def memory_mb(bundle: Bundle, format: str, threads: int) -> float:
    """Measure it in a process of its own.

    Raises
    ------
    BenchmarkInvalidError
        When that process fails.
    """
    command = [sys.executable, "-m", "digitcam.benchmarks.memory", str(bundle.path), format, str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise BenchmarkInvalidError(f"memory of {format}: the process ended with exit code {done.returncode}: {last}")
    return float(done.stdout)


def _peak_mb(path: str, format: str, threads: int) -> float:
    # The golden inputs of all formats would take more than many a network.
    import numpy as np

    bundle = open_bundle(path)
    engine, spec = engines.load(bundle, format, threads), bundle.card.input
    tensor = np.zeros((1, spec.height, spec.width, spec.channels), np.uint8)
    for _ in range(RUNS):
        engine.run(tensor)
    # Not getrusage's ru_maxrss, which begins with what the parent held.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (peak_kb,) = re.findall(r"VmHWM:\s*(\d+) kB", status)
    return round(int(peak_kb) * 1024 / 1e6, 1)


if __name__ == "__main__":
    print(_peak_mb(sys.argv[1], sys.argv[2], int(sys.argv[3])))
