from __future__ import annotations

import errno
import json
import logging
import os
import queue
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
import readings
from machine import free_port
from mosquitto import WAIT_S, Broker, Subscriber, make_broker, retained, set_password, tool, wait_for

from digitcam.cli import cli
from digitcam.core.errors import ConfigError, SinkError
from digitcam.core.reading import ReadDigit, Reading, decode_reading, encode_reading
from digitcam.edge import secret
from digitcam.edge.config import ConfigFile, Region, Rules, RunConfig
from digitcam.edge.config.mqtt import Mqtt
from digitcam.edge.control import Control, SetNumber
from digitcam.edge.log import log
from digitcam.edge.parts import Parts
from digitcam.edge.runner import Runner
from digitcam.edge.secret import handed, read_secret
from digitcam.edge.sinks import Desk, Sink, forget_all, homeassistant, mqtt, plan_sinks
from digitcam.edge.sinks import broker as broker_module
from digitcam.edge.sinks.credentials import tls_mend, verifying
from digitcam.edge.sinks.mqtt import MqttSink
from digitcam.edge.sinks.stdout import StdoutSink

READING = readings.reading(
    "07",
    seq=4,
    source="Zähler/0.png",
    digits=(ReadDigit("0", 0.9, (10.0, 20.0, 20.0, 30.0)), ReadDigit("7", 1.0, (30.0, 20.0, 20.0, 30.0))),
    box=(10.0, 20.0, 40.0, 30.0),
    confidence=0.9,
    previous="06",
)
SECOND = msgspec.structs.replace(READING, number="1", accepted=False, reason="low_confidence")
NOT_AUTHORIZED = "the broker refuses the login: Not authorized: check mqtt.username and mqtt.password_file"
CLIENT = {"ca_file": "ca.crt", "cert_file": "edge.crt", "key_file": "edge.key"}


def send(sink: Sink, found: list[Reading], number: str | None) -> None:
    """Send what the whole of a frame gave, counted before as the runner does."""
    outcomes = [readings.outcome(found, number)]
    if isinstance(sink, MqttSink):
        sink._desk.health.count(outcomes)
    sink.send(readings.frame(), outcomes)


def opened(config: Mqtt, desk: Desk | None = None, **others: Any) -> MqttSink:
    """Return a sink, for `with`."""
    return MqttSink(RunConfig(mqtt=config, **others), desk or readings.desk())


# Standard output


def test_a_line_a_reading(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with StdoutSink() as sink:
        send(sink, [READING, SECOND], "07")
        written = capfdbinary.readouterr().out  # before the sink is closed: each line is flushed
    lines = written.splitlines(keepends=True)
    assert [decode_reading(line) for line in lines] == [READING, SECOND]
    assert lines[0].startswith(b'{"schema":1,"ts":"2026-03-01T12:00:00Z","seq":4,"source":"Z\xc3\xa4hler/0.png"')
    assert lines[0].endswith(b"}\n")


def test_a_reader_that_has_gone_is_one_error_and_no_noise_at_exit() -> None:
    program = """if True:
        import sys
        from digitcam.core.errors import SinkError
        from digitcam.edge.sinks.stdout import StdoutSink
        from readings import frame, outcome, reading
        sys.stdin.read()
        try:
            StdoutSink().send(frame(), [outcome(reading(""))])
        except SinkError as error:
            print(error, file=sys.stderr)
            sys.exit(error.exit_code)
    """
    command = [sys.executable, "-c", program]
    pipe = subprocess.PIPE
    shared = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=shared) as child:
        assert child.stdin and child.stdout and child.stderr
        child.stdout.close()
        child.stdin.close()
        said = child.stderr.read()
        assert (child.wait(WAIT_S), said) == (
            5,
            "standard output: cannot write to it: Broken pipe: keep its reader open\n",
        )


def made(config: RunConfig) -> list[Sink]:
    return [planned.make() for planned in plan_sinks(config, readings.desk())]


def test_what_the_configuration_names_is_planned() -> None:
    assert [type(sink) for sink in made(RunConfig())] == [StdoutSink]
    assert [type(sink) for sink in made(RunConfig(mqtt=Mqtt(host="b")))] == [StdoutSink, MqttSink]


def test_only_what_the_broker_is_told_makes_a_new_connection() -> None:
    def settings(**keys: Any) -> object:
        config = msgspec.convert({"mqtt": {"host": "b"}, **keys}, RunConfig)
        return next(p.settings for p in plan_sinks(config, readings.desk()) if p.name == "mqtt")

    region = {"name": "gas", "box": [0, 0, 0.5, 1]}
    same = settings(regions=[region], rules={})
    assert settings(regions=[{**region, "box": [1, 2, 30, 40], "turn": 9}], rules={"rising": True}) == same
    assert settings(regions=[{**region, "rules": {"digits": 5}}]) == same
    others = ({"name": "water"}, {"unit": "m³"}, {"unit": "m³", "device_class": "gas"}, {"state_class": "none"})
    for other in others:
        assert settings(regions=[{**region, **other}], rules={}) != same
    for keys in ({"regions": [region]}, {"rules": {}}, {"regions": [region], "rules": {}, "mqtt": {"host": "c"}}):
        assert settings(**keys) != same


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("mqtt", "broker"):
        monkeypatch.delitem(sys.modules, f"digitcam.edge.sinks.{module}")
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(ConfigError, match=r"^\[mqtt\] needs paho.*: pip install 'digitcam\[mqtt\]'$"):
        made(RunConfig(mqtt=Mqtt(host="b")))


