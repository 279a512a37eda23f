from __future__ import annotations

import base64
import json
import re
import socket
import stat
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from machine import free_port, status_of
from msgspec.structs import replace
from starlette.testclient import TestClient

from digitcam.core.errors import ConfigError, SinkError
from digitcam.core.reading import Latency, Model, ReadDigit, Reading
from digitcam.edge import health
from digitcam.edge.config import ConfigFile, Rules, Web
from digitcam.edge.control import Control, SetNumber
from digitcam.edge.health import Health, Report
from digitcam.edge.outcome import Outcome
from digitcam.edge.sinks import Desk
from digitcam.edge.sinks.history import HistorySink
from digitcam.edge.sources import Frame
from digitcam.edge.sources.live import Health as SourceHealth
from digitcam.edge.sources.live import LiveSource, Watch
from digitcam.edge.sources.watch import WatchSource
from digitcam.edge.trust import Trust
from digitcam.edge.web import CONNECTIONS, Page, app, auth, live
from digitcam.edge.web.app import LOGIN, PAGE, make_app
from digitcam.edge.web.auth import Door
from digitcam.edge.web.live import Live
from digitcam.edge.web.metrics import metrics
from digitcam.edge.web.save import Drawn, edited

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
OUTCOME = Outcome("", [READING], "07", None)
TRUSTED = Outcome("", [READING], "0.7", Trust(Rules(window=1, needed=1, decimals=1)).after([READING])[0])
CHANGE = {"X-Digitcam": "1"}


class Site:
    """The application without a server, and what is behind it."""

    def __init__(
        self, *outcomes: Outcome, path: Path | None = None, web: Web | None = None, frame: Frame = FRAME
    ) -> None:
        self.live, self.history = Live(), HistorySink()
        self.desk = Desk(Health(), Control(), ConfigFile(path))
        if outcomes:
            self.desk.health.count(outcomes)
            self.history.send(frame, outcomes)
            self.live.show(frame, outcomes)
        self.app = make_app(self.live, self.desk, self.history, Door(web or Web()))
        self.http = self.client()

    def client(self, base_url: str = "http://127.0.0.1:8080") -> TestClient:
        return TestClient(self.app, base_url=base_url, follow_redirects=False)

    def put(self, regions: list[dict[str, Any]], **more: Any) -> Any:
        version = self.http.get("/api/regions").json().get("version", "")
        return self.http.put("/api/regions", json={"regions": regions, "version": version, **more}, headers=CHANGE)


# What is shown


def test_before_the_first_frame() -> None:
    http = Site().http
    assert http.get("/").status_code == 200
    assert http.get("/api/reading").json() == {"numbers": {}, "readings": []}
    assert http.get("/api/live").status_code == 204
    assert http.get("/frame.jpg").status_code == 404
    assert http.get("/healthz").status_code == 503
    assert http.get("/api/health").json()["report"]["frames"] == 0
    assert "digitcam_frames_total 0.0\n" in http.get("/metrics").text


def test_the_reading_keeps_its_zeros() -> None:
    answer = Site(OUTCOME).http.get("/api/reading")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["numbers"] == {"": "07"}
    (reading,) = body["readings"]
    assert (reading["number"], reading["confidence"], reading["accepted"]) == ("07", 0.9, True)
    assert reading["ts"] == "2026-03-01T12:00:00Z"


def test_the_frame_has_the_size_it_came_in_and_a_green_box() -> None:
    answer = Site(OUTCOME).http.get("/frame.jpg")
    assert answer.headers["content-type"] == "image/jpeg"
    image = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (60, 80, 3)
    # JPEG halves the colours' resolution, so a thin line is less green than drawn; the ground stays grey.
    blue, green, red = image[35, 10].astype(int)
    assert green > blue + 20
    assert green > red + 20
    assert np.ptp(image[5, 75]) < 10


