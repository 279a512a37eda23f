"""A connection to an MQTT broker that outlives the broker: QoS 1, a bounded queue, retained messages said again.

A broker that refuses the first login, or what we send, is an error. One that is away, from the beginning or later, is
waited for: meanwhile messages are queued, the oldest dropped and counted once there are too many. Every connection
begins with the newest message of each retained topic, for a broker that was started anew may have forgotten them.
"""

from __future__ import annotations

import ssl
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from digitcam.core.errors import SinkError
from digitcam.edge.config.mqtt import Mqtt
from digitcam.edge.log import log
from digitcam.edge.sinks import credentials
from digitcam.edge.sinks.notices import Notices

ANSWER_S = 10.0
"""How long the broker may take to answer the login, and at the end to confirm what it was sent."""
KEEPALIVE_S = 30
"""A silence after which either side takes the connection for broken."""
RETRY_S = (1, 30)
"""The first and the longest pause between tries to reach a broker that went away."""
WAITING = 1000
"""How many messages may wait for a broker that is away: memory is not endless."""
AWAY = f"reading goes on, up to {WAITING} messages wait for the broker"
IN_FLIGHT = 20
"""How many may be sent and not yet confirmed; fewer where the broker says so."""
BAD_LOGIN = (134, 135)
"""MQTT's reasons for which another login may help: bad user name or password, not authorized."""


class Message(NamedTuple):
    """What is published.

    payload
        In UTF-8.
    retain
        Whether the broker is to keep it for who comes later.
    once
        Whether it is not sent again when the connection breaks before it is confirmed: a broker that takes no message
        of its size breaks the connection, each time anew. Goes for all messages of its topic.
    """

    topic: str
    payload: str | bytes
    retain: bool = False
    once: bool = False


