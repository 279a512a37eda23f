"""Readings to an MQTT broker, confirmed (QoS 1), over TLS unless told otherwise, and found by Home Assistant.

`<topic>/reading` gets every reading as JSON. Retained are `<topic>/number`, the number that stands; `<topic>/status`,
`online` or `offline`, which the broker itself says when the connection breaks; `<topic>/diagnostics`, how the reading
goes, every `DIAGNOSTICS_S`; and, for Home Assistant, the device's configuration.
"""

from __future__ import annotations

import time
from types import TracebackType

import msgspec

from digitcam.core.errors import SinkError
from digitcam.core.reading import Reading, encode_reading
from digitcam.edge.config import Mqtt
from digitcam.edge.sinks import homeassistant
from digitcam.edge.sinks.broker import ANSWER_S, Broker, Message
from digitcam.edge.sinks.diagnostics import Tally

DIAGNOSTICS_S = 30.0
"""How often they are published: Home Assistant keeps every value it is sent."""


class MqttSink:
    """A broker; a connection lost while running is made again, and what was sent meanwhile delivered then."""

    def __init__(self, config: Mqtt) -> None:
        self.config = config
        self._number: str | None = None
        self._tally: Tally | None = None
        self._report_at_s = 0.0
        listen = {homeassistant.BIRTH_TOPIC: self._born} if config.discovery else {}
        needs = f"{config.topic}/..."
        if config.discovery:
            needs += f" or {homeassistant.discovery_topic(config)}"
        self._broker = Broker(config, Message(f"{config.topic}/status", "offline", True), listen, needs)

    def __enter__(self) -> MqttSink:
        """Connect, log in, and say `online`.

        Raises
        ------
        ConfigError
            When the password or the certificates cannot be read.
        SinkError
            When the broker cannot be reached, or refuses.
        """
        if self.config.discovery:
            # Costs as much as the rest of this module, so only where it is needed.
            from importlib.metadata import version

            payload = msgspec.json.encode(homeassistant.discovery(self.config, version("digitcam")))
            self._broker.publish(Message(homeassistant.discovery_topic(self.config), payload, True))
        self._publish("status", "online", retain=True)
        self._broker.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say `offline`, wait until all is confirmed, and disconnect; SinkError when it is not."""
        self._publish("status", "offline", retain=True)
        _finish(self._broker, raises=kind is None)

    def send(self, readings: list[Reading], number: str | None) -> None:
        """Publish the readings, the number when it is another than before, and the diagnostics when it is time.

        Raises
        ------
        SinkError
            When the broker has refused a message. One that is away is waited for, see `sinks.broker`.
        """
        self._broker.check()
        for reading in readings:
            self._publish("reading", encode_reading(reading))
        if number is not None and number != self._number:
            self._number = number
            self._publish("number", number, retain=True)
        now_s = time.monotonic()
        tally = (self._tally or Tally(now_s)).after(readings)
        if now_s >= self._report_at_s:
            report = tally.report(now_s, self._broker.dropped)
            self._publish("diagnostics", msgspec.json.encode(report), retain=True)
            tally, self._report_at_s = tally.anew(now_s), now_s + DIAGNOSTICS_S
        self._tally = tally

    def _publish(self, name: str, payload: str | bytes, retain: bool = False) -> None:
        self._broker.publish(Message(f"{self.config.topic}/{name}", payload, retain))

    def _born(self, message: Message) -> None:
        # A retained one is old news: the connection has just begun with everything.
        if message.payload == homeassistant.BIRTH and not message.retain:
            self._broker.republish()


def forget(config: Mqtt) -> list[str]:
    """Delete everything retained of a digitcam from the broker, and so its device from Home Assistant.

    Returns
    -------
    topics
        Those deleted.

    Raises
    ------
    ConfigError, SinkError
        As when it connects.
    """
    topics = [homeassistant.discovery_topic(config)] if config.discovery else []
    topics += [f"{config.topic}/{name}" for name in ("status", "number", "diagnostics")]
    broker = Broker(config, None, {}, " or ".join(topics))
    for topic in topics:
        broker.publish(Message(topic, "", True))
    broker.open()
    _finish(broker, raises=True)
    return topics


def _finish(broker: Broker, raises: bool) -> None:
    confirmed = broker.settle()
    broker.close()
    if raises:
        broker.check()
        if not confirmed:
            raise SinkError(f"{broker.where}: the broker has not confirmed the last messages in {ANSWER_S:.0f} s")