# The broker


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = make_broker(tmp_path_factory.mktemp("broker"))
    process = broker.start()
    try:
        yield broker
    finally:
        process.terminate()
        process.wait(WAIT_S)


class Mortal:
    """A broker of a test's own, to be killed and started again; it keeps nothing on disk."""

    def __init__(self, broker: Broker) -> None:
        self.broker, self.process = broker, broker.start()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(WAIT_S)

    def start(self) -> None:
        self.process = self.broker.start()


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Mortal]:
    mortal = Mortal(make_broker(tmp_path))
    yield mortal
    mortal.kill()


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
    connection = sink._broker._client.socket()
    assert isinstance(connection, socket.socket)
    connection.shutdown(socket.SHUT_RDWR)


def test_a_subscriber_receives_all_in_order(broker: Broker, subscriber: Subscriber, topic: str) -> None:
    with opened(broker.config(topic=topic)) as sink:
        send(sink, [SECOND], None)
        send(sink, [READING, SECOND], "07")
        send(sink, [READING], "07")
        send(sink, [READING], "08")
    got = [subscriber.next() for _ in range(9)]
    report = (
        b'{"confidence":0.9,"last_accepted":null,"frames_per_second":null,"rejected":1,"dropped":0,'
        b'"held":{},"refused":null,"camera":null,"camera_problem":null,"frames_dropped":null,"reopened":null}'
    )
    assert [(t.removeprefix(topic), decode_reading(p) if t.endswith("reading") else p) for t, p, _ in got] == [
        ("/status", b"online"),
        ("/reading", SECOND),
        ("/diagnostics", report),
        ("/reading", READING),
        ("/reading", SECOND),
        ("/number", b"07"),
        ("/reading", READING),
        ("/reading", READING),
        ("/number", b"08"),
    ]
    assert subscriber.next() == (f"{topic}/status", b"offline", False)


def test_who_comes_late_learns_the_number_and_the_status_but_no_old_reading(broker: Broker, topic: str) -> None:
    config = broker.config(topic=topic)
    with opened(config) as sink:
        send(sink, [READING], "07")
        assert sink._broker.settle()
        assert retained(broker, topic)[f"{topic}/status"] == b"online"
    left = retained(broker, topic)
    assert set(left) == {
        homeassistant.discovery_topic(config),
        *(f"{topic}/{n}" for n in ("status", "number", "diagnostics")),
    }
    assert (left[f"{topic}/number"], left[f"{topic}/status"]) == (b"07", b"offline")


def test_the_broker_itself_says_offline_when_the_connection_breaks(
    broker: Broker, subscriber: Subscriber, topic: str
) -> None:
    with opened(broker.config(topic=topic)) as sink:
        assert subscriber.next() == (f"{topic}/status", b"online", False)
        break_connection(sink)
        assert subscriber.next() == (f"{topic}/status", b"offline", False)
        # paho connects again after a second; what is sent meanwhile is not lost.
        send(sink, [READING], None)
        assert sink._broker.settle()
    got = [subscriber.next() for _ in range(4)]
    assert [decode_reading(p) for t, p, _ in got if t == f"{topic}/reading"] == [READING]
    assert [p for t, p, _ in got if t == f"{topic}/status"] == [b"online", b"offline"]


def test_over_tls_with_an_authority_of_its_own(broker: Broker, subscriber: Subscriber, topic: str) -> None:
    config = broker.config(topic=topic, port=broker.tls, tls=True, ca_file=str(broker.folder / "ca.crt"))
    with opened(config) as sink:
        send(sink, [READING], "07")
    got = [subscriber.next()[:2] for _ in range(5)]
    assert got[2] == (f"{topic}/number", b"07")
    assert homeassistant.discovery_topic(config) in retained(broker, topic)


def test_a_client_certificate_is_a_login(broker: Broker, topic: str) -> None:
    files = {name: str(broker.folder / file) for name, file in CLIENT.items()}
    config = Mqtt(host="127.0.0.1", port=broker.certificate, topic=topic, **files)
    with opened(config) as sink:
        send(sink, [READING], "07")
    assert retained(broker, topic)[f"{topic}/number"] == b"07"
    del files["cert_file"], files["key_file"]
    assert refusal(Mqtt(host="127.0.0.1", port=broker.certificate, topic=topic, **files)).endswith("mqtt.cert_file")


