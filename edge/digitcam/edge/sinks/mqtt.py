"""Readings to an MQTT broker, confirmed (QoS 1), over TLS unless told otherwise.

`<topic>/reading` gets every reading as JSON; `<topic>/number`, retained, the number that stands; `<topic>/status`,
retained, `online` or `offline`: the broker itself says `offline` when the connection breaks.
"""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from digitcam.core.errors import ConfigError, SinkError
from digitcam.core.reading import Reading, encode_reading
from digitcam.edge.config import Mqtt

ANSWER_S = 10.0
"""How long the broker may take to answer the login, and at the end to confirm what it was sent."""
KEEPALIVE_S = 30
"""A silence after which either side takes the connection for broken."""
WAITING = 1000
"""How many messages may wait for a broker that is away, before that is an error: memory is not endless."""


class MqttSink:
    """A broker; a connection lost while running is made again, and what was sent meanwhile delivered then."""

    def __init__(self, config: Mqtt) -> None:
        self.config = config
        self.where = f"{'mqtts' if config.tls else 'mqtt'}://{config.host}:{config.port}"
        self._answered = threading.Event()
        self._login: ReasonCode | None = None
        self._refused: str | None = None
        self._number: str | None = None
        self._waiting = 0
        self._all_confirmed = threading.Condition()
        # MQTT 5, because in it a broker says when it does not let a message through.
        client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        client.max_queued_messages_set(WAITING)
        client.will_set(f"{config.topic}/status", "offline", qos=1, retain=True)
        client.on_connect, client.on_disconnect, client.on_publish = self._connected, self._lost, self._published
        self._client = client

    def __enter__(self) -> MqttSink:
        """Connect and log in.

        Raises
        ------
        ConfigError
            When the password or the certificates cannot be read.
        SinkError
            When the broker cannot be reached, or refuses.
        """
        config, client = self.config, self._client
        if config.username:
            client.username_pw_set(config.username, _password(config.password_file))
        if config.tls:
            try:
                client.tls_set(config.ca_file)
            except OSError as error:
                raise ConfigError(f"{config.ca_file}: cannot read mqtt.ca_file: {error.strerror or error}") from None
        try:
            client.connect(config.host, config.port, KEEPALIVE_S)
        except (OSError, UnicodeError) as error:  # the latter where the host cannot be a name
            raise SinkError(f"{self.where}: cannot reach the broker: {error}") from None
        client.loop_start()
        self._answered.wait(ANSWER_S)
        if self._login is None or self._login.is_failure:
            self._close()
            reason = self._login or "no answer: check mqtt.port and mqtt.tls"
            raise SinkError(f"{self.where}: the broker refuses the login: {reason}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say `offline`, wait until all is confirmed, and disconnect; SinkError when it is not."""
        self._publish("status", "offline", retain=True)
        with self._all_confirmed:
            confirmed = self._all_confirmed.wait_for(lambda: not self._waiting, ANSWER_S)
        self._close()
        if kind is None:
            self._check()
            if not confirmed:
                raise SinkError(f"{self.where}: the broker has not confirmed the last messages in {ANSWER_S:.0f} s")

    def send(self, readings: list[Reading], number: str | None) -> None:
        """Publish the readings, and the number when it is another than before.

        Raises
        ------
        SinkError
            When the broker has refused a message, or been away for too long.
        """
        self._check()
        taken = [self._publish("reading", encode_reading(reading)) for reading in readings]
        if number is not None and number != self._number:
            self._number = number
            taken.append(self._publish("number", number, retain=True))
        if not all(taken):
            raise SinkError(f"{self.where}: {WAITING} messages wait to be confirmed: is the broker there?")

    def _publish(self, name: str, payload: str | bytes, retain: bool = False) -> bool:
        """Hand a message to paho's thread; False when too many wait there already."""
        # Counted here and not by paho's MQTTMessageInfo, which gives up on a message sent between two connections.
        self._count(1)
        sent = self._client.publish(f"{self.config.topic}/{name}", payload, qos=1, retain=retain)
        taken = sent.rc != MQTTErrorCode.MQTT_ERR_QUEUE_SIZE
        if not taken:
            self._count(-1)
        return taken

    def _count(self, step: int) -> None:
        with self._all_confirmed:
            self._waiting += step
            self._all_confirmed.notify()

    def _check(self) -> None:
        if self._refused:
            topic, reason = f"{self.config.topic}/...", self._refused
            raise SinkError(f"{self.where}: the broker refuses messages to {topic}: {reason}: allow them in its ACL")

    def _close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    # The rest is called from paho's thread.

    def _connected(self, client: Client, data: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        self._login = reason
        if not reason.is_failure:
            self._number = None  # a broker that was started anew may have forgotten it
            self._publish("status", "online", retain=True)
        self._answered.set()

    def _lost(self, client: Client, data: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        self._answered.set()

    def _published(self, client: Client, data: Any, mid: int, reason: ReasonCode, properties: Any) -> None:
        if reason.is_failure:
            self._refused = str(reason)
        self._count(-1)


def _password(file: str | None) -> str | None:
    if file is None:
        return None
    try:
        return Path(file).read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot read mqtt.password_file: {error}") from None
