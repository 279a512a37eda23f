"""What a measurement was made on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

_PACKAGES = ("digitcam", "numpy", "opencv-python-headless", "onnxruntime", "ai-edge-litert", "torch")
_INT8_FLAGS = ("avx2", "avx512_vnni", "avx_vnni", "asimddp", "i8mm")


class Environment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The machine and the versions; `cpu_int8` are the instruction sets that matter for int8 speed."""

    cpu: str
    cores: int
    cpu_int8: list[str]
    system: str
    python: str
    packages: dict[str, str]


def environment() -> Environment:
    """Describe this machine."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    board = Path("/proc/device-tree/model")
    name = board.read_text().strip("\0") if board.exists() else fields.get("model name", platform.processor())
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return Environment(
        cpu=name,
        cores=os.cpu_count() or 1,
        cpu_int8=[flag for flag in _INT8_FLAGS if flag in flags],
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        packages=versions,
    )