def test_a_password_from_the_environment(broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = broker.config(topic=topic, password_file=None, password_env="METER_PASSWORD")
    with pytest.raises(ConfigError, match=r"^mqtt\.password_env: the environment has no METER_PASSWORD: set it$"):
        opened(config).__enter__()
    monkeypatch.setenv("METER_PASSWORD", "edge")
    assert refusal(config).endswith("refuses the login: Not authorized: check mqtt.username and mqtt.password_env")
    monkeypatch.setenv("METER_PASSWORD", "edge pass")
    with opened(config) as sink:
        send(sink, [READING], None)


def refusal(config: Mqtt) -> str:
    with pytest.raises(SinkError) as caught, opened(config):
        pytest.fail("the broker let us in")
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_certificate_of_an_unknown_authority_is_refused(broker: Broker) -> None:
    message = refusal(broker.config(port=broker.tls, tls=True))
    assert message.startswith(f"mqtts://127.0.0.1:{broker.tls}: cannot reach the broker: ")
    assert "CERTIFICATE_VERIFY_FAILED" in message
    assert message.endswith(": name the authority that signed the broker's certificate as mqtt.ca_file")


def test_a_certificate_of_another_name_is_refused(broker: Broker) -> None:
    ca_file = str(broker.folder / "ca.crt")
    message = refusal(broker.config(host="localhost", port=broker.tls, tls=True, ca_file=ca_file))
    assert "CERTIFICATE_VERIFY_FAILED" in message
    assert message.endswith(": write mqtt.host as the certificate has it")


@pytest.mark.parametrize(
    ("code", "mend"),
    [(9, "set this machine's clock"), (10, "renew the broker's certificate"), (64, "write mqtt.host ")],
)
def test_other_certificates_that_are_refused(code: int, mend: str) -> None:
    error = ssl.SSLCertVerificationError()
    error.verify_code = code
    assert tls_mend(error).startswith(mend)


def test_what_is_no_tls_on_the_other_side() -> None:
    assert tls_mend(ssl.SSLError()).startswith("check mqtt.port, mqtt.tls")


def test_a_wrong_password(broker: Broker) -> None:
    message = refusal(broker.config(password_file=str(broker.folder / "wrong.secret")))
    assert message == f"mqtt://127.0.0.1:{broker.plain}: {NOT_AUTHORIZED}"


def test_no_login_where_one_is_needed(broker: Broker) -> None:
    assert refusal(broker.config(username=None, password_file=None)).endswith(NOT_AUTHORIZED)


def test_plain_to_a_tls_port(broker: Broker) -> None:
    assert refusal(broker.config(port=broker.tls)).endswith("no answer: check mqtt.port and mqtt.tls")


def test_nobody_there(capfd: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    config = Mqtt(host="127.0.0.1", port=port, tls=False)
    away = f"mqtt://127.0.0.1:{port}: cannot reach the broker: [Errno 111] Connection refused"
    # To forget, it has to be there; to read, not yet.
    with pytest.raises(SinkError) as caught:
        forget_all(RunConfig(mqtt=config))
    assert str(caught.value) == away
    never = pytest.raises(SinkError, match=rf"^mqtt://127.0.0.1:{port}: the broker was never there: what was read ")
    desk = readings.desk()
    with never, opened(config, desk) as sink:
        send(sink, [READING], "07")
        assert desk.health.broker and not desk.health.broker()
    assert capfd.readouterr().err == f"digitcam: {away}: reading goes on, up to 1000 messages wait for the broker\n"


def test_a_host_that_cannot_be_a_name() -> None:
    assert ": cannot reach the broker: " in refusal(Mqtt(host=f"{'x' * 64}.invalid", tls=False))


def test_a_topic_the_broker_does_not_allow(broker: Broker) -> None:
    needs = r"other/\.\.\. or homeassistant/device/digitcam_other/config"
    refused = pytest.raises(SinkError, match=rf"refuses messages to {needs}: Not authorized: allow it in the broker's")
    with refused, opened(broker.config(topic="other")) as sink:
        send(sink, [READING], "07")


# The broker is away at the start, or goes away after a good one


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[queue.Queue[str]]:
    """What is logged of the broker, as soon as it is; and no long pauses between tries to connect."""
    told: queue.Queue[str] = queue.Queue()
    monkeypatch.setattr(broker_module, "RETRY_S", (1, 1))
    handler = logging.Handler()
    handler.emit = lambda record: told.put(record.getMessage().partition(": ")[2])  # type: ignore[method-assign]
    log.addHandler(handler)
    yield told
    log.removeHandler(handler)


def numbered(seq: int) -> Reading:
    return msgspec.structs.replace(READING, seq=seq)


def seqs(messages: list[tuple[str, bytes, bool]]) -> list[int]:
    return [decode_reading(payload).seq for topic, payload, _ in messages if topic.endswith("/reading")]


def test_a_broker_away_at_the_start_is_waited_for_and_nothing_is_lost(mortal: Mortal, told: queue.Queue[str]) -> None:
    mortal.kill()
    config = mortal.broker.config()
    with opened(config) as sink:
        assert told.get(timeout=WAIT_S).startswith("cannot reach the broker: [Errno 111] Connection refused: reading ")
        for seq in range(3):
            send(sink, [numbered(seq)], f"0{seq}")
        watched, connected = threading.Event(), sink._broker._client.on_connect
        sink._broker._client.on_connect = lambda *given: watched.wait(WAIT_S) and connected(*given)
        mortal.start()
        subscriber = Subscriber(mortal.broker, "meter")
        watched.set()
        got = [subscriber.next() for _ in range(3 + 3)]
        subscriber.close()
        assert seqs(got) == [0, 1, 2]
        ahead = [(topic.rpartition("/")[2], payload) for topic, payload, _ in got[:2]]
        assert ahead == [("status", b"online"), ("number", b"02")]
        assert told.get(timeout=WAIT_S) == "connected; 0 messages were dropped so far"
        assert sink._broker.connected()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"password_file": "wrong.secret"}, f": {NOT_AUTHORIZED}$"),
        ({"tls": True}, "CERTIFICATE_VERIFY_FAILED.*: name the authority .* as mqtt.ca_file$"),
    ],
)
def test_a_broker_away_at_the_start_that_then_refuses(
    mortal: Mortal, told: queue.Queue[str], changes: dict[str, Any], says: str
) -> None:
    mortal.kill()
    if "tls" in changes:
        changes = {**changes, "port": mortal.broker.tls}
    else:
        changes = {key: str(mortal.broker.folder / name) for key, name in changes.items()}
    with pytest.raises(SinkError, match=says), opened(mortal.broker.config(**changes)) as sink:
        mortal.start()
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            send(sink, [READING], "07")
            time.sleep(0.05)
        pytest.fail("the run goes on")