def test_a_large_frame_is_shown_smaller_and_measured_as_it_is() -> None:
    frame = FRAME._replace(image=np.zeros((1000, 2560), np.uint8))
    body = Site(OUTCOME, frame=frame).http.get("/api/live").json()
    assert body["size"] == [2560, 1000]
    image = cv2.imdecode(np.frombuffer(base64.b64decode(body["jpeg"]), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None and image.shape[:2] == (500, 1280)


def test_picture_and_numbers_are_of_one_frame_packed_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PACK_S", 1e9)
    site, packed = Site(TRUSTED), []
    pack = live.jpeg
    monkeypatch.setattr(live, "jpeg", lambda image: (packed.append(image), pack(image))[1])
    body = site.http.get("/api/live").json()
    assert [site.client().get("/api/live").json() for _ in range(3)] == [body] * 3
    assert len(packed) == 1
    assert site.http.get("/api/live", params={"seen": body["id"]}).status_code == 204
    (region,) = body["regions"]
    assert (region["number"], region["read"], region["trust"]) == (
        "0.7",
        "07",
        {"held": False, "since": "2026-03-01T12:00:00Z"},
    )
    assert region["boxes"][0]["box"] == [10.0, 20.0, 40.0, 30.0]
    # Another frame comes at once where the time between two is over, and not before.
    site.live.show(FRAME._replace(seq=5), [TRUSTED])
    assert site.http.get("/api/live").json()["seq"] == 4
    monkeypatch.setattr(live, "PACK_S", 0.0)
    assert site.http.get("/api/live").json()["seq"] == 5


def test_a_password_in_the_source_is_shown_nowhere() -> None:
    frame = FRAME._replace(source="rtsp://me:geheim@host/x")
    http = Site(OUTCOME, frame=frame).http
    for path in ("/", "/api/live", "/api/health", "/metrics", "/api/reading"):
        assert "geheim" not in http.get(path).text
    assert http.get("/api/live").json()["source"] == "rtsp://me:***@host/x"


def test_health_is_a_fresh_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(OUTCOME)
    assert site.http.get("/healthz").text == "ok\n"
    shown_s = time.monotonic()
    monkeypatch.setattr(health.time, "monotonic", lambda: shown_s + 11)
    assert (site.http.get("/healthz").status_code, site.http.get("/healthz").text) == (503, "no fresh frame\n")
    # A camera that may take a minute, and a folder in which nothing need come.
    site.desk.health.source = LiveSource("cam:", lambda: pytest.fail("not to be opened"), Watch(stall_s=60))
    assert site.http.get("/healthz").text == "ok\n"
    assert site.http.get("/api/health").json()["report"]["fresh_s"] == 60
    monkeypatch.setattr(health.time, "monotonic", lambda: shown_s + 61)
    assert site.http.get("/healthz").status_code == 503
    site.desk.health.source = WatchSource("watch:folder")
    assert site.http.get("/healthz").text == "ok\n"


def test_health_tells_rejections_and_events_newest_first() -> None:
    lost = replace(READING, number="", digits=(), accepted=False, reason="no_number")
    assert TRUSTED.trust
    trust, readings = TRUSTED.trust.after([lost])
    site = Site(TRUSTED)
    outcome = Outcome("", readings, trust.number, trust)
    site.desk.health.count([outcome])
    site.live.show(FRAME, [outcome])
    body = site.http.get("/api/health").json()
    assert [(r["reason"], r["line"]) for r in body["rejections"]] == [("no_number", "no number in the frame")]
    assert [(e["kind"], e["line"]) for e in body["events"]] == [("trusted", "0.7 is the first number trusted")]
    assert (body["report"]["accepted"], body["report"]["rejected"]) == (1, {"no_number": 1})


def test_history_gives_rows_of_a_time_and_region() -> None:
    now = datetime.now(timezone.utc)

    def at(hours: float, number: str) -> Outcome:
        ts = now - timedelta(hours=hours)
        return Outcome("water", [replace(READING, ts=ts)], number, None)

    site = Site(at(30, "1"))
    for hours, number in ((20, "2"), (2, "3")):
        site.history.send(FRAME, [at(hours, number)])
    numbers = lambda query: [row["number"] for row in site.http.get(f"/api/history?{query}").json()["rows"]]  # noqa: E731
    assert numbers("") == ["2", "3"]
    assert numbers("hours=100") == ["1", "2", "3"]
    assert numbers("hours=100&limit=1&region=water") == ["3"]
    assert numbers("region=gas") == []
    for wrong in ("hours=x", "hours=-1", "limit=0", "hours=1e300", "hours=nan"):
        assert site.http.get(f"/api/history?{wrong}").status_code == 422


# The pages themselves


@pytest.mark.parametrize("path", [PAGE, LOGIN])
def test_the_pages_need_nothing_from_outside(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|[\"'(]//[a-z]|@import|innerHTML|eval\(| style=| on[a-z]+=", text)
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


def test_the_page_carries_the_state_and_lets_no_other_script_run() -> None:
    frame = FRAME._replace(source="</script><script>alert(1)</script>.png")
    answer = Site(OUTCOME, frame=frame).http.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert "alert(1)</script>" not in answer.text
    found = re.search(r'id="first">(.*?)</script>', answer.text)
    assert found and json.loads(found[1])["regions"][0]["number"] == "07"


# Metrics

_SAMPLE = re.compile(
    r'(digitcam_[a-z_]+)(?:\{([a-z]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z]+="(?:[^"\\\n]|\\["\\n])*")*)\})? (\S+)'
)


def parse(text: str) -> dict[str, tuple[str, dict[str, float]]]:
    """Read Prometheus' text format 0.0.4 strictly: each family once, help and type before its samples."""
    families: dict[str, tuple[str, dict[str, float]]] = {}
    name, said = "", ""
    assert text.endswith("\n")
    for line in text.splitlines():
        if found := re.fullmatch(r"# HELP (\w+) \S.*", line):
            assert found[1] not in families
            said = found[1]
        elif found := re.fullmatch(r"# TYPE (\w+) (counter|gauge)", line):
            name = found[1]
            assert said == name and name.endswith("_total") == (found[2] == "counter")
            families[name] = (found[2], {})
        else:
            found = _SAMPLE.fullmatch(line)
            assert found and found[1] == name, line
            assert (found[2] or "") not in families[name][1]
            families[name][1][found[2] or ""] = float(found[3])
    return families


def test_metrics_count_and_name_regions() -> None:
    rejected, held = {"falls": 1, "no_number": 1}, {"gas": True, "water": False}
    camera = SourceHealth("live", 9, 2, 1, 0.1, "")
    report = Report(TS, 7, 5, rejected, 2.5, 0.25, 0.9, TS, 80.5, camera, held)
    found = parse(metrics(report, [TRUSTED._replace(region="gas")]))
    assert found["digitcam_frames_total"] == ("counter", {"": 7})
    assert found["digitcam_readings_rejected_total"] == ("counter", {'reason="falls"': 1, 'reason="no_number"': 1})
    assert found["digitcam_resident_memory_bytes"] == ("gauge", {"": 80_500_000})
    assert found["digitcam_number"] == ("gauge", {'region="gas"': 0.7})
    assert found["digitcam_held"] == ("gauge", {'region="gas"': 1, 'region="water"': 0})
    assert found["digitcam_camera_dropped_total"] == ("counter", {"": 2})
    assert found["digitcam_start_time_seconds"] == ("gauge", {"": TS.timestamp()})


def test_metrics_leave_out_what_is_not_known() -> None:
    answer = Site(OUTCOME._replace(number=None)).http.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = parse(answer.text)
    assert "digitcam_number" not in found and "digitcam_camera_live" not in found and "digitcam_held" not in found
    assert found["digitcam_confidence"] == ("gauge", {'region=""': 0.9})


@settings(deadline=None)
@given(st.text(max_size=20))
def test_metrics_escape_labels(reason: str) -> None:
    report = Report(TS, 1, 0, {reason: 1}, None, None, None, None, 1, None)
    line = next(one for one in metrics(report, []).split("\n") if one.startswith("digitcam_readings_rejected_total{"))
    found = _SAMPLE.fullmatch(line)
    assert found and found[2]
    value = re.sub(r'\\(["\\n])', lambda sign: "\n" if sign[1] == "n" else sign[1], found[2][len('reason="') : -1])
    assert value == reason


# Setting a number


def test_a_number_is_set_where_rules_trust_it() -> None:
    site = Site(TRUSTED)
    assert site.http.post("/api/number", json={"number": "12.5"}, headers=CHANGE).status_code == 202
    assert site.desk.control.taken() == (False, [SetNumber("", "12.5")])
    for body, status, say in [
        ({"number": "x"}, 422, "'x' is no number"),
        ({"number": "1.25"}, 422, "rules.decimals = 1"),
        ({"number": 5}, 422, "Expected `str`"),
        ({"numbr": "5"}, 422, "numbr"),
        ({"number": "5", "region": "gas"}, 404, "no region 'gas'"),
    ]:
        answer = site.http.post("/api/number", json=body, headers=CHANGE)
        assert answer.status_code == status and say in answer.json()["error"]
    answer = Site(OUTCOME).http.post("/api/number", json={"number": "12"}, headers=CHANGE)
    assert answer.status_code == 409 and "[rules]" in answer.json()["error"]
    assert site.desk.control.taken() == (False, [])


def test_a_body_has_a_bound() -> None:
    answer = Site(TRUSTED).http.post("/api/number", content=b" " * (app.LARGEST + 1), headers=CHANGE)
    assert answer.status_code == 413


# Regions

TOML = """\
# The meter under the stairs
source = "demo:"  # drawn

# Left of the pipe
[[regions]]
name = "water"  # the black one
box = [10, 10, 40, 30]  # px
[regions.rules]
window = 4  # frames

# Right of it
[[regions]]
name = "gas"
turn = 5  # it hangs askew
box = [0.5, 0.5, 0.25, 0.25]

# The page
[web]
port = 8080
"""


def test_a_moved_region_keeps_all_else_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(TOML)
    path.chmod(0o640)
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    site = Site(OUTCOME, path=link)
    water, gas = site.http.get("/api/regions").json()["regions"]
    assert (water["box"], water["turn"], gas["turn"]) == ([10, 10, 40, 30], 0, 5)
    answer = site.put([{"name": "water", "was": "water", "box": [12, 10, 40, 30], "turn": 0}, {**gas, "was": "gas"}])
    assert answer.status_code == 200, answer.text
    assert path.read_text() == TOML.replace("box = [10, 10, 40, 30]  # px", "box = [12, 10, 40, 30]  # px")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert link.is_symlink() and sorted(tmp_path.iterdir()) == [link, path]
    assert site.desk.control.taken() == (True, [])


def test_regions_are_renamed_removed_and_added_where_the_others_are() -> None:
    quad = ((0.0, 0.0), (30.0, 2.0), (30.0, 20.0), (0.0, 20.0))
    after = edited(
        TOML, [Drawn(name="cold", was="water", box=(10, 10, 40, 30.5), turn=2), Drawn(name="new", quad=quad)]
    )
    assert (
        after
        == """\
# The meter under the stairs
source = "demo:"  # drawn

# Left of the pipe
[[regions]]
name = "cold"  # the black one
box = [10, 10, 40, 30.5]  # px
turn = 2

[regions.rules]
window = 4  # frames

# Right of it

[[regions]]
name = "new"
quad = [[0, 0], [30, 2], [30, 20], [0, 20]]

# The page
[web]
port = 8080
"""
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "source = 'demo:'",
        TOML,
        "regions = [{name = 'water', box = [1, 2, 3, 4]}, {name = 'gas', quad = [[0,0],[1,0],[1,1],[0,1]]}]\n[web]\n",
        "[[regions]]\nname = 'water'\nquad = [\n  [0, 0],\n  [9, 0],\n  [9, 9],\n  [0, 9],\n]\n[web]\n"
        "[[ regions ]] # x\nname='gas'\nbox=[1,2,3,4]\n",
    ],
)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_whatever_is_drawn_is_what_the_file_says_then(text: str, data: st.DataObject) -> None:
    old = msgspec.toml.decode(text).get("regions", [])
    names = data.draw(st.lists(st.sampled_from(["water", "gas", "heat", "light"]), unique=True))
    number = st.integers(0, 500_000).map(lambda value: value / 100)
    drawn = [
        Drawn(
            name=name,
            was=name if name in {region["name"] for region in old} else None,
            box=data.draw(st.tuples(number, number, number, number)),
            turn=data.draw(st.integers(-180, 180)),
        )
        for name in names
    ]
    after = msgspec.toml.decode(edited(text, drawn))
    assert {k: v for k, v in after.items() if k != "regions"} == {
        k: v for k, v in msgspec.toml.decode(text).items() if k != "regions"
    }
    found = {region["name"]: region for region in after.get("regions", [])}
    assert set(found) == set(names)
    for one in drawn:
        assert one.box and found[one.name]["box"] == pytest.approx(one.box)
        assert found[one.name].get("turn", 0) == one.turn and "quad" not in found[one.name]
    for region in old:
        if region["name"] in found:
            assert found[region["name"]].get("rules") == region.get("rules")


def test_what_cannot_be_saved_says_so_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(TOML)
    site = Site(OUTCOME, path=path)
    good = {"name": "a", "box": [1, 1, 20, 20]}
    for regions, more, status, say in [
        ([{"name": "a", "box": [1, 1, 100, 20]}], {}, 422, "a reaches out of the 80x60 frame"),
        ([{"name": "a", "box": [-1, 1, 20, 20]}], {}, 422, "none of them below 0"),
        ([{"name": "A b", "box": [1, 1, 20, 20]}], {}, 422, "$.regions[0].name"),
        ([{"name": "a"}], {}, 422, "either box or quad"),
        ([{**good, "colour": 1}], {}, 422, "colour"),
        ([good, good], {}, 409, "2 of them are named a"),
        ([{**good, "name": f"r{n}"} for n in range(33)], {}, 422, "at most 32"),
        ([good], {"version": "old"}, 409, "was changed meanwhile"),
    ]:
        answer = site.put(regions, **more)
        assert answer.status_code == status and say in answer.json()["error"], answer.text
        assert str(tmp_path / ".") + "/." not in answer.text
    path.write_text("[[regions]]\nname = 1\n")
    assert "run.toml, line 2" in site.http.get("/api/regions").json()["error"]
    assert list(tmp_path.iterdir()) == [path]
    assert site.desk.control.taken() == (False, [])


def test_without_a_file_the_lines_are_given_to_be_copied() -> None:
    answer = Site(OUTCOME).put([{"name": "a", "box": [1, 1, 20, 20]}])
    assert answer.status_code == 409 and "--config FILE" in answer.json()["error"]
    assert answer.json()["toml"] == '[[regions]]\nname = "a"\nbox = [1, 1, 20, 20]\n'


def test_a_folder_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.toml"
    path.write_text(TOML)

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refuse)  # root may write anywhere
    answer = Site(OUTCOME, path=path).put([{"name": "a", "box": [1, 1, 20, 20]}])
    assert answer.status_code == 403
    assert f"{path}: cannot write: Permission denied: let the user" in answer.json()["error"]
    assert path.read_text() == TOML


# Who is let in

TOKEN = "correct horse"
GUARDED = ["/api/live", "/api/reading", "/api/health", "/api/history", "/api/regions", "/frame.jpg", "/metrics"]


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("PAGE_TOKEN", TOKEN)
    monkeypatch.setattr(auth, "WRONG_S", 0.0)
    return Site(TRUSTED, web=Web(host="0.0.0.0", token_env="PAGE_TOKEN"))


def test_without_the_token_only_the_login_and_whether_it_lives(guarded: Site) -> None:
    http = guarded.client("http://camera.example")
    for path in GUARDED:
        answer = http.get(path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), path
    assert http.get("/healthz").status_code == 200
    page = http.get("/")
    assert page.status_code == 401 and "<form" in page.text and "0.7" not in page.text
    for method in ("POST", "PUT", "DELETE"):
        assert http.request(method, "/api/number", headers=CHANGE).status_code == 401


def test_the_token_as_a_header(guarded: Site, capsys: pytest.CaptureFixture[str]) -> None:
    http = guarded.client("http://camera.example")
    for path in (*GUARDED, "/"):
        assert http.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code in (200, 204), path
    posted = http.post("/api/number", json={"number": "12"}, headers={"Authorization": f"Bearer {TOKEN}"})
    assert posted.status_code == 202
    for wrong in (f"Bearer {TOKEN}x", "Bearer ", f"Basic {TOKEN}", "Bearer \xff"):
        assert http.get("/metrics", headers={"Authorization": wrong.encode("latin-1")}).status_code == 401
    assert capsys.readouterr().err == "digitcam: the page refused a wrong token from testclient\n"


def test_the_login_gives_a_cookie_that_scripts_and_other_sites_cannot_use(guarded: Site) -> None:
    http = guarded.client("http://camera.example")
    wrong = http.post("/login", data={"token": "wrong horse"})
    assert (wrong.status_code, wrong.headers["location"]) == (303, "./?wrong")
    assert "set-cookie" not in wrong.headers
    assert "That is not the token." in http.get("/?wrong").text
    right = http.post("/login", data={"token": TOKEN})
    cookie = right.headers["set-cookie"]
    assert right.status_code == 303 and "HttpOnly" in cookie and "SameSite=Strict" in cookie and TOKEN not in cookie
    assert http.get("/api/live").status_code == 200
    assert http.post("/api/number", json={"number": "12"}).status_code == 403
    assert http.post("/api/number", json={"number": "12"}, headers=CHANGE).status_code == 202
    other = guarded.client("http://camera.example")
    other.cookies.set("digitcam-8080", "0" * 64)
    assert other.get("/api/live").status_code == 401


def test_the_token_is_read_from_its_file_and_must_be_long_enough(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("short\n")
    with pytest.raises(ConfigError, match=r"token: the web token has fewer than 8 characters: .*openssl rand"):
        Door(Web(token_file=str(tmp_path / "token")))
    (tmp_path / "token").write_text("long enough\nanother line\n")
    assert Door(Web(token_file=str(tmp_path / "token"))).token == "long enough"


def test_another_name_for_this_machine_is_refused() -> None:
    site = Site(OUTCOME)
    for url, status in [("http://evil.example", 400), ("http://localhost:9", 200), ("http://[::1]:8080", 200)]:
        assert site.client(url).get("/frame.jpg").status_code == status, url


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Origin": "http://127.0.0.1:8080"}, 403),
        ({**CHANGE, "Origin": "http://evil.example"}, 403),
        ({**CHANGE, "Origin": "http://127.0.0.1:9090"}, 403),
        ({**CHANGE, "Origin": "null"}, 403),
        ({**CHANGE, "Origin": "http://127.0.0.1:8080"}, 202),
    ],
)
def test_other_sites_change_nothing(headers: dict[str, str], status: int) -> None:
    assert Site(TRUSTED).http.post("/api/number", json={"number": "12"}, headers=headers).status_code == status


