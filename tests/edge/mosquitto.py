"""A Mosquitto with passwords, access lists and TLS, and who listens to it."""

from __future__ import annotations

import os
import queue
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from machine import free_port
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from digitcam.edge.config.mqtt import Mqtt
from digitcam.edge.sinks import homeassistant

WAIT_S = 10


class Broker(NamedTuple):
    """A mosquitto that knows three.

    `edge` may write below meter/ and its own device's discovery, and read what Home Assistant says of itself and asks
    for; `viewer` may read everything; `house` is Home Assistant. `certificate` is a port that wants a client
    certificate for a login.
    """

    plain: int
    tls: int
    certificate: int
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

    def start(self) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("wb") as log:
            process = subprocess.Popen([tool("mosquitto"), "-c", self.folder / "conf"], stdout=log, stderr=log)
        for port in (self.plain, self.tls, self.certificate):
            wait_for(port, process, self.folder / "log")
        return process


def tool(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if not found:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{name} is not installed: apt-get install it")
    return str(found)


def make_certificates(folder: Path) -> None:
    """Write an authority ca.crt, and signed by it s.crt, s.key of 127.0.0.1 and edge.crt, edge.key of a client."""
    openssl = tool("openssl")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    for command in (
        f"req -x509 {key} -days 2 -subj /CN=digitcam-test-ca -keyout ca.key -out ca.crt",
        f"req {key} -subj /CN=broker -keyout s.key -out s.csr",
        "x509 -req -in s.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out s.crt",
        f"req {key} -subj /CN=edge -keyout edge.key -out edge.csr",
        "x509 -req -in edge.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out edge.crt",
        "pkey -in edge.key -aes256 -passout pass:secret -out locked.key",
    ):
        subprocess.run([openssl, *command.split()], cwd=folder, check=True, capture_output=True)


def set_password(broker: Broker, user: str, password: str) -> None:
    subprocess.run([tool("mosquitto_passwd"), "-b", broker.folder / "passwords", user, password], check=True)


def make_broker(folder: Path) -> Broker:
    broker = Broker(free_port(), free_port(), free_port(), folder)
    make_certificates(folder)
    (folder / "passwords").touch(0o600)
    for user in ("edge", "viewer", "house"):
        set_password(broker, user, f"{user} pass")
        (folder / f"{user}.secret").write_text(f"{user} pass\n")
    (folder / "wrong.secret").write_text("edge\n")
    (folder / "acl").write_text("""
user edge
topic write meter/#
topic write homeassistant/device/#
topic read homeassistant/status
topic read meter/+/set_value
topic read meter/+/+/set_value
topic read meter/+/snapshot
user viewer
topic read #
user house
topic readwrite #
""")
    tls = f"cafile {folder}/ca.crt\ncertfile {folder}/s.crt\nkeyfile {folder}/s.key"
    (folder / "conf").write_text(f"""
user root
allow_anonymous false
max_inflight_messages 7
password_file {folder}/passwords
acl_file {folder}/acl
listener {broker.plain} 127.0.0.1
listener {broker.tls} 127.0.0.1
{tls}
listener {broker.certificate} 127.0.0.1
{tls}
require_certificate true
use_identity_as_username true
""")
    return broker


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
    """Receives what is published below some topics, as Home Assistant: (topic, payload, retained)."""

    def __init__(self, broker: Broker, *topics: str) -> None:
        self.got: queue.Queue[tuple[str, bytes, bool]] = queue.Queue()
        ready = threading.Event()
        self.client = client = Client(CallbackAPIVersion.VERSION2)
        client.username_pw_set("house", "house pass")
        client.on_connect = lambda client, *_: client.subscribe([(f"{topic}/#", 1) for topic in topics])
        client.on_subscribe = lambda *_: ready.set()
        client.on_message = lambda client, data, m: self.got.put((m.topic, bytes(m.payload), m.retain))
        client.connect("127.0.0.1", broker.plain)
        client.loop_start()
        assert ready.wait(WAIT_S)

    def next(self) -> tuple[str, bytes, bool]:
        return self.got.get(timeout=WAIT_S)

    def publish(self, topic: str, payload: str, retain: bool = False) -> None:
        self.client.publish(topic, payload, 1, retain).wait_for_publish(WAIT_S)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def retained(broker: Broker, topic: str) -> dict[str, bytes]:
    """What who comes late learns of a sink: its retained messages."""
    late = Subscriber(broker, topic, "homeassistant/device", "end")
    late.publish("end", "")  # the broker delivers in order
    got = list(iter(lambda: late.next(), ("end", b"", False)))
    late.close()
    assert all(old for _, _, old in got)
    own = (f"{topic}/", f"homeassistant/device/{homeassistant.device_id(topic)}/")
    return {t: payload for t, payload, _ in got if t.startswith(own)}