def test_a_broker_killed_and_started_again_loses_nothing(mortal: Mortal, told: queue.Queue[str]) -> None:
    config = mortal.broker.config()
    with opened(config) as sink:
        send(sink, [numbered(0)], "07")
        assert sink._broker.settle()
        # Stopped, it takes what we send and confirms nothing: 7 of these are sent, the others wait.
        mortal.process.send_signal(signal.SIGSTOP)
        for seq in range(1, 31):
            send(sink, [numbered(seq)], "08")
        mortal.kill()
        assert told.get(timeout=WAIT_S).startswith("connection lost: ")
        for seq in range(31, 41):
            send(sink, [numbered(seq)], "09")

        # A sink that is quicker than the subscriber would prove nothing.
        watched, connected = threading.Event(), sink._broker._client.on_connect
        sink._broker._client.on_connect = lambda *given: watched.wait(WAIT_S) and connected(*given)
        mortal.start()
        subscriber = Subscriber(mortal.broker, "meter", "homeassistant/device")
        watched.set()
        got = [subscriber.next() for _ in range(4 + 40)]
        subscriber.close()
        assert seqs(got) == list(range(1, 41))
        # The retained come first, each as it is now: no 08 after or before the 09.
        ahead = [(topic.rpartition("/")[2], payload) for topic, payload, _ in got[:4]]
        assert [name for name, _ in ahead] == ["config", "status", "number", "diagnostics"]
        assert ahead[1:3] == [("status", b"online"), ("number", b"09")]
        assert told.get(timeout=WAIT_S) == "connected again; 0 messages were dropped so far"
        assert sink._broker.settle()
        late = retained(mortal.broker, "meter/one")
        assert [late[f"meter/one/{name}"] for name in ("status", "number")] == [b"online", b"09"]
        assert json.loads(late[homeassistant.discovery_topic(config)])["device"]["name"] == "one"


