"""`digitcam doctor`: what on this machine would stop digitcam, each fault with its mend.

Nothing is changed, published or kept. A check is in `machine` (what the computer is) or `parts` (what the
configuration names); `bounded` runs them, so that one that hangs or dies is a finding too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from digitcam.core.errors import ConfigError, ModelError, SinkError, SourceError
from digitcam.edge.board import Board

if TYPE_CHECKING:
    from digitcam.edge.config import ConfigFile, RunConfig

BOUND_S = 120.0
"""How long a check may take, the libraries' loading on a slow and busy board included."""


class Finding(NamedTuple):
    """What a check found.

    check
        Its name.
    state
        `ok`; `warn`, what may stop digitcam or slow it down; `fail`, what stops it.
    found, mend
        In words; `mend` is empty where all is well.
    exit_code
        Of the command, where this is the first fault.
    """

    check: str
    state: Literal["ok", "warn", "fail"]
    found: str
    mend: str = ""
    exit_code: int = 0

    @property
    def line(self) -> str:
        """The finding for people."""
        return f"{self.state:4}  {self.check}: {self.found}" + (f"; {self.mend}" if self.mend else "")

    @property
    def record(self) -> dict[str, str]:
        """The finding for machines."""
        return {"check": self.check, "state": self.state, "found": self.found, "mend": self.mend}


class Check(NamedTuple):
    """A check: what it is called, what does it, and what to say when it cannot.

    call
        Gives the finding, in a process of its own: it must survive pickling. A DigitcamError it raises is a failure
        with the error's exit code.
    mend, exit_code
        Of a failure that the check itself had no word for: an error, a hang, a crash.
    """

    name: str
    call: Callable[[], Finding]
    mend: str
    exit_code: int


def examine(file: ConfigFile, board: Board | None = None, bound_s: float = BOUND_S) -> Iterator[Finding]:
    """Yield what is found, one check after the other.

    Parameters
    ----------
    file
        The run configuration. Where it cannot be used, only the machine is examined.
    board
        The machine; None for this one.
    bound_s
        How long a check may take.
    """
    from digitcam.edge.doctor.bounded import run

    board = board or Board()
    config: RunConfig | None = None
    try:
        config = file.load()
    except ConfigError as error:
        mend = "put that right; edge/configs/ has every key explained"
        yield Finding("configuration", "fail", str(error), mend, error.exit_code)
    else:
        given = ", ".join(f"{key} {value}" for key, value in file.given.items()) or "the defaults"
        yield Finding("configuration", "ok", str(file.path or f"no file given: {given}"))
    checks = _of_machine(board, config)
    if config:
        from digitcam.edge.doctor import parts

        again = "install the engine anew: pip install --force-reinstall 'digitcam[litert]' (or [onnx])"
        camera = "see that nothing else uses it (systemctl stop digitcam), and try digitcam run --frames 3 with it"
        broker = "see that the broker runs, and is the one in [mqtt] of the configuration"
        checks += [
            Check(
                "engine",
                partial(parts.engine, config.bundle, config.format, config.signers),
                again,
                ModelError.exit_code,
            ),
            Check("camera", partial(parts.camera, config.source), camera, SourceError.exit_code),
            Check("broker", partial(parts.broker, config.mqtt), broker, SinkError.exit_code),
        ]
    yield from run(checks, bound_s)


def exit_code(findings: Iterable[Finding]) -> int:
    """Return the command's exit code: that of the first failure, 0 when there is none."""
    return next((finding.exit_code for finding in findings if finding.state == "fail"), 0)


def written_to(config: msgspec.Struct) -> list[Path]:
    """Return the files and folders a configuration writes to: what its tables call `file` or `folder`."""
    tables = [table for table in msgspec.structs.asdict(config).values() if isinstance(table, msgspec.Struct)]
    places = [getattr(table, key, None) for table in tables for key in ("file", "folder")]
    return [Path(place) for place in places if place]


def _of_machine(board: Board, config: RunConfig | None) -> list[Check]:
    from digitcam.edge.doctor import machine

    source, written = (config.source, written_to(config)) if config else (None, [])
    again = "install numpy anew, see the README's quickstart"
    look = "look into the system's log: journalctl --dmesg"
    return [
        Check("python", machine.python, "install Python 3.10 to 3.13", ModelError.exit_code),
        Check("numpy", partial(machine.numpy, source), again, SourceError.exit_code),
        Check("memory", partial(machine.memory, board, source), look, 1),
        Check("temperature", partial(machine.temperature, board), look, 1),
        Check("power", partial(machine.power, board), look, 1),
        Check("clock", partial(machine.clock, board), look, 1),
        Check(
            "disk",
            partial(machine.disk, board, written),
            "see whether a network drive hangs: mount",
            SinkError.exit_code,
        ),
    ]
