"""Which state of the source runs."""

from __future__ import annotations

import subprocess
from pathlib import Path


def source_commit(file: Path = Path(__file__)) -> str:
    """Return the commit of the checkout that holds a file of the source; "unknown" where none does.

    It ends in `-dirty` where Python files differ from it.
    """
    try:
        # What is installed somewhere in a checkout of something else is none of its files.
        _git(file, "ls-files", "--error-unmatch", file.name)
        commit = _git(file, "rev-parse", "--short=12", "HEAD")
        changed = _git(file, "diff", "--name-only", "HEAD", "--", ":/*.py")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}-dirty" if changed else commit


def _git(file: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=file.parent, capture_output=True, text=True, check=True)
    return done.stdout.strip()