def test_a_queue_too_long_drops_the_oldest_and_tells_how_many(
    mortal: Mortal, told: queue.Queue[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "IN_FLIGHT", 2)
    monkeypatch.setattr(broker_module, "WAITING", 3)
    subscriber = Subscriber(mortal.broker, "meter")
    with opened(mortal.broker.config()) as sink:
        send(sink, [numbered(0)], None)
        assert sink._broker.settle()
        mortal.process.send_signal(signal.SIGSTOP)
        for seq in range(1, 11):
            send(sink, [numbered(seq)], None)
        mortal.process.send_signal(signal.SIGCONT)
        assert sink._broker.settle()
        sink._report_at_s = 0.0  # time for diagnostics
        send(sink, [numbered(11)], None)
    got = [subscriber.next() for _ in range(11)]
    subscriber.close()
    # 1 and 2 were sent, 3 to 10 had three places.
    assert seqs(got) == [0, 1, 2, 8, 9, 10, 11]
    reports = [json.loads(payload)["dropped"] for topic, payload, _ in got if topic.endswith("/diagnostics")]
    assert reports == [0, 5]
    assert told.empty()


def test_no_more_is_sent_at_once_than_the_broker_takes(broker: Broker, topic: str) -> None:
    with opened(broker.config(topic=topic)) as sink:
        assert sink._broker._limit == 7  # max_inflight_messages


def test_a_login_refused_later_is_told_and_waited_for(mortal: Mortal, told: queue.Queue[str]) -> None:
    with opened(mortal.broker.config()) as sink:
        for password, says in (("other", f"{NOT_AUTHORIZED}: reading goes on"), ("edge pass", "connected")):
            mortal.kill()
            set_password(mortal.broker, "edge", password)
            mortal.start()
            send(sink, [READING], "07")
            while not (text := told.get(timeout=WAIT_S)).startswith(says):
                pass
        assert text == "connected again; 0 messages were dropped so far"
    assert retained(mortal.broker, "meter/one")["meter/one/number"] == b"07"


def test_a_broker_away_at_the_end(
    mortal: Mortal, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for module in (broker_module, mqtt):
        monkeypatch.setattr(module, "ANSWER_S", 1.0)
    unconfirmed = pytest.raises(SinkError, match=r"has not confirmed the last messages in 1 s$")
    with unconfirmed, opened(mortal.broker.config()) as sink:
        mortal.kill()
        send(sink, [READING], "07")
    assert capfd.readouterr().err.count("connection lost: ") == 1


# Home Assistant


def test_home_assistants_birth_brings_everything_again(broker: Broker, topic: str) -> None:
    house = Subscriber(broker, topic, "homeassistant/device")
    config = broker.config(topic=topic)
    found = homeassistant.discovery_topic(config)
    with opened(config) as sink:
        send(sink, [READING], "07")
        assert sink._broker.settle()
        house.publish("homeassistant/status", "offline")
        house.publish("homeassistant/status", "online")
        own = (message for message in iter(house.next, None) if message[0].startswith((f"{topic}/", found)))
        got = [(t, payload) for t, payload, old in (next(own) for _ in range(9)) if not old]
    house.close()
    assert [t for t, _ in got].count(found) == 2
    config_again, *states = got[5:]
    assert config_again == got[0]
    assert states == [got[1], got[3], got[4]]  # the status, the number, the diagnostics


def test_a_birth_of_long_ago_is_no_news(broker: Broker, topic: str) -> None:
    house = Subscriber(broker, topic)
    house.publish("homeassistant/status", "online", retain=True)
    with opened(broker.config(topic=topic)) as sink:
        send(sink, [READING], None)
    house.publish("homeassistant/status", "", retain=True)
    assert [house.next()[0].rpartition("/")[2] for _ in range(4)] == ["status", "reading", "diagnostics", "status"]
    house.close()


def test_without_discovery_nothing_is_said_to_home_assistant(broker: Broker, topic: str) -> None:
    with opened(broker.config(topic=topic, discovery=False)) as sink:
        send(sink, [READING], "07")
    assert set(retained(broker, topic)) == {f"{topic}/{name}" for name in ("status", "number", "diagnostics")}


def test_forget_deletes_all_that_is_retained(
    broker: Broker, topic: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(broker.config(topic=topic)) as sink:
        send(sink, [READING], "07")
    assert len(retained(broker, topic)) == 4
    (tmp_path / "run.toml").write_text(f"""
        model = "not looked at"
        [mqtt]
        host = "127.0.0.1"
        port = {broker.plain}
        topic = "{topic}"
        username = "edge"
        password_file = "{broker.folder}/edge.secret"
        tls = false
    """)
    assert cli.main(["run", "--config", str(tmp_path / "run.toml"), "--forget"], standalone_mode=False) == 0
    assert retained(broker, topic) == {}
    said = capsys.readouterr()
    assert (said.out, len(said.err.splitlines())) == ("", 4)


def test_forget_without_a_broker_or_a_login(broker: Broker) -> None:
    with pytest.raises(ConfigError, match=r"^--forget: there is no \[mqtt\]"):
        forget_all(RunConfig())
    wrong = broker.config(password_file=str(broker.folder / "wrong.secret"))
    with pytest.raises(SinkError, match="refuses the login: Not authorized"):
        forget_all(RunConfig(mqtt=wrong))


# Regions and commands


GAS = Region(name="gas", box=(0, 0, 1, 1), rules=Rules(digits=5, decimals=1))
CLOCK = Region(name="clock", box=(0, 0, 1, 1))


def after(subscriber: Subscriber, last: str) -> list[tuple[str, bytes]]:
    """Return what is received up to a topic."""
    got = [subscriber.next()[:2]]
    while got[-1][0] != last:
        got.append(subscriber.next()[:2])
    return got


def test_each_region_has_its_number_and_readings_say_theirs(broker: Broker, subscriber: Subscriber, topic: str) -> None:
    config = broker.config(topic=topic)
    gas, clock = (msgspec.structs.replace(READING, region=name) for name in ("gas", "clock"))
    with opened(config, regions=(GAS, CLOCK)) as sink:
        for number in ("0041.7", "0041.7", "0041.8"):
            found = [readings.outcome(gas, number, "gas"), readings.outcome([clock, SECOND], None, "clock")]
            sink.send(readings.frame(), found)
        sink._broker.settle()
        device = json.loads(retained(broker, topic)[homeassistant.discovery_topic(config)])
    got = after(subscriber, f"{topic}/status")[1:] + after(subscriber, f"{topic}/status")
    assert [payload for t, payload in got if t == f"{topic}/gas/number"] == [b"0041.7", b"0041.8"]
    assert not [t for t, _ in got if t in (f"{topic}/clock/number", f"{topic}/number")]
    assert [decode_reading(p).region for t, p in got if t == f"{topic}/reading"] == ["gas", "clock", ""] * 3
    states = {key: entity.get("state_topic") for key, entity in device["components"].items()}
    assert states["gas_number"] == f"{topic}/gas/number"
    assert states["clock_number"] == f"{topic}/clock/number"
    assert device["components"]["gas_set_value"]["command_topic"] == f"{topic}/gas/set_value"


def test_numbers_are_set_by_whom_the_broker_lets(broker: Broker, topic: str) -> None:
    house, desk = Subscriber(broker, "end"), readings.desk()
    # What was said before we came is old news.
    house.publish(f"{topic}/gas/set_value", "111.1", retain=True)
    with opened(broker.config(topic=topic), desk, regions=(GAS, CLOCK)) as sink:
        assert sink._broker.settle()
        house.publish(f"{topic}/clock/set_value", "12")  # it has no rules
        house.publish(f"{topic}/set_value", "13")  # the whole frame is not read
        house.publish(f"{topic}/gas/set_value", " 0041.7\n")
        house.publish(f"{topic}/gas/set_value", "9" * 500)
        wanted: list[SetNumber] = []
        while len(wanted) < 2:
            assert desk.control.wake.wait(WAIT_S)
            wanted += desk.control.taken()[1]
    house.publish(f"{topic}/gas/set_value", "", retain=True)
    house.close()
    assert wanted == [SetNumber("gas", "0041.7"), SetNumber("gas", "9" * 40)]


def test_the_whole_frames_number_is_set(broker: Broker, topic: str) -> None:
    house, desk = Subscriber(broker, "end"), readings.desk()
    with opened(broker.config(topic=topic), desk, rules=Rules()) as sink:
        assert sink._broker.settle()
        house.publish(f"{topic}/set_value", "13")
        assert desk.control.wake.wait(WAIT_S)
    house.close()
    assert desk.control.taken() == (False, [SetNumber("", "13")])


def test_a_snapshot_is_the_next_frame_and_is_not_kept(broker: Broker, subscriber: Subscriber, topic: str) -> None:
    house = Subscriber(broker, "end")
    with opened(broker.config(topic=topic)) as sink:
        assert sink._broker.settle()
        asked = threading.Event()
        snap = sink._broker.listen[f"{topic}/snapshot"]
        sink._broker.listen = {f"{topic}/snapshot": lambda message: (snap(message), asked.set())}  # type: ignore[dict-item]
        house.publish(f"{topic}/snapshot", "PRESS")
        assert asked.wait(WAIT_S)
        for _ in range(2):
            sink.send(readings.frame(width=64, height=48), [readings.outcome(READING)])
    house.close()
    got = after(subscriber, f"{topic}/status")[1:] + after(subscriber, f"{topic}/status")
    (jpeg,) = [payload for t, payload in got if t == f"{topic}/picture"]
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert jpeg.startswith(b"\xff\xd8")
    assert picture is not None and picture.shape == (48, 64, 3)
    assert picture.max() > 50  # boxes on black
    assert set(retained(broker, topic)) == {
        homeassistant.discovery_topic(broker.config(topic=topic)),
        *(f"{topic}/{name}" for name in ("status", "diagnostics")),
    }


def test_a_picture_larger_than_the_broker_takes_breaks_the_connection_once(
    tmp_path: Path, told: queue.Queue[str]
) -> None:
    small = make_broker(tmp_path)
    conf = tmp_path / "conf"
    conf.write_text(
        conf.read_text().replace("max_inflight_messages", "message_size_limit 20000\nmax_inflight_messages")
    )
    process = small.start()
    subscriber = Subscriber(small, "meter")
    noise = np.random.default_rng(1).integers(0, 256, (1440, 1920, 3), np.uint8)
    try:
        with opened(small.config()) as sink:
            sink._wants_picture = True
            sink.send(readings.frame()._replace(image=noise), [readings.outcome(READING)])
            sink.send(readings.frame(), [readings.outcome(SECOND)])
            assert told.get(timeout=WAIT_S).startswith("connection lost")
            assert re.fullmatch(
                r"meter/one/picture was not confirmed and is not sent again: \d+ bytes: check how large .*",
                told.get(timeout=WAIT_S),
            )
            assert told.get(timeout=WAIT_S) == "connected again; 1 messages were dropped so far"
            assert sink._broker.settle()
            # And the next, which it takes, comes.
            sink._wants_picture = True
            sink.send(readings.frame(), [readings.outcome(READING)])
            assert sink._broker.settle()
        got = after(subscriber, "meter/one/picture")
        assert ("meter/one/reading", encode_reading(SECOND)) in got
        assert told.empty()
    finally:
        subscriber.close()
        process.terminate()
        process.wait(WAIT_S)


def test_without_commands_nothing_is_listened_to(broker: Broker) -> None:
    assert set(opened(broker.config(), rules=Rules())._broker.listen) == {
        "homeassistant/status",
        "meter/one/diagnostics",
        "meter/one/snapshot",
        "meter/one/set_value",
    }
    assert set(opened(broker.config(commands=False), rules=Rules())._broker.listen) == {
        "homeassistant/status",
        "meter/one/diagnostics",
    }
    assert opened(broker.config(commands=False, discovery=False))._broker.listen == {}


def test_a_broker_that_does_not_let_us_listen(tmp_path: Path) -> None:
    # An acl_file of mosquitto's lets anybody subscribe and then delivers nothing; this plugin refuses.
    plugin = next(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"), None)
    if plugin is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            "mosquitto has no mosquitto_dynamic_security.so"
        )
    access = {"publishClientSend": True, "publishClientReceive": True, "subscribe": False, "unsubscribe": True}
    (tmp_path / "access.json").write_text(json.dumps({"defaultACLAccess": access}))
    (tmp_path / "access.json").chmod(0o600)
    port = free_port()
    (tmp_path / "conf").write_text(f"""
user root
allow_anonymous true
plugin {plugin}
plugin_opt_config_file {tmp_path}/access.json
listener {port} 127.0.0.1
""")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([tool("mosquitto"), "-c", tmp_path / "conf"], stdout=log, stderr=log)
    try:
        wait_for(port, process, tmp_path / "log")
        config = Mqtt(host="127.0.0.1", port=port, tls=False, topic="meter", discovery=False)
        with pytest.raises(SinkError) as caught, opened(config) as sink:
            assert sink._broker.settle()
            send(sink, [READING], None)
        assert str(caught.value) == (
            f"mqtt://127.0.0.1:{port}: the broker refuses to let us read meter/snapshot: Not authorized: "
            "allow it in the broker's ACL or set mqtt.discovery and mqtt.commands = false"
        )
        with opened(msgspec.structs.replace(config, commands=False)) as sink:
            send(sink, [READING], "07")
    finally:
        process.terminate()
        process.wait(WAIT_S)


def test_forget_deletes_the_regions_topics_too(broker: Broker, topic: str) -> None:
    config = broker.config(topic=topic)
    with opened(config, regions=(GAS, CLOCK)) as sink:
        sink.send(readings.frame(), [readings.outcome(READING, "7", region) for region in ("gas", "clock")])
    assert set(retained(broker, topic)) == {
        homeassistant.discovery_topic(config),
        *(f"{topic}/{name}" for name in ("status", "diagnostics", "gas/number", "clock/number")),
    }
    assert len(forget_all(RunConfig(mqtt=config, regions=(GAS, CLOCK)))) == 5
    assert retained(broker, topic) == {}


@pytest.fixture
def of_before(broker: Broker, topic: str) -> Mqtt:
    """Have two regions, gas and clock, leave all that they leave with a broker that lets us read it."""
    config = broker.config(topic=topic, username="house", password_file=str(broker.folder / "house.secret"))
    desk = readings.desk()
    desk.health.held = {"gas": True, "clock": False}
    with opened(config, desk, regions=(GAS, CLOCK)) as sink:
        sink.send(readings.frame(), [readings.outcome(READING, "7", region) for region in ("gas", "clock")])
    return config


def test_what_a_region_of_before_left_is_deleted_and_its_entities_with_it(
    broker: Broker, of_before: Mqtt, topic: str
) -> None:
    discovery = homeassistant.discovery_topic(of_before)
    left = {discovery, *(f"{topic}/{name}" for name in ("status", "diagnostics", "gas/number"))}
    assert set(retained(broker, topic)) == left | {f"{topic}/clock/number"}
    house = Subscriber(broker, discovery.rpartition("/")[0])
    with opened(of_before, regions=(GAS,)) as sink:
        assert sink._broker.settle()
        old, new, removal = (json.loads(house.next()[1]) for _ in range(3))
    house.close()
    found = retained(broker, topic)
    assert set(found) == left
    assert found[f"{topic}/gas/number"] == b"7"
    assert json.loads(found[discovery]) == new
    assert set(old["components"]) - set(new["components"]) == {"clock_number", "clock_held"}
    assert {key: one for key, one in removal["components"].items() if key not in new["components"]} == {
        "clock_number": {"platform": "sensor"},
        "clock_held": {"platform": "binary_sensor"},
        "clock_set_value": {"platform": "text"},
    }


def test_forget_deletes_what_regions_of_before_left(broker: Broker, of_before: Mqtt, topic: str) -> None:
    assert set(forget_all(RunConfig(mqtt=of_before))) >= {f"{topic}/gas/number", f"{topic}/clock/number"}
    assert retained(broker, topic) == {}


@pytest.mark.parametrize(
    "payload", ['{"held": false}', '{"held": {"a/#": true}}', '{"held": {"gas": 1}}', "{", "[]", "\xff"]
)
def test_diagnostics_that_are_not_ours_delete_nothing(payload: bytes) -> None:
    assert mqtt.gone(broker_module.Message("t", payload, True), RunConfig()) == []
    ours = broker_module.Message("t", b'{"held": {"": false, "gas": true}, "more": 1}', True)
    assert mqtt.gone(ours, RunConfig()) == ["gas"]
    # What is not retained is what we have just said.
    assert mqtt.gone(ours._replace(retain=False), RunConfig()) == []


def test_a_reload_with_other_settings_connects_anew(
    broker: Broker, subscriber: Subscriber, topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(below: str, port: int = broker.plain) -> None:
        path.write_text(f"""
            [mqtt]
            host = "127.0.0.1"
            port = {port}
            topic = "{topic}/{below}"
            username = "edge"
            password_file = "{broker.folder}/edge.secret"
            tls = false
        """)

    path, control = broker.folder / "run.toml", Control()
    write("a")
    file = ConfigFile(path)
    with Parts() as parts:
        runner = Runner(file.load(), file, control, parts)
        frames = runner.frames()
        source = runner.source
        # The second is not there, and reading goes on without it.
        away = free_port()
        for seq, (below, port) in enumerate((("a", broker.plain), ("b", away), ("c", broker.plain))):
            frame = next(frames)
            runner.read(frame)
            assert frame.seq == seq
            write(below, port)
            control.ask_reload()
        frame = next(frames)
        runner.read(frame)
        assert (frame.seq, runner.source) == (3, source)
    told = capsys.readouterr().err.splitlines()
    where = f"digitcam: mqtt://127.0.0.1:{away}: "
    anew = "digitcam: the configuration was read anew"
    refused = f"{where}cannot reach the broker: [Errno 111] Connection refused: reading goes on, up to 1000 messages "
    never = f"{where}the broker was never there: what was read meanwhile is lost to it"
    assert told == [anew, f"{refused}wait for the broker", anew, never, anew]
    states = []
    while len(states) < 4:
        t, payload, _ = subscriber.next()
        if t.endswith("/status"):
            states.append((t.removeprefix(f"{topic}/"), payload))
    assert states == [(f"{below}/status", says) for below in "ac" for says in (b"online", b"offline")]


# Files


@pytest.mark.parametrize("key", ["password_file", "ca_file", "cert_file"])
def test_files_that_are_not_there(tmp_path: Path, key: str) -> None:
    config = msgspec.structs.replace(Mqtt(host="127.0.0.1", username="me"), **{key: str(tmp_path / "gone")})
    with pytest.raises(ConfigError, match=rf"gone: cannot read mqtt.{key}: .*No such file"):
        opened(config).__enter__()


def test_files_of_etc_digitcam_are_read_where_systemd_hands_them_to_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert handed("/etc/digitcam/ca.pem") == "/etc/digitcam/ca.pem"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    for name in ("ca.pem", "password"):
        (tmp_path / name).write_text("handed\n")
    assert handed("/etc/digitcam/ca.pem") == str(tmp_path / "ca.pem")
    assert [handed(path) for path in ("ca.pem", "/etc/ca.pem", "/etc/digitcam/other")] == [
        "ca.pem",
        "/etc/ca.pem",
        "/etc/digitcam/other",
    ]
    # As root alone can read them in their own place, here where there is none.
    assert read_secret("mqtt", "password", "/etc/digitcam/password", None) == "handed"
    with pytest.raises(ConfigError, match=r"^/etc/digitcam/ca\.pem: cannot read mqtt.ca_file: "):
        opened(Mqtt(host="127.0.0.1", ca_file="/etc/digitcam/ca.pem")).__enter__()


def test_by_hand_secrets_are_read_where_systemd_takes_them_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setattr(secret, "FOLDER", f"{tmp_path}/etc/")
    monkeypatch.setattr(secret, "CREDENTIALS", f"{tmp_path}/credentials/")
    of_service = f"{tmp_path}/credentials/digitcam.service/password"
    with pytest.raises(ConfigError, match=rf"^{tmp_path}/etc/password: cannot read mqtt.password_file: No such file"):
        read_secret("mqtt", "password", of_service, None)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/password").write_text("by hand\n")
    assert read_secret("mqtt", "password", of_service, None) == "by hand"
    assert handed(f"{tmp_path}/etc/password") == f"{tmp_path}/etc/password"
    # Of a service that takes it from elsewhere, while it runs.
    Path(of_service).parent.mkdir(parents=True)
    Path(of_service).write_text("from elsewhere\n")
    assert read_secret("mqtt", "password", of_service, None) == "from elsewhere"


def test_a_secret_that_another_user_may_read_names_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ConfigError) as caught:
        read_secret("mqtt", "password", "/secret", None)
    assert str(caught.value) == "/secret: cannot read mqtt.password_file: Permission denied: try sudo"


def test_of_ones_own_authority_python_3_13_asks_no_more_than_others(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = ssl.create_default_context

    def strict(**given: Any) -> ssl.SSLContext:
        context = default(**given)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    # Made as openssl makes it when nothing is said of extensions.
    own = str(broker.folder / "ca.crt")
    assert not verifying("mqtt", own).verify_flags & ssl.VERIFY_X509_STRICT
    assert verifying("mqtt", own).verify_mode is ssl.CERT_REQUIRED and verifying("mqtt", own).check_hostname
    assert verifying("mqtt", None).verify_flags & ssl.VERIFY_X509_STRICT


def test_a_ca_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate\n")
    with pytest.raises(ConfigError, match=r"ca\.pem: cannot read mqtt.ca_file"):
        opened(Mqtt(host="127.0.0.1", ca_file=str(tmp_path / "ca.pem"))).__enter__()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"cert_file": "edge.crt", "key_file": "s.key"}, r"cannot use mqtt.cert_file and mqtt.key_file: .*mismatch"),
        ({"cert_file": "edge.crt"}, r"cannot use mqtt.cert_file and mqtt.key_file: "),
        ({"cert_file": "edge.crt", "key_file": "locked.key"}, r"locked\.key: the key is encrypted: write it without"),
        ({"cert_file": "edge.crt", "key_file": "gone.key"}, r"gone\.key: cannot read mqtt.key_file: No such file"),
    ],
)
def test_client_certificates_that_cannot_be_used(broker: Broker, files: dict[str, str], message: str) -> None:
    paths = {key: str(broker.folder / name) for key, name in files.items()}
    with pytest.raises(ConfigError, match=message) as caught:
        opened(Mqtt(host="127.0.0.1", port=broker.tls, **paths)).__enter__()
    assert "\n" not in str(caught.value)
