"""What the tests of all parts share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from digitcam.train import faces, mnist, real, strips, svhn, wheels


@pytest.fixture(autouse=True)
def _needs_mnist(request: pytest.FixtureRequest) -> None:
    """Skip a test marked `mnist` where the files are absent; in CI they must be there."""
    if request.node.get_closest_marker("mnist") is None:
        return
    missing = [name for name in mnist.FILES if not (mnist.folder() / name).exists()]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"{mnist.folder()}: CI needs {', '.join(missing)}: run 'digitcam data fetch mnist'")
    if missing:
        pytest.skip(f"{mnist.folder()}: no {missing[0]}")


@pytest.fixture
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty $DIGITCAM_DATA; nothing read before or in the test is remembered across its border."""
    monkeypatch.setenv("DIGITCAM_DATA", str(tmp_path))
    caches = (
        mnist.digits,
        svhn.records,
        svhn.at_hand,
        wheels.meters,
        faces._of_class,
        strips._level_records,
        strips._meters,
        real._date_codes,
        real._single_wheels,
        real._house_records,
    )
    for cached in caches:
        cached.cache_clear()
    yield tmp_path
    for cached in caches:
        cached.cache_clear()
