from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from digitcam.core.errors import SourceError
from digitcam.train import mnist

REAL = mnist.folder()
LABELS = "t10k-labels-idx1-ubyte.gz"


@pytest.mark.mnist
def test_the_splits() -> None:
    sizes: dict[mnist.Split, int] = {"train": 55_000, "validation": 5_000, "test": 10_000}
    for split, size in sizes.items():
        images, labels = mnist.digits(split)
        assert images.shape == (size, 28, 28) and images.dtype == np.uint8
        assert labels.shape == (size,) and labels.dtype == np.uint8
        assert set(labels.tolist()) == set(range(10))
    assert mnist.digits("train")[1][:5].tolist() == [5, 0, 4, 1, 9]
    assert mnist.digits("test")[1][:5].tolist() == [7, 2, 1, 0, 4]


def test_a_missing_folder(data_folder: Path) -> None:
    with pytest.raises(SourceError, match="digitcam data fetch mnist") as caught:
        mnist.digits("train")
    assert str(data_folder / "mnist" / "train-images-idx3-ubyte.gz") in str(caught.value)


def test_a_damaged_file(data_folder: Path) -> None:
    path = data_folder / "mnist" / "t10k-images-idx3-ubyte.gz"
    path.parent.mkdir()
    path.write_bytes(b"")
    # d41d8cd9... is the md5 of nothing.
    with pytest.raises(SourceError, match="md5 is d41d8cd98f00b204e9800998ecf8427e, not 9fb629c4") as caught:
        mnist.digits("test")
    assert str(path) in str(caught.value) and "digitcam data fetch mnist" in str(caught.value)


class Quiet(SimpleHTTPRequestHandler):
    asked: list[str]

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.asked.append(self.path.rpartition("/")[2])
        if self.path.startswith("/short/"):
            self.send_response(200)
            self.send_header("Content-Length", "9912422")
            self.end_headers()
            self.wfile.write(b"too little")
        else:
            super().do_GET()


@pytest.fixture
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, list[str]]]:
    """A mirror on this machine: its address, its folder, and the files asked of it."""
    folder = tmp_path_factory.mktemp("mirror")
    Quiet.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", folder, Quiet.asked
        server.shutdown()
        thread.join()


@pytest.mark.mnist
def test_fetch(data_folder: Path, served: tuple[str, Path, list[str]]) -> None:
    address, mirror, asked = served
    for name in mnist.FILES:
        shutil.copy(REAL / name, mirror / name)

    paths = mnist.fetch(address)
    assert [path.name for path in paths] == asked == list(mnist.FILES)
    assert sorted(path.name for path in (data_folder / "mnist").iterdir()) == sorted(mnist.FILES)
    assert mnist.digits("test")[1][:5].tolist() == [7, 2, 1, 0, 4]

    # Only what is missing or damaged is asked for again.
    asked.clear()
    paths[1].unlink()
    paths[3].write_bytes(b"damaged")
    assert mnist.fetch(address) == paths
    assert asked == [paths[1].name, paths[3].name]
    assert paths[3].read_bytes() == (REAL / LABELS).read_bytes()


def test_fetch_of_a_damaged_file(data_folder: Path, served: tuple[str, Path, list[str]]) -> None:
    address, mirror, _ = served
    first = next(iter(mnist.FILES))
    (mirror / first).write_bytes(b"damaged")
    with pytest.raises(SourceError, match=f"{address}/{first}: cannot download: it has 7 bytes, not 9912422"):
        mnist.fetch(address)
    (mirror / first).write_bytes(bytes(9_912_422))
    with pytest.raises(SourceError, match=f"{address}/{first}: md5 is "):
        mnist.fetch(address)
    assert list((data_folder / "mnist").iterdir()) == []


@pytest.mark.parametrize("path", ["", "/short"])
def test_fetch_of_nothing_or_too_little(data_folder: Path, served: tuple[str, Path, list[str]], path: str) -> None:
    address = served[0] + path
    with pytest.raises(SourceError, match=f"{address}/train-images-idx3-ubyte.gz: cannot download"):
        mnist.fetch(address)
    left = [(file.name, file.read_bytes()) for file in (data_folder / "mnist").iterdir()]
    # What has come stays, to be gone on from.
    assert left == ([("train-images-idx3-ubyte.gz.part", b"too little")] if path else [])


def test_fetch_from_no_address(data_folder: Path) -> None:
    with pytest.raises(SourceError, match="cannot download: unknown url type"):
        mnist.fetch("mirror")


def test_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DIGITCAM_DATA", str(tmp_path))
    assert mnist.folder() == tmp_path / "mnist"
    monkeypatch.delenv("DIGITCAM_DATA")
    monkeypatch.setenv("HOME", "/somewhere")
    assert mnist.folder() == Path("/somewhere/.cache/digitcam/mnist")
