import shutil
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from digitcam.cli import cli
from digitcam.core.bundle import SHIPPED, open_bundle
from digitcam.core.card import encode_card
from digitcam.core.errors import ConfigError, ModelError
from digitcam.core.formats import FORMATS
from digitcam.core.metrics import Coverage, Metrics
from digitcam.export.coverage import told

FORMAT = "int8.tflite"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle whose card names three drawn validation images, and knows no coverage."""
    path = Path(shutil.copytree(SHIPPED / "canvas", tmp_path / "bundle"))
    metrics = {format: {"glyphs-variable/validation": Metrics(3, 1, 1, 0, 1, {})} for format in FORMATS}
    rewrite(path, metrics=metrics, coverage={})
    return path


def rewrite(path: Path, **changes: object) -> None:
    card = msgspec.structs.replace(open_bundle(path).card, **changes)
    (path / "card.json").write_bytes(encode_card(card))


def command(*words: object) -> Result:
    return CliRunner().invoke(cli, ["coverage", *map(str, words)], standalone_mode=False)


def test_only_the_card_changes_and_only_its_coverage(bundle: Path) -> None:
    before = open_bundle(bundle).card
    contents = {path.name: path.read_bytes() for path in bundle.iterdir() if path.name != "card.json"}
    done = command(bundle)
    assert done.exception is None and done.stdout == f"{bundle}/card.json\n"
    after = open_bundle(bundle).card
    assert msgspec.structs.replace(after, coverage={}) == before
    assert {path.name: path.read_bytes() for path in bundle.iterdir() if path.name != "card.json"} == contents
    assert set(after.coverage) == set(FORMATS)
    for covered in after.coverage.values():
        assert [one.accuracy for one in covered] == [0.98, 0.99]
        # Shares of three images.
        assert all(3 * one.share == pytest.approx(round(3 * one.share)) for one in covered)
    assert f"{FORMAT}: {told(after.coverage[FORMAT][0])}" in done.stderr


def test_in_words() -> None:
    assert told(Coverage(0.98, 0.75, 0.5)) == "50.0% of the images at 98% right, from 0.7500 on"
    assert told(Coverage(0.99, None, 0.0)) == "no confidence gives 99% right"


def test_a_card_without_validation_images_is_refused(bundle: Path) -> None:
    rewrite(bundle, metrics={})
    card = (bundle / "card.json").read_bytes()
    done = command(bundle)
    assert isinstance(done.exception, ModelError)
    assert str(done.exception).startswith(f"{bundle}/card.json: field 'metrics' names no validation images")
    assert (bundle / "card.json").read_bytes() == card


def test_an_archive_is_not_rewritten(bundle: Path) -> None:
    archive = Path(shutil.make_archive(str(bundle), "zip", bundle))
    done = command(archive)
    assert isinstance(done.exception, ConfigError) and "is an archive: unzip it" in str(done.exception)
