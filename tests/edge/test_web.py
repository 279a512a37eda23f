from __future__ import annotations

import re
import socket
import time
import urllib.error
import urllib.request
from datetime import datetime, timezone

import cv2
import numpy as np
import pytest
from starlette.testclient import TestClient

from digitcam.core.errors import SinkError
from digitcam.core.reading import Latency, Model, ReadDigit, Reading
from digitcam.edge.config import Web
from digitcam.edge.sources import Frame
from digitcam.edge.web import FRESH_S, PAGE, Page, Shown, make_app

TS = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
FRAME = Frame(np.full((60, 80, 3), 128, np.uint8), TS, 4, "demo:", 1.0)
READING = Reading(
    ts=TS,
    seq=4,
    source="demo:",
    number="07",
    digits=(ReadDigit("0", 0.9, (10.0, 20.0, 20.0, 30.0)), ReadDigit("7", 1.0, (30.0, 20.0, 20.0, 30.0))),
    box=(10.0, 20.0, 40.0, 30.0),
    confidence=0.9,
    accepted=True,
    reason="",
    previous=None,
    model=Model("canvas", "int8.onnx", "0" * 64),
    latency_ms=Latency(1, 1, 1, 1, 4),
)


def client(shown: Shown | None, base_url: str = "http://127.0.0.1:8080") -> TestClient:
    return TestClient(make_app(lambda: shown), base_url=base_url)


def fresh() -> Shown:
    return Shown(FRAME, [READING], "07", time.monotonic())


def test_before_the_first_frame() -> None:
    http = client(None)
    assert http.get("/").status_code == 200
    assert http.get("/api/reading").json() == {"number": None, "readings": []}
    assert http.get("/frame.jpg").status_code == 404
    assert http.get("/healthz").status_code == 503


def test_the_reading_keeps_its_zeros() -> None:
    answer = client(fresh()).get("/api/reading")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["number"] == "07"
    (reading,) = body["readings"]
    assert (reading["number"], reading["confidence"], reading["accepted"]) == ("07", 0.9, True)
    assert reading["ts"] == "2026-03-01T12:00:00Z"


def test_the_frame_has_the_size_it_came_in_and_a_green_box() -> None:
    answer = client(fresh()).get("/frame.jpg")
    assert answer.headers["content-type"] == "image/jpeg"
    image = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (60, 80, 3)
    # JPEG halves the colours' resolution, so a thin line is less green than drawn; the ground stays grey.
    blue, green, red = image[35, 10].astype(int)
    assert green > blue + 20
    assert green > red + 20
    assert np.ptp(image[5, 75]) < 10


def test_health_is_a_fresh_frame() -> None:
    assert client(fresh()).get("/healthz").text == "ok\n"
    stale = fresh()._replace(at_s=time.monotonic() - FRESH_S)
    assert client(stale).get("/healthz").status_code == 503


def test_the_page_needs_nothing_from_outside() -> None:
    answer = client(None).get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    text = PAGE.read_text(encoding="utf-8")
    assert answer.text == text
    assert not re.search(r"https?:|//[a-z]|@import|innerHTML", text)
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


def test_another_name_for_this_machine_is_refused() -> None:
    assert client(fresh(), "http://evil.example").get("/frame.jpg").status_code == 400
    assert client(fresh(), "http://localhost:9").get("/frame.jpg").status_code == 200


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_page_serves_what_it_was_shown_last_and_then_no_more() -> None:
    config = Web(port=free_port())
    url = f"http://127.0.0.1:{config.port}/api/reading"
    with Page(config) as page:
        page.show(FRAME, [READING], "06")
        page.show(FRAME, [READING], "07")
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert b'"number":"07"' in answer.read()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=10)


def test_page_may_end_at_once_and_leaves_standard_output_alone(capfd: pytest.CaptureFixture[str]) -> None:
    with Page(Web(port=free_port())):
        pass
    assert capfd.readouterr().out == ""


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(SinkError, match=rf"^http://127.0.0.1:{port}: cannot serve there: .*: change web.port$"):
            Page(Web(port=port)).__enter__()
