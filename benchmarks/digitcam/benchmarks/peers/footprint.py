"""What a reader costs besides time: the files installed for it, and the memory of a process that holds it alone."""

from __future__ import annotations

import multiprocessing
import re
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from multiprocessing.connection import Connection
from pathlib import Path

from digitcam.benchmarks.peers.protocol import Peer, Scene
from digitcam.core.errors import BenchmarkInvalidError, ConfigError

_POLL_SECONDS = 0.005


def package_files(*names: str) -> set[Path]:
    """Return the files, as their RECORDs list them, of packages and of all that they require here.

    Raises
    ------
    ConfigError
        When the library that reads requirements is not installed.
    """
    try:
        from packaging.requirements import Requirement
    except ModuleNotFoundError:
        raise ConfigError("bench peers needs packaging: pip install 'digitcam[peers]'") from None

    found: set[Path] = set()
    seen: set[str] = set()
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue
        found |= {Path(str(file.locate())).resolve() for file in package.files or []}
        wanted = map(Requirement, package.requires or [])
        waiting += [one.name for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    return {path for path in found if path.is_file()}


def megabytes(files: Iterable[Path]) -> float:
    """Return the size of files in 10^6 bytes."""
    return round(sum(path.stat().st_size for path in files) / 1e6, 1)


def memory_mb(peer: Peer, reader: int, scenes: Sequence[Scene]) -> float:
    """Return the most memory, in 10^6 bytes, that a process held which reads some scenes with one reader of a peer.

    What it starts counts as well; of several such the largest.

    Raises
    ------
    BenchmarkInvalidError
        When it failed.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=_read, args=(peer, reader, list(scenes), theirs))
    child.start()
    theirs.close()
    own_kb, started_kb = 0, 0
    while child.is_alive():
        own_kb = max(own_kb, _peak_kb(child.pid or 0))
        started_kb = max([started_kb, *map(_peak_kb, _started(child.pid or 0))])
        time.sleep(_POLL_SECONDS)
    child.join()
    if child.exitcode:
        why = ours.recv() if ours.poll() else f"exit code {child.exitcode}"
        raise BenchmarkInvalidError(f"{peer.name}: failed in a process of its own: {why}")
    return round((own_kb + started_kb) * 1024 / 1e6, 1)


def _read(peer: Peer, reader: int, scenes: list[Scene], tell: Connection) -> None:
    try:
        chosen = peer.readers()[reader]
        for scene in scenes:
            chosen.read(scene.image, scene.box_xywh)
    except Exception as error:
        tell.send(str(error))
        raise SystemExit(1) from None


def _peak_kb(pid: int) -> int:
    """Return the most resident memory that a process held, 0 when it has ended."""
    try:
        found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    except OSError:
        return 0
    return int(found[1]) if found else 0


def _started(pid: int) -> list[int]:
    """Return the processes that one has started and that run a program of their own."""
    children: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += map(int, (task / "children").read_text(encoding="ascii").split())
        own = Path(f"/proc/{pid}/exe").readlink()
        # Before it has become the other program a child shares its parent's memory.
        return [child for child in children if Path(f"/proc/{child}/exe").readlink() != own]
    except OSError:
        return []
