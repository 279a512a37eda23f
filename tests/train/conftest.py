"""A mirror on this machine, and SVHN archives drawn and written in the format of the published ones."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from digitcam.train.fetch import Published

Digit = tuple[float, float, float, float, float]
"""label, left, top, width, height as in a digitStruct.mat."""


class Mirror:
    """Serves `files`; `asked` lists each name and Range; `cut` ends a reply after so many bytes."""

    def __init__(self) -> None:
        self.url = ""
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.ranges = True
        self.content_range: str | None = None
        self.cut: int | None = None

    def reply(self, handler: BaseHTTPRequestHandler) -> None:
        name, asked = handler.path.rpartition("/")[2], handler.headers.get("Range")
        self.asked.append((name, asked))
        if name not in self.files:
            handler.send_error(404)
            return
        data, start = self.files[name], 0
        if asked and self.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])  # type: ignore[index]
            handler.send_response(206)
            said = self.content_range or f"bytes {start}-{len(data) - 1}/{len(data)}"
            handler.send_header("Content-Range", said)
        else:
            handler.send_response(200)
        handler.send_header("Content-Length", str(len(data) - start))
        handler.end_headers()
        handler.wfile.write(data[start:][: self.cut])


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    served = Mirror()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            served.reply(self)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        served.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield served
        server.shutdown()
        thread.join()


def published(data: bytes) -> Published:
    return Published(len(data), hashlib.md5(data).hexdigest())


def write_mat(path: Path, records: Sequence[tuple[str, Sequence[Digit]]]) -> None:
    """Write a digitStruct.mat as MATLAB does: its header in the user block, what is referred to below `#refs#`."""
    with h5py.File(path, "w", userblock_size=512) as file:
        referred = file.create_group("#refs#")
        names = file.create_dataset("digitStruct/name", (len(records), 1), h5py.ref_dtype)
        boxes = file.create_dataset("digitStruct/bbox", (len(records), 1), h5py.ref_dtype)
        for i, (name, digits) in enumerate(records):
            characters = np.array([[ord(c)] for c in name], np.uint16)
            names[i, 0] = referred.create_dataset(f"name{i}", data=characters).ref
            box = referred.create_group(f"box{i}")
            boxes[i, 0] = box.ref
            for column, field in enumerate(("label", "left", "top", "width", "height")):
                values = [np.array([[digit[column]]], np.float64) for digit in digits]
                if len(values) == 1:
                    box.create_dataset(field, data=values[0])
                    continue
                references = box.create_dataset(field, (len(values), 1), h5py.ref_dtype)
                for j, value in enumerate(values):
                    references[j, 0] = referred.create_dataset(f"{field}{i}_{j}", data=value).ref
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64 HDF5 schema 1.00 .".ljust(124) + b"\0\2IM")


def draw(width: int, height: int, digits: Sequence[Digit]) -> bytes:
    """Return a PNG with the digits drawn into their boxes, on a colour of its own."""
    image = np.full((height, width, 3), (40 + width % 90, 80, 60 + height % 90), np.uint8)
    for label, left, top, _, tall in digits:
        corner = (int(left), int(top + tall))
        cv2.putText(image, str(int(label) % 10), corner, cv2.FONT_HERSHEY_SIMPLEX, tall / 24, (230, 240, 250), 2)
    return cv2.imencode(".png", image)[1].tobytes()


def pack(part: str, files: dict[str, bytes]) -> bytes:
    """Return a .tar.gz of a folder `part` with these files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        folder = tarfile.TarInfo(part)
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, data in files.items():
            member = tarfile.TarInfo(f"{part}/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return packed.getvalue()


@pytest.fixture
def archive(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    """Return a function that packs photographs (name, width, height, digits) as SVHN is published."""

    def make(part: str, *photographs: tuple[str, int, int, Sequence[Digit]], **others: bytes) -> bytes:
        mat = tmp_path_factory.mktemp(part) / "digitStruct.mat"
        write_mat(mat, [(name, digits) for name, _, _, digits in photographs])
        drawn = {name: draw(width, height, digits) for name, width, height, digits in photographs}
        return pack(part, {**drawn, "digitStruct.mat": mat.read_bytes(), "see_bboxes.m": b"% shows them\n", **others})

    return make


@pytest.fixture
def mat(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a digitStruct.mat of (name, digits)."""

    def make(*records: tuple[str, Sequence[Digit]]) -> Path:
        write_mat(tmp_path / "digitStruct.mat", records)
        return tmp_path / "digitStruct.mat"

    return make