@pytest.mark.parametrize(
    "path", ["/../page.html", "/%2e%2e/app.py", "/static/../../etc/passwd", "//etc/passwd", "/page.html"]
)
def test_no_path_leads_to_a_file(path: str) -> None:
    assert Site(OUTCOME).http.get(path).status_code == 404


# Served


def desk() -> Desk:
    return Desk(Health(), Control(), ConfigFile())


def test_page_serves_what_it_was_sent_last_and_then_no_more() -> None:
    config = Web(port=free_port())
    url = f"http://127.0.0.1:{config.port}/api/reading"
    with Page(config, desk()) as page:
        page.send(FRAME, [OUTCOME._replace(number="06")])
        page.send(FRAME, [OUTCOME])
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert b'"numbers":{"":"07"}' in answer.read()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=10)


def test_page_may_end_at_once_and_leaves_standard_output_alone(capfd: pytest.CaptureFixture[str]) -> None:
    with Page(Web(port=free_port()), desk()):
        pass
    assert capfd.readouterr().out == ""


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        wanted = rf"^http://127.0.0.1:{port}: cannot serve there: .*: change web.host or web.port$"
        with pytest.raises(SinkError, match=wanted):
            Page(Web(port=port), desk()).__enter__()


def descriptors() -> set[str]:
    """Return this process's sockets."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that lists the folder
            found.add(str(link.readlink()))
    return {one for one in found if one.startswith("socket:")}


def test_fifty_clients_hammering_leave_nothing_behind_and_the_runner_its_frames() -> None:
    config, threads, sockets = Web(port=free_port()), threading.active_count(), descriptors()
    statuses: list[int] = []
    enough, done = threading.Event(), threading.Event()

    def hammer() -> None:
        while not done.is_set():
            statuses.append(status_of(f"http://127.0.0.1:{config.port}/api/live"))
            if len(statuses) >= 200:
                enough.set()

    with Page(config, desk()) as page:
        page.send(FRAME, [OUTCOME])
        clients = [threading.Thread(target=hammer) for _ in range(50)]
        for client in clients:
            client.start()
        # The runner's part: nothing in it waits for those who look.
        for seq in range(500):
            page.send(FRAME._replace(seq=seq), [OUTCOME])
        assert page._live.shown and page._live.shown.frame.seq == 499
        assert enough.wait(60)
        # One thread serves them all.
        assert threading.active_count() == threads + 50 + 1
        done.set()
        for client in clients:
            client.join(60)
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) > 100
    assert threading.active_count() == threads
    assert descriptors() == sockets


def test_more_connections_than_can_be_served_are_told_to_come_again() -> None:
    config = Web(port=free_port())
    with Page(config, desk()):
        waiting = [socket.create_connection(("127.0.0.1", config.port), timeout=30) for _ in range(CONNECTIONS)]
        try:
            for one in waiting:
                one.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")  # and no more: it never ends
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"http://127.0.0.1:{config.port}/healthz", timeout=30)
            assert refused.value.code == 503
            refused.value.close()
        finally:
            for one in waiting:
                one.close()
