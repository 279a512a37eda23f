from __future__ import annotations

import os
import queue
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from digitcam.core.errors import ConfigError, SinkError
from digitcam.core.reading import Latency, Model, ReadDigit, Reading, decode_reading
from digitcam.edge.config import Mqtt, RunConfig
from digitcam.edge.sinks import mqtt, open_sinks
from digitcam.edge.sinks.mqtt import MqttSink
from digitcam.edge.sinks.stdout import StdoutSink

READING = Reading(
    ts=datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc),
    seq=4,
    source="Zähler/0.png",
    number="07",
    digits=(ReadDigit("0", 0.9, (10.0, 20.0, 20.0, 30.0)), ReadDigit("7", 1.0, (30.0, 20.0, 20.0, 30.0))),
    box=(10.0, 20.0, 40.0, 30.0),
    confidence=0.9,
    accepted=True,
    reason="",
    previous="06",
    model=Model("canvas", "int8.onnx", "0" * 64),
    latency_ms=Latency(1, 2, 3, 4, 10),
)
SECOND = msgspec.structs.replace(READING, number="1", accepted=False, reason="low_confidence")
WAIT_S = 10


# Standard output


def test_a_line_a_reading(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with StdoutSink() as sink:
        sink.send([READING, SECOND], "07")
        written = capfdbinary.readouterr().out  # before the sink is closed: each line is flushed
    lines = written.splitlines(keepends=True)
    assert [decode_reading(line) for line in lines] == [READING, SECOND]
    assert lines[0].startswith(b'{"schema":1,"ts":"2026-03-01T12:00:00Z","seq":4,"source":"Z\xc3\xa4hler/0.png"')
    assert lines[0].endswith(b"}\n")


def test_a_reader_that_has_gone_is_one_error_and_no_noise_at_exit() -> None:
    program = """if True:
        import sys
        from datetime import datetime
        from digitcam.core.errors import SinkError
        from digitcam.core.reading import Latency, Model, Reading
        from digitcam.edge.sinks.stdout import StdoutSink
        reading = Reading(
            ts=datetime.now(), seq=0, source="", number="", digits=(), box=(0, 0, 0, 0), confidence=0, accepted=False,
            reason="no_number", previous=None, model=Model("", "", ""), latency_ms=Latency(0, 0, 0, 0, 0))
        sys.stdin.read()
        try:
            StdoutSink().send([reading], None)
        except SinkError as error:
            print(error, file=sys.stderr)
            sys.exit(error.exit_code)
    """
    command = [sys.executable, "-c", program]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as child:
        assert child.stdin and child.stdout and child.stderr
        child.stdout.close()
        child.stdin.close()
        said = child.stderr.read()
        assert (child.wait(WAIT_S), said) == (
            5,
            "standard output: cannot write to it: Broken pipe: keep its reader open\n",
        )


def test_open_sinks_names_what_the_configuration_names() -> None:
    assert [type(sink) for sink in open_sinks(RunConfig())] == [StdoutSink]
    assert [type(sink) for sink in open_sinks(RunConfig(mqtt=Mqtt(host="b")))] == [StdoutSink, MqttSink]


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "digitcam.edge.sinks.mqtt")
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(ConfigError, match=r"^\[mqtt\] needs paho.*: pip install 'digitcam\[mqtt\]'$"):
        open_sinks(RunConfig(mqtt=Mqtt(host="b")))


# The broker


