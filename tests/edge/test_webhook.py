from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import readings

from digitcam.core.errors import ConfigError, SinkError
from digitcam.core.reading import Reading
from digitcam.edge.config.outputs import Webhook
from digitcam.edge.outcome import Outcome
from digitcam.edge.sinks import webhook
from digitcam.edge.sinks.webhook import WebhookSink
from digitcam.edge.sources import Frame

WAIT_S = 30
READING = readings.reading("07", seq=4)
FRAME = Frame(np.zeros((4, 4), np.uint8), READING.ts, 4, "test:", 0.0)


class Server(ThreadingHTTPServer):
    """Answers with the status it is told, and keeps what it is sent.

    gate
        While it is not set, answers wait.
    """

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.status, self.scheme = 200, "http"
        self.gate = threading.Event()
        self.gate.set()
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.changed = threading.Condition()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}/api/webhook/secret-id?key=hidden"

    def wait_for(self, what: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(what, WAIT_S)

    def numbers(self) -> list[str | None]:
        return [body["number"] for body in self.bodies]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that does not trust us hangs up: no reason to print."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.changed:
            self.server.bodies.append(body)
            self.server.headers.append(dict(self.headers.items()))
            self.server.paths.append(self.path)
            status = self.server.status
            self.server.changed.notify_all()
        self.server.gate.wait(WAIT_S)
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(webhook, "RETRY_S", (0.01, 0.05))
    with serving(Server()) as server:
        yield server


def outcome(number: str | None, region: str = "") -> Outcome:
    return Outcome(region, [msgspec.structs.replace(READING, number=number or "", region=region)], number, None)


def test_a_post_when_a_number_changes(server: Server) -> None:
    with WebhookSink(Webhook(url=server.url)) as sink:
        for water, gas in ((None, "7"), ("12", "7"), ("12", "7"), ("13", "8")):
            sink.send(FRAME, [outcome(water, "water"), outcome(gas, "gas")])
    posts = [(body["region"], body["previous"], body["number"]) for body in server.bodies]
    assert posts == [("gas", None, "7"), ("water", None, "12"), ("water", "12", "13"), ("gas", "7", "8")]
    assert server.bodies[0]["ts"] == "2026-03-01T12:00:00Z"
    assert msgspec.convert(server.bodies[1]["readings"], list[Reading]) == outcome("12", "water").readings
    assert set(server.bodies[0]) == {"ts", "region", "number", "previous", "readings"}
    assert server.headers[0]["Content-Type"] == "application/json"
    assert "Authorization" not in server.headers[0]
    assert set(server.paths) == {"/api/webhook/secret-id?key=hidden"}


def test_a_post_for_each_frame(server: Server) -> None:
    with WebhookSink(Webhook(url=server.url, when="frame")) as sink:
        for number in (None, "12", "12"):
            sink.send(FRAME, [outcome(number)])
    assert [(body["previous"], body["number"]) for body in server.bodies] == [(None, None), (None, "12"), ("12", "12")]


def test_a_token_from_a_file_or_the_environment(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("from a file\n")
    monkeypatch.setenv("HOOK", "from the environment")
    for keys in ({"token_file": str(tmp_path / "token")}, {"token_env": "HOOK"}):
        with WebhookSink(Webhook(url=server.url, **keys)) as sink:
            sink.send(FRAME, [outcome("1")])
    sent = [headers["Authorization"] for headers in server.headers]
    assert sent == ["Bearer from a file", "Bearer from the environment"]


@pytest.mark.parametrize(
    ("token", "says"),
    [
        (b"", "token: the first line of webhook.token_file is empty: put the token there$"),
        (b"\xff\n", "token: cannot read webhook.token_file: not UTF-8 at byte 0$"),
        (b"a\x01b\n", "^webhook.token_file: the token has signs that no header may have: write it anew$"),
        (None, "token: cannot read webhook.token_file: No such file or directory$"),
    ],
)
def test_a_token_that_cannot_be(tmp_path: Path, token: bytes | None, says: str) -> None:
    path = tmp_path / "token"
    if token is not None:
        path.write_bytes(token)
    with pytest.raises(ConfigError, match=says):
        WebhookSink(Webhook(url="http://h", token_file=str(path))).__enter__()


def test_a_token_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK", raising=False)
    with pytest.raises(ConfigError, match=r"^webhook\.token_env: the environment has no HOOK: set it$"):
        WebhookSink(Webhook(url="http://h", token_env="HOOK")).__enter__()
    monkeypatch.setenv("HOOK", "")
    with pytest.raises(ConfigError, match=r"^webhook\.token_env: HOOK is empty: put the token into it$"):
        WebhookSink(Webhook(url="http://h", token_env="HOOK")).__enter__()


def test_a_server_in_trouble_is_tried_again(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.status = 503
    with WebhookSink(Webhook(url=server.url)) as sink:
        sink.send(FRAME, [outcome("1")])
        sink.send(FRAME, [outcome("2")])
        server.wait_for(lambda: len(server.bodies) >= 3)
        server.status = 200
        server.wait_for(lambda: server.numbers()[-1:] == ["2"])
    assert set(server.numbers()[:-1]) == {"1"}
    where = f"digitcam: http://127.0.0.1:{server.server_port}"
    assert capsys.readouterr().err.splitlines() == [
        f"{where}: the webhook answers 503 Service Unavailable: reading goes on, up to 100 posts wait for the webhook",
        f"{where}: the webhook takes posts again; so far 0 were dropped, 0 refused",
    ]


def test_a_server_that_comes_late_gets_the_newest(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "WAITING", 3)
    failed = threading.Event()

    def pause_s(*_: float) -> float:
        failed.set()
        return 0.01

    monkeypatch.setattr(webhook, "pause_s", pause_s)
    port = server.server_port
    server.shutdown()
    server.server_close()
    with WebhookSink(Webhook(url=server.url)) as sink:
        for number in range(5):
            sink.send(FRAME, [outcome(str(number))])
        assert failed.wait(WAIT_S)
        with serving(Server(port)) as later:
            later.wait_for(lambda: later.numbers()[-1:] == ["4"])
        assert later.numbers()[-3:] == ["2", "3", "4"]
        assert sink.dropped == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"digitcam: http://127.0.0.1:{port}: cannot post to the webhook: [Errno 111]")
    assert said[-1].endswith("so far 2 were dropped, 0 refused")
    assert len(said) == 2


@pytest.mark.parametrize(("status", "mend"), [(401, "webhook.token_file or token_env"), (302, "webhook.url")])
def test_a_refusal_is_told_once_and_the_post_given_up(
    server: Server, capsys: pytest.CaptureFixture[str], status: int, mend: str
) -> None:
    server.status = status
    with WebhookSink(Webhook(url=server.url)) as sink:
        for number in ("1", "2", "3"):
            sink.send(FRAME, [outcome(number)])
    assert server.numbers() == ["1", "2", "3"]  # each once, and no redirect followed
    assert sink.refused == 3
    (said,) = capsys.readouterr().err.splitlines()
    assert f"the webhook refuses posts: {status} " in said
    assert said.endswith(f": check {mend}: reading goes on")
    assert "secret-id" not in said
    assert "hidden" not in said


def test_a_slow_server_holds_nobody_up(server: Server) -> None:
    server.gate.clear()
    with WebhookSink(Webhook(url=server.url)) as sink:
        sink.send(FRAME, [outcome("0")])
        server.wait_for(lambda: len(server.bodies) == 1)
        for number in range(1, 300):
            sink.send(FRAME, [outcome(str(number))])  # would never end if it waited
        assert sink.dropped == 200
        server.gate.set()
    assert server.numbers()[-1] == "299"


def test_a_silent_server_is_given_up_after_a_time(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.gate.clear()
    with pytest.raises(SinkError) as caught, WebhookSink(Webhook(url=server.url, timeout_s=0.2)) as sink:
        sink.send(FRAME, [outcome("0")])
        server.wait_for(lambda: len(server.bodies) == 2)
    assert str(caught.value) == (
        f"http://127.0.0.1:{server.server_port}: 1 posts to the webhook could not be delivered: is it reachable?"
    )
    assert "cannot post to the webhook: timed out" in capsys.readouterr().err


def test_certificates_are_checked(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    openssl = shutil.which("openssl")
    assert openssl, "openssl is not installed: apt-get install it"
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=hook"
    names = "-addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem"
    subprocess.run([openssl, *command.split(), *names.split()], cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.scheme = "https"
    with (
        pytest.raises(SinkError, match="1 posts to the webhook could not be"),
        WebhookSink(Webhook(url=server.url)) as sink,
    ):
        sink.send(FRAME, [outcome("1")])
    assert server.bodies == []
    assert "certificate verify failed: self-signed certificate" in capsys.readouterr().err
    with WebhookSink(Webhook(url=server.url, ca_file=str(tmp_path / "cert.pem"))) as sink:
        sink.send(FRAME, [outcome("1")])
    assert server.numbers() == ["1"]
    with pytest.raises(ConfigError, match=r"gone: cannot read webhook\.ca_file: No such file or directory$"):
        WebhookSink(Webhook(url=server.url, ca_file=str(tmp_path / "gone"))).__enter__()


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"url": "ftp://host/x"}, "^url is no web address"),
        ({"url": "https:///x"}, "^url is no web address"),
        ({"url": "https://host:port/x"}, "^url has no usable host and port"),
        ({"url": "https://me:geheim@host/x"}, "^url holds a login: name a token_file or token_env instead$"),
        ({"url": "https://host/a b"}, "^url has signs that no address has"),
        ({"url": "https://host", "token_file": "a", "token_env": "b"}, "^token_file and token_env: keep one of them$"),
        ({"url": "http://host", "ca_file": "a"}, "^ca_file needs an https url$"),
    ],
)
def test_what_the_table_may_not_say(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        Webhook(**keys)
    assert "geheim" not in str(caught.value)
