"""How a run goes, in a file: for the installer, which keeps a new version only when it reads.

systemd names the folder, $RUNTIME_DIRECTORY, which lies in memory; without it no file is written.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from digitcam.core.every import every
from digitcam.core.whole import write_file
from digitcam.edge.health import Health
from digitcam.edge.sinks.notices import Notices

NAME = "health.json"
SCHEMA = 1
EVERY_S = 2.0
"""How often it is written."""


class Vitals(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the file holds.

    pid, at_s
        Whose it is, and when it was written, in seconds of CLOCK_MONOTONIC: a device without a battery sets its clock
        only once it is online, so the time of day says nothing of a file's age.
    started, frames, since_frame_s, accepted, rejected, memory_mb
        See `health.Report`.
    number
        The last accepted, as it was read; None before the first.
    broker
        Whether it is connected; None where none is configured.
    """

    schema: int = SCHEMA
    pid: int
    at_s: float
    started: datetime
    frames: int
    since_frame_s: float | None
    accepted: int
    rejected: dict[str, int]
    number: str | None
    broker: bool | None
    memory_mb: float


def vitals(health: Health) -> Vitals:
    """Return how a run of this process goes now."""
    report = health.report()
    shared: dict[str, Any] = {name: getattr(report, name) for name in Vitals.__struct_fields__ if hasattr(report, name)}
    connected = health.broker  # another thread may take it away meanwhile
    return Vitals(
        **shared,
        pid=os.getpid(),
        at_s=round(time.monotonic(), 3),
        number=health.number,
        broker=connected() if connected else None,
    )


@contextmanager
def written(health: Health) -> Iterator[None]:
    """Write the file every `EVERY_S` seconds, also while no frame comes; the last one stays."""
    # Several folders would be parted by colons.
    folder = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if not folder:
        yield
        return
    path = Path(folder) / NAME
    notices = Notices(str(path))

    def write() -> None:
        try:
            write_file(path, msgspec.json.encode(vitals(health)) + b"\n")
            notices.clear("written again")
        except OSError as error:
            notices.tell(f"cannot write it: {error.strerror}: reading goes on")

    write()
    with every(EVERY_S, write, "health"):
        yield