class Broker(NamedTuple):
    """A mosquitto that knows `edge`, who may write below meter/, and `viewer`, who may read everything."""

    plain: int
    tls: int
    folder: Path

    def config(self, **changes: Any) -> Mqtt:
        settings: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self.plain,
            "topic": "meter/one",
            "username": "edge",
            "password_file": str(self.folder / "edge.secret"),
            "tls": False,
        }
        return Mqtt(**{**settings, **changes})


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def tool(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if not found:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{name} is not installed: apt-get install it")
    return str(found)


def make_certificates(folder: Path) -> None:
    """Write an authority ca.crt and a certificate s.crt, s.key of 127.0.0.1 signed by it."""
    openssl = tool("openssl")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    for command in (
        f"req -x509 {key} -days 2 -subj /CN=digitcam-test-ca -keyout ca.key -out ca.crt",
        f"req {key} -subj /CN=broker -keyout s.key -out s.csr",
        "x509 -req -in s.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out s.crt",
    ):
        subprocess.run([openssl, *command.split()], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    folder = tmp_path_factory.mktemp("broker")
    mosquitto, passwd = tool("mosquitto"), tool("mosquitto_passwd")
    make_certificates(folder)
    (folder / "passwords").touch(0o600)
    for user in ("edge", "viewer"):
        subprocess.run([passwd, "-b", folder / "passwords", user, f"{user} pass"], check=True)
        (folder / f"{user}.secret").write_text(f"{user} pass\n")
    (folder / "wrong.secret").write_text("edge\n")
    (folder / "acl").write_text("user edge\ntopic write meter/#\nuser viewer\ntopic read #\n")
    found = Broker(free_port(), free_port(), folder)
    (folder / "conf").write_text(
        f"""
        user root
        allow_anonymous false
        password_file {folder}/passwords
        acl_file {folder}/acl
        listener {found.plain} 127.0.0.1
        listener {found.tls} 127.0.0.1
        cafile {folder}/ca.crt
        certfile {folder}/s.crt
        keyfile {folder}/s.key
        """
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([mosquitto, "-c", folder / "conf"], stdout=log, stderr=log)
    try:
        for port in (found.plain, found.tls):
            wait_for(port, process, folder / "log")
        yield found
    finally:
        process.terminate()
        process.wait(WAIT_S)


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"mosquitto did not start: {log.read_text()}")
            time.sleep(0.02)


class Subscriber:
    """Receives what is published below a topic: (topic, payload, retained)."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self.got: queue.Queue[tuple[str, bytes, bool]] = queue.Queue()
        ready = threading.Event()
        self.client = client = Client(CallbackAPIVersion.VERSION2)
        client.username_pw_set("viewer", "viewer pass")
        client.on_connect = lambda client, *_: client.subscribe(f"{topic}/#", qos=1)
        client.on_subscribe = lambda *_: ready.set()
        client.on_message = lambda client, data, m: self.got.put((m.topic, bytes(m.payload), m.retain))
        client.connect("127.0.0.1", broker.plain)
        client.loop_start()
        assert ready.wait(WAIT_S)

    def next(self) -> tuple[str, bytes, bool]:
        return self.got.get(timeout=WAIT_S)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic of the test's own, so that no retained message of another is in its way."""
    return f"meter/{request.node.name}"


@pytest.fixture
def subscriber(broker: Broker, topic: str) -> Iterator[Subscriber]:
    subscriber = Subscriber(broker, topic)
    yield subscriber
    subscriber.close()


def break_connection(sink: MqttSink) -> None:
    connection = sink._client.socket()
    assert isinstance(connection, socket.socket)
    connection.shutdown(socket.SHUT_RDWR)


def test_a_subscriber_receives_all_in_order(broker: Broker, subscriber: Subscriber, topic: str) -> None:
    with MqttSink(broker.config(topic=topic)) as sink:
        sink.send([SECOND], None)
        sink.send([READING, SECOND], "07")
        sink.send([READING], "07")
        sink.send([READING], "08")
    got = [subscriber.next() for _ in range(8)]
    assert [(t.removeprefix(topic), decode_reading(p) if t.endswith("reading") else p) for t, p, _ in got] == [
        ("/status", b"online"),
        ("/reading", SECOND),
        ("/reading", READING),
        ("/reading", SECOND),
        ("/number", b"07"),
        ("/reading", READING),
        ("/reading", READING),
        ("/number", b"08"),
    ]
    assert subscriber.next() == (f"{topic}/status", b"offline", False)


def test_who_comes_late_learns_the_number_and_the_status_but_no_old_reading(broker: Broker, topic: str) -> None:
    with MqttSink(broker.config(topic=topic)) as sink:
        sink.send([READING], "07")
    late = Subscriber(broker, topic)
    try:
        got = {late.next(), late.next()}
        assert got == {(f"{topic}/number", b"07", True), (f"{topic}/status", b"offline", True)}
        with MqttSink(broker.config(topic=topic)):
            assert late.next() == (f"{topic}/status", b"online", False)
    finally:
        late.close()


def test_the_broker_itself_says_offline_when_the_connection_breaks(
    broker: Broker, subscriber: Subscriber, topic: str
) -> None:
    with MqttSink(broker.config(topic=topic)) as sink:
        assert subscriber.next() == (f"{topic}/status", b"online", False)
        break_connection(sink)
        assert subscriber.next() == (f"{topic}/status", b"offline", False)
        # paho connects again after a second; what is sent meanwhile is not lost.
        sink.send([READING], None)
    got = [subscriber.next() for _ in range(3)]
    assert [decode_reading(p) for t, p, _ in got if t == f"{topic}/reading"] == [READING]
    assert [p for t, p, _ in got if t == f"{topic}/status"] == [b"online", b"offline"]


def test_over_tls_with_an_authority_of_its_own(broker: Broker, subscriber: Subscriber, topic: str) -> None:
    config = broker.config(topic=topic, port=broker.tls, tls=True, ca_file=str(broker.folder / "ca.crt"))
    with MqttSink(config) as sink:
        sink.send([READING], "07")
    got = [subscriber.next()[:2] for _ in range(4)]
    assert got[2] == (f"{topic}/number", b"07")


def refusal(config: Mqtt) -> str:
    with pytest.raises(SinkError) as caught, MqttSink(config):
        pytest.fail("the broker let us in")
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_certificate_of_an_unknown_authority_is_refused(broker: Broker) -> None:
    message = refusal(broker.config(port=broker.tls, tls=True))
    assert message.startswith(f"mqtts://127.0.0.1:{broker.tls}: cannot reach the broker: ")
    assert "CERTIFICATE_VERIFY_FAILED" in message


def test_a_certificate_of_another_name_is_refused(broker: Broker) -> None:
    ca_file = str(broker.folder / "ca.crt")
    message = refusal(broker.config(host="localhost", port=broker.tls, tls=True, ca_file=ca_file))
    assert "CERTIFICATE_VERIFY_FAILED" in message


def test_a_wrong_password(broker: Broker) -> None:
    message = refusal(broker.config(password_file=str(broker.folder / "wrong.secret")))
    assert message == f"mqtt://127.0.0.1:{broker.plain}: the broker refuses the login: Not authorized"


def test_no_login_where_one_is_needed(broker: Broker) -> None:
    assert refusal(broker.config(username=None, password_file=None)).endswith("refuses the login: Not authorized")


def test_plain_to_a_tls_port(broker: Broker) -> None:
    assert refusal(broker.config(port=broker.tls)).endswith("no answer: check mqtt.port and mqtt.tls")


def test_nobody_there() -> None:
    port = free_port()
    message = refusal(Mqtt(host="127.0.0.1", port=port, tls=False))
    assert message == f"mqtt://127.0.0.1:{port}: cannot reach the broker: [Errno 111] Connection refused"


def test_a_topic_the_broker_does_not_allow(broker: Broker) -> None:
    refused = pytest.raises(SinkError, match=r"refuses messages to other/\.\.\.: Not authorized")
    with refused, MqttSink(broker.config(topic="other")) as sink:
        sink.send([READING], "07")


def test_a_broker_away_for_too_long(broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "WAITING", 3)
    full = pytest.raises(SinkError, match=r": 3 messages wait to be confirmed: is the broker there\?$")
    with full, MqttSink(broker.config(topic=topic)) as sink:
        break_connection(sink)
        for _ in range(4):
            sink.send([READING], None)


@pytest.mark.parametrize("key", ["password_file", "ca_file"])
def test_files_that_are_not_there(tmp_path: Path, key: str) -> None:
    config = msgspec.structs.replace(Mqtt(host="127.0.0.1", username="me"), **{key: str(tmp_path / "gone")})
    with pytest.raises(ConfigError, match=rf"gone: cannot read mqtt.{key}: .*No such file"):
        MqttSink(config).__enter__()


def test_a_ca_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate\n")
    with pytest.raises(ConfigError, match=r"ca\.pem: cannot read mqtt.ca_file"):
        MqttSink(Mqtt(host="127.0.0.1", ca_file=str(tmp_path / "ca.pem"))).__enter__()
