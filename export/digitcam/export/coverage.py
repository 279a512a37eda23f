"""`digitcam coverage`: the coverage of a bundle that was exported before it was measured, written into its card."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from digitcam.core.bundle import CARD, Bundle
from digitcam.core.card import Card, encode_card
from digitcam.core.errors import ConfigError, ModelError
from digitcam.core.metrics import Coverage
from digitcam.core.whole import write_file
from digitcam.export.acceptance import coverages
from digitcam.export.parity import read_format
from digitcam.train.data import samples
from digitcam.train.evaluate import Results

SPLIT = "/validation"


def write_coverage(bundle: Bundle, count: int | None = None, say: Callable[[str], None] = print) -> Card:
    """Measure a bundle's coverage on the validation images that its card names, and rewrite the card alone.

    Networks, golden answers, their SHA-256 and the threshold `accept` stay as they are.

    Parameters
    ----------
    count
        Images a data set; by default as many as the card's metrics are of.

    Raises
    ------
    ConfigError
        When the bundle is an archive, or its card cannot be written.
    ModelError
        When the card names no validation images.
    """
    if not bundle.path.is_dir():
        raise ConfigError(f"{bundle.path}: is an archive: unzip it into a folder and name that")
    formats = bundle.formats
    named = bundle.card.metrics.get(formats[0], {}) if formats else {}
    images = {name.removesuffix(SPLIT): m.images for name, m in named.items() if name.endswith(SPLIT)}
    if not images:
        raise ModelError(f"{bundle.path / CARD}: field 'metrics' names no validation images: export the model again")
    found: dict[str, list[Results]] = {format: [] for format in formats}
    for data, of in images.items():
        drawn = list(samples(data, "validation", count or of))
        for format in formats:
            say(f"{format}: {data}, {len(drawn)} validation images")
            found[format].append(read_format(bundle, format, drawn))
    card = msgspec.structs.replace(bundle.card, coverage=coverages(found))
    for format, covered in card.coverage.items():
        say(f"{format}: {', '.join(map(told, covered))}")
    path = bundle.path / CARD
    try:
        write_file(path, encode_card(card))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
    return card


def told(one: Coverage) -> str:
    """Say in words what is covered."""
    if one.threshold is None:
        return f"no confidence gives {100 * one.accuracy:g}% right"
    return f"{100 * one.share:.1f}% of the images at {100 * one.accuracy:g}% right, from {one.threshold:.4f} on"
