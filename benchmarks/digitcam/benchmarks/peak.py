"""The most multiplications a second that this machine does, seen in onnxruntime's matrix products.

`gemm.fp32.onnx` is a single MatMul, `gemm.int8.onnx` a single MatMulInteger (uint8 times int8 into int32, what
quantised convolutions come down to); the sizes are open, the matrices are given when it runs.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from digitcam.benchmarks.results import Peak

SIZES = (256, 512)
"""Rows and columns: the first fits every cache, the second wastes less at the edges; the better one counts."""
SECONDS, MIN_RUNS = 1.0, 5
MAC = 1e9


def peak(threads: int, seconds: float = SECONDS) -> Peak:
    """Measure the peak for a number of threads; each size and precision takes about so many seconds."""
    try:
        import onnxruntime
    except ModuleNotFoundError:
        return Peak(None, None, "not measured: it needs onnxruntime: pip install 'digitcam[onnx]'")
    rng = np.random.default_rng(0)
    found = {}
    for precision, kinds in (("fp32", (np.float32, np.float32)), ("int8", (np.uint8, np.int8))):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        model = Path(__file__).with_name(f"gemm.{precision}.onnx").read_bytes()
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        rates = []
        for size in SIZES:
            a, b = (rng.integers(0, 100, (size, size)).astype(kind) for kind in kinds)
            rates.append(size**3 / _shortest_s(session, {"a": a, "b": b}, seconds) / MAC)
        found[precision] = round(max(rates), 2)
    sizes = " or ".join(str(size) for size in SIZES)
    how = f"onnxruntime {onnxruntime.__version__}, MatMul and MatMulInteger of {sizes} rows and columns, the best run"
    return Peak(found["fp32"], found["int8"], how)


def _shortest_s(session: Any, feed: dict[str, np.ndarray], seconds: float) -> float:
    shortest, runs, began = float("inf"), 0, time.perf_counter()
    while runs < MIN_RUNS or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        session.run(None, feed)
        shortest = min(shortest, time.perf_counter() - start)
        runs += 1
    return shortest
