"""A board for what is watched."""

from __future__ import annotations

from pathlib import Path

import pytest

from digitcam.edge.board import Board


@pytest.fixture
def hot_pi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    """A Raspberry Pi that is well, alone, and hot after the third time that it is asked, which it is at every look."""
    monkeypatch.setattr("digitcam.benchmarks.watch.EVERY_S", 0.0)
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "vcgencmd").write_text(
        f"#!/bin/sh\n[ $1 = get_throttled ] || exit 1\necho >> {tmp_path}/asked\n"
        f'[ "$(/usr/bin/wc -l < {tmp_path}/asked)" -le 3 ] && echo throttled=0x0 || echo throttled=0xe0008\n'
    )
    (tools / "vcgencmd").chmod(0o755)
    return Board(tmp_path / "root", str(tools))
