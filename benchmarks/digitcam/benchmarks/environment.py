"""What a measurement was made on."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from digitcam.core.source import source_commit
from digitcam.edge.board import Board

_PACKAGES = ("digitcam", "numpy", "opencv-python-headless", "onnxruntime", "ai-edge-litert", "torch")
COOLING, SUPPLY = "DIGITCAM_COOLING", "DIGITCAM_SUPPLY"
"""Environment variables in which a user says how a board is cooled, and what feeds it."""
_INT8_FLAGS = ("avx2", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")


class Environment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The machine and the versions; what is None is not told by the machine, or is from before it was asked for.

    cpu_int8
        The instruction sets that matter for int8 speed.
    board, revision
        As the device tree names them: "Raspberry Pi 4 Model B Rev 1.4", "c03114".
    memory_mb
        In 10^6 bytes.
    cooling, supply
        As the user tells them in `COOLING` and `SUPPLY`.
    commit
        Of digitcam's source, see `source_commit`.
    """

    cpu: str
    cores: int
    cpu_int8: list[str]
    system: str
    python: str
    packages: dict[str, str]
    board: str | None = None
    revision: str | None = None
    memory_mb: float | None = None
    os: str | None = None
    kernel: str | None = None
    governor: str | None = None
    cooling: str | None = None
    supply: str | None = None
    commit: str | None = None


def environment(root: Path = Path("/")) -> Environment:
    """Describe this machine, whose files lie below `root`."""
    board = Board(root)
    lines = _text(root / "proc/cpuinfo").splitlines()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    model, memory = board.model(), board.memory()
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return Environment(
        cpu=model or fields.get("model name", platform.processor()),
        cores=os.cpu_count() or 1,
        cpu_int8=[flag for flag in _INT8_FLAGS if flag in flags],
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        packages=versions,
        board=model,
        revision=board.revision() or fields.get("Revision"),
        memory_mb=round(memory.total_mb, 1) if memory else None,
        os=_system_name(root),
        kernel=platform.release(),
        governor=board.governor(),
        cooling=os.environ.get(COOLING, "").strip() or None,
        supply=os.environ.get(SUPPLY, "").strip() or None,
        commit=source_commit(),
    )


def _system_name(root: Path) -> str | None:
    """Return what the system calls itself, as `Debian GNU/Linux 13 (trixie)`: see os-release(5)."""
    found = re.search(r"""^PRETTY_NAME=(["']?)(.+)\1$""", _text(root / "etc/os-release"), re.MULTILINE)
    return found[2] if found else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
