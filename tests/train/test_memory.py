from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FREE = """
import sys
import numpy as np
from digitcam.train.memory import keep_freed_memory

def resident():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS")) // 1024

if sys.argv[1] == "keep":
    keep_freed_memory()
before = resident()
large = np.ones(100 * 2**20, np.uint8)
del large
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries cannot be told")
def test_freed_memory_is_kept() -> None:
    kept = {told: subprocess.check_output([sys.executable, "-c", FREE, told], text=True) for told in ("keep", "leave")}
    assert int(kept["keep"]) >= 95 and int(kept["leave"]) <= 5  # of 100 MB
