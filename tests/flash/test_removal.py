"""A device that goes is forgotten by its broker, which may be away: over a real sshd, by a real Mosquitto."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from box import payload
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from sshbox import SshBox
from test_trial import broker

from digitcam.core.bundle import SHIPPED
from digitcam.edge.sinks.homeassistant import device_id
from digitcam.flash.ownwheel import own_wheel

TOPICS = (f"homeassistant/device/{device_id('meter')}/config", "meter/status", "meter/diagnostics", "meter/number")


class Listener:
    """Somebody at the broker who keeps what is retained there."""

    def __init__(self, port: int) -> None:
        self.kept: dict[str, bytes] = {}
        self.client = Client(CallbackAPIVersion.VERSION2)
        self.client.on_message = self._heard
        self.client.connect("127.0.0.1", port)

    def _heard(self, client: Client, data: Any, message: Any) -> None:
        self.kept[message.topic] = message.payload

    def tell(self) -> None:
        """Publish what a digitcam leaves behind, and nobody takes away."""
        for topic in TOPICS:
            self.client.publish(topic, "x", retain=True)

    def retained(self) -> set[str]:
        """Return the topics of which something is retained."""
        self.kept = {}
        self.client.subscribe("#")
        self.client.publish("end")
        while "end" not in self.kept:
            assert self.client.loop() == 0
        self.client.unsubscribe("#")
        return set(self.kept) - {"end"}


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def device(tmp_path: Path, port: int) -> Iterator[SshBox]:
    """A device whose broker wants a password, which systemd alone hands to the service."""
    device = SshBox(tmp_path / "device")
    mqtt = f"""[mqtt]
        host = "127.0.0.1"
        port = {port}
        topic = "meter"
        tls = false
        username = "meter"
        password_file = "/run/credentials/digitcam.service/mqtt-password"
    """
    slot = payload(tmp_path / "payload", own_wheel(tmp_path), f'source = "demo:"\n{mqtt}', SHIPPED / "canvas")
    (device.box.root / "etc/digitcam").mkdir()
    (device.box.root / "etc/digitcam/mqtt-password").write_text("s3cret\n")
    device.box.ok("install", tmp_path / "payload")
    # Left before its trial, for which there is no broker yet, it stays.
    device.box.call("switch", slot, kill="switch start")
    yield device
    device.stop()


def test_the_broker_forgets_what_goes(device: SshBox, tmp_path: Path, port: int) -> None:
    mosquitto = broker(port, tmp_path)
    try:
        with socket.socket() as probe:
            while probe.connect_ex(("127.0.0.1", port)):
                assert mosquitto.poll() is None
        listener = Listener(port)
        listener.tell()
        assert listener.retained() == set(TOPICS)
        done = device.flash("--remove")
        assert (done.returncode, done.stdout) == (0, "meter: removed\n"), done
        assert "may keep" not in done.stderr and listener.retained() == set()
    finally:
        mosquitto.terminate()
        mosquitto.wait()
    assert not device.box.home.exists()


def test_a_broker_that_is_away_keeps_no_device(device: SshBox, port: int) -> None:
    done = device.flash("--remove")
    assert (done.returncode, done.stdout) == (0, "meter: removed\n"), done
    (line,) = [line for line in done.stderr.splitlines() if "may keep" in line]
    assert line.startswith("its broker and Home Assistant may keep what they were told: ") and f":{port}: " in line
    assert not device.box.home.exists()
