"""What travels in the wheel: every network keeps to its size and answers here as where it was exported."""

from __future__ import annotations

import pytest

from digitcam.core.bundle import open_bundle
from digitcam.core.card import GridHead
from digitcam.core.formats import FORMATS
from digitcam.edge.selftest import selftest

MOST_MACS = {"canvas": 60e6, "digitcam-s": 120e6, "digitcam-n": 30e6}


@pytest.mark.parametrize("name", MOST_MACS)
def test_a_shipped_network(name: str) -> None:
    bundle = open_bundle(name)
    card = bundle.card
    assert card.name == name and set(bundle.formats) == set(FORMATS)
    assert card.macs <= MOST_MACS[name]
    assert isinstance(card.head, GridHead) and (card.input.height, card.input.width) == (128, 256)
    for replay in selftest(bundle):
        assert replay.same == replay.of == 5, replay