class Broker:
    """A broker; `publish` may be called before `open`, and what it is given is sent then.

    will
        What the broker itself says when the connection breaks.
    listen
        Topics, and what to call with each message of others there, from a thread of the connection's own.
    needs
        The topics published to, for people: what an access list has to allow.
    """

    def __init__(
        self, config: Mqtt, will: Message | None, listen: Mapping[str, Callable[[Message], None]], needs: str
    ) -> None:
        self.config, self.listen, self.needs = config, listen, needs
        self.where = f"{'mqtts' if config.tls else 'mqtt'}://{config.host}:{config.port}"
        self.dropped = 0
        self._answered = threading.Event()
        self._login: ReasonCode | None = None
        self._refused: str | None = None
        self._shut_out: str | None = None
        self._retained: dict[str, Message] = {}
        self._once: set[str] = set()
        self._waiting: deque[Message] = deque()
        self._in_flight, self._limit = 0, IN_FLIGHT
        self._connected = self._handing_over = self._closing = False
        self._notices = Notices(self.where)
        # Never held while paho is called: paho holds locks of its own while it calls us.
        self._changed = threading.Condition()
        # MQTT 5, because in it a broker says when it does not let a message through.
        client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        client.max_inflight_messages_set(0)  # counted here
        client.reconnect_delay_set(*RETRY_S)
        if will:
            client.will_set(will.topic, will.payload, qos=1, retain=will.retain)
        client.on_connect, client.on_disconnect, client.on_publish = self._on_connect, self._on_lost, self._on_publish
        client.on_subscribe, client.on_message = self._on_subscribe, self._on_message
        client.on_connect_fail = self._on_unreachable
        self._client = client

    def open(self, wait: bool = False) -> None:
        """Connect and log in.

        wait
            Whether to go on trying, and return meanwhile, where nobody answers yet.

        Raises
        ------
        ConfigError
            When the password or the certificates cannot be read.
        SinkError
            When the broker cannot be reached, refuses, or is not the one that the certificates are for.
        """
        config, client = self.config, self._client
        if config.username:
            client.username_pw_set(config.username, credentials.password(config))
        if config.tls:
            client.tls_set_context(credentials.tls_context(config))
        try:
            client.connect(config.host, config.port, KEEPALIVE_S)
        except (OSError, UnicodeError) as error:  # the latter where the host cannot be a name
            if not wait or isinstance(error, (ssl.SSLError, UnicodeError)):
                raise SinkError(f"{self.where}: {_unreachable(error)}") from None
            self._notices.tell(f"{_unreachable(error)}: {AWAY}")
            client.loop_start()
            return
        client.loop_start()
        self._answered.wait(ANSWER_S)
        if self._login is None or self._login.is_failure:
            self.close()
            keys = "mqtt.port, mqtt.tls and mqtt.cert_file" if config.tls else "mqtt.port and mqtt.tls"
            no_answer = f"the broker refuses the login: no answer: check {keys}"
            raise SinkError(f"{self.where}: {self._refusal(self._login) if self._login else no_answer}")

    @property
    def reached(self) -> bool:
        """Whether the broker has ever answered."""
        return self._login is not None

    def connected(self) -> bool:
        """Return whether the broker lets us in at this moment; to be called from any thread."""
        return self._connected

    def publish(self, message: Message) -> None:
        """Queue a message; when too many wait, the oldest that need not be retained is dropped."""
        with self._changed:
            if message.once:
                self._once.add(message.topic)
            if message.retain:
                self._retained[message.topic] = message
            if message.retain and not self._connected:
                return  # the next connection begins with it
            if len(self._waiting) >= WAITING:
                oldest = next((place for place, other in enumerate(self._waiting) if not other.retain), 0)
                del self._waiting[oldest]
                self.dropped += 1
            self._waiting.append(message)
        self._hand_over()

    def republish(self) -> None:
        """Say everything retained again, ahead of what waits."""
        with self._changed:
            self._retained_first()
        self._hand_over()

    def check(self) -> None:
        """SinkError when the broker has refused the first login, a message or a subscription."""
        if self._shut_out:
            raise SinkError(f"{self.where}: {self._shut_out}")
        if self._refused:
            ways = "allow it in the broker's ACL" + (
                " or set mqtt.discovery and mqtt.commands = false" if self.listen else ""
            )
            raise SinkError(f"{self.where}: the broker refuses {self._refused}: {ways}")

    def settle(self) -> bool:
        """Wait until all is confirmed; False when that takes more than `ANSWER_S`."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._connected and not self._waiting and not self._in_flight, ANSWER_S
            )

    def close(self) -> None:
        """Disconnect; what is not confirmed by then is lost."""
        self._closing = True
        self._client.disconnect()
        self._client.loop_stop()

    def _refusal(self, reason: ReasonCode) -> str:
        mend = f": {credentials.login_mend(self.config)}" if reason.value in BAD_LOGIN else ""
        return f"the broker refuses the login: {reason}{mend}"

    def _retained_first(self) -> None:
        others = [message for message in self._waiting if not message.retain]
        self._waiting = deque((*self._retained.values(), *others))

    def _hand_over(self) -> None:
        """Give paho what it may send now; by one thread at a time, lest messages overtake each other."""
        while True:
            with self._changed:
                full = self._in_flight >= self._limit
                if self._handing_over or full or not self._connected or not self._waiting:
                    return
                self._handing_over = True
                message = self._waiting.popleft()
                # Counted here and not by paho's MQTTMessageInfo, which gives up on a message sent between two
                # connections.
                self._in_flight += 1
            self._client.publish(message.topic, message.payload, qos=1, retain=message.retain)
            with self._changed:
                self._handing_over = False

    # The rest is called from paho's thread.

    def _on_connect(self, client: Client, data: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        again, self._login = self._login is not None, reason
        if reason.is_failure:
            if again:
                self._notices.tell(f"{self._refusal(reason)}: reading goes on")
            else:
                self._shut_out = self._refusal(reason)
        else:
            # paho would send what the last connection left unconfirmed after what this one begins with, and so an old
            # retained message after its newer one.
            unconfirmed = client.drop_out_messages()
            lost = [message for message in unconfirmed if message.topic in self._once]
            with self._changed:
                self._in_flight -= len(unconfirmed)
                self.dropped += len(lost)
                self._waiting.extendleft(
                    Message(message.topic, bytes(message.payload), message.retain)
                    for message in reversed(unconfirmed)
                    if message not in lost
                )
                self._retained_first()
                self._limit = min(IN_FLIGHT, getattr(properties, "ReceiveMaximum", IN_FLIGHT))
                self._connected = True
            for message in lost:
                told = f"{message.topic} was not confirmed and is not sent again: {len(message.payload)} bytes"
                log.warning(f"{self.where}: {told}: check how large a message the broker takes")
            if self.listen:
                options = SubscribeOptions(qos=1, noLocal=True)
                client.subscribe([(topic, options) for topic in self.listen])
            self._notices.clear(f"connected{' again' if again else ''}; {self.dropped} messages were dropped so far")
            self._hand_over()
        self._answered.set()

    def _on_lost(self, client: Client, data: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        with self._changed:
            was_connected, self._connected = self._connected, False
        if was_connected and not self._closing:
            # Where the line just went dead there is no reason but "Unspecified error".
            why = "" if reason.value == 128 else f" ({reason})"
            self._notices.tell(f"connection lost{why}: {AWAY}")
        self._answered.set()

    def _on_unreachable(self, client: Client, data: Any) -> None:
        # paho calls this while it handles the error, which it keeps to itself. Waiting does not mend certificates.
        error = sys.exc_info()[1]
        if isinstance(error, ssl.SSLError):
            if self.reached:
                self._notices.tell(f"{_unreachable(error)}: reading goes on")
            else:
                self._shut_out = _unreachable(error)

    def _on_publish(self, client: Client, data: Any, mid: int, reason: ReasonCode, properties: Any) -> None:
        if reason.is_failure:
            self._refused = f"messages to {self.needs}: {reason}"
        with self._changed:
            self._in_flight -= 1
            self._changed.notify_all()
        self._hand_over()

    def _on_subscribe(self, client: Client, data: Any, mid: int, reasons: list[ReasonCode], properties: Any) -> None:
        for topic, reason in zip(self.listen, reasons, strict=False):
            if reason.is_failure:
                self._refused = f"to let us read {topic}: {reason}"

    def _on_message(self, client: Client, data: Any, message: Any) -> None:
        if call := self.listen.get(message.topic):
            call(Message(message.topic, message.payload, message.retain))


def _unreachable(error: Exception) -> str:
    mend = f": {credentials.tls_mend(error)}" if isinstance(error, ssl.SSLError) else ""
    return f"cannot reach the broker: {error}{mend}"
