"""Checks run in a process of their own, so that one that hangs or dies is told and the others still run.

Foreign code is what is examined: a wheel for another processor ends the process, a driver may never answer. One
process does all checks in turn; a new one takes over where it hangs or dies.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from digitcam.core.errors import DigitcamError
from digitcam.edge.doctor import Check, Finding

END_S = 2.0
"""How long a process that has no more to say may take to end, before it is killed."""


def run(checks: Sequence[Check], bound_s: float) -> Iterator[Finding]:
    """Yield each check's finding; one that takes longer than `bound_s` seconds, or dies, has failed."""
    rest = list(checks)
    while rest:
        ours, theirs = get_context("spawn").Pipe(duplex=False)
        # Not forked: a fork of a process with threads may hang by itself.
        process = get_context("spawn").Process(target=_work, args=(rest, theirs), daemon=True)
        process.start()
        theirs.close()
        alive = True
        try:
            while rest and alive:
                finding = _answer(process, ours, bound_s)
                alive = finding is not None
                yield finding or _silent(process, rest[0], bound_s)
                rest.pop(0)
        finally:
            _end(process, END_S if alive else 0)
            ours.close()


def _answer(process: BaseProcess, pipe: Connection, bound_s: float) -> Finding | None:
    """Return what a process found; None when it says nothing in time, or has died."""
    try:
        return pipe.recv() if pipe.poll(bound_s) else None
    except EOFError:
        process.join(END_S)
        return None


def _silent(process: BaseProcess, check: Check, bound_s: float) -> Finding:
    """Return what to say of a process without an answer, before it is killed."""
    code = process.exitcode
    if code is None:
        found = f"no answer in {bound_s:g} s"
    elif code < 0:
        found = f"the check died of {signal.Signals(-code).name}"
        # A wheel built for newer processors: onnxruntime 1.21.0 on a Raspberry Pi 4.
        found += ": a library uses what this processor lacks" if -code == signal.SIGILL else ""
    else:
        found = f"the check ended with exit code {code}"
    return Finding(check.name, "fail", found, check.mend, check.exit_code)


def _end(process: BaseProcess, wait_s: float) -> None:
    process.join(wait_s)
    if process.is_alive():
        process.kill()
        process.join(END_S)


def _work(checks: Sequence[Check], pipe: Connection) -> None:
    """Do the checks in turn and send what each finds."""
    # Who interrupts the command ends this process with it; two tracebacks would help nobody.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for check in checks:
        try:
            finding = check.call()
        except DigitcamError as error:
            finding = Finding(check.name, "fail", str(error), check.mend, error.exit_code)
        except Exception as error:  # whatever a broken installation may raise
            said = " ".join(f"{type(error).__name__}: {error}".split())
            finding = Finding(check.name, "fail", said, check.mend, check.exit_code)
        pipe.send(finding)
