"""Readings to an MQTT broker, confirmed (QoS 1), over TLS unless told otherwise, and found by Home Assistant.

`<topic>/reading` gets every reading as JSON. Retained are `<topic>/number`, the number that stands; `<topic>/status`,
`online` or `offline`, which the broker itself says when the connection breaks; `<topic>/diagnostics`, how the reading
goes, every `DIAGNOSTICS_S`; and, for Home Assistant, the device's configuration. Of a region the number is in
`<topic>/<region>/number`.

Commands: `<topic>/set_value`, or `<topic>/<region>/set_value`, with a number to trust from now on;
`<topic>/snapshot`, whatever it holds, has the next frame published as a JPEG to `<topic>/picture`.

The diagnostics name the regions. Those that are still retained at the beginning tell which there were before: what is
retained of one that is no more is deleted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Annotated, Any

import msgspec

from digitcam.core.draw import annotate, jpeg
from digitcam.core.errors import SinkError
from digitcam.core.every import every
from digitcam.core.reading import encode_reading
from digitcam.edge.config import RunConfig
from digitcam.edge.outcome import Outcome, readings_of
from digitcam.edge.sinks import Desk, homeassistant
from digitcam.edge.sinks.broker import ANSWER_S, Broker, Message
from digitcam.edge.sinks.diagnostics import diagnostics
from digitcam.edge.sources import Frame

DIAGNOSTICS_S = 30.0
"""How often they are published: Home Assistant keeps every value it is sent."""

Held = dict[Annotated[str, msgspec.Meta(pattern=r"^([a-z0-9][a-z0-9_-]*)?$")], bool]
"""Of each region, by its name, whether its number is held."""
LONGEST_NUMBER = 40
"""How much is looked at of a number to set, in characters; no number has as many."""


class MqttSink:
    """A broker; a connection lost while running is made again, and what was sent meanwhile delivered then."""

    def __init__(self, config: RunConfig, desk: Desk) -> None:
        assert config.mqtt
        self.run, self.config, self._desk = config, config.mqtt, desk
        self._numbers: dict[str, str] = {}
        self._report_at_s = 0.0
        self._wants_picture = False
        self._beside = ExitStack()
        self._reporting = threading.Lock()
        needs = f"{self.config.topic}/..."
        if self.config.discovery:
            needs += f" or {homeassistant.discovery_topic(self.config)}"
        will = Message(f"{self.config.topic}/status", "offline", True)
        self._broker = Broker(self.config, will, self._listen(), needs)

    def __enter__(self) -> MqttSink:
        """Connect, log in, and say `online`; a broker that is away is waited for meanwhile.

        Raises
        ------
        ConfigError
            When the password or the certificates cannot be read.
        SinkError
            When the broker refuses, or is not the one that the certificates are for.
        """
        if self.config.discovery:
            self._discover(_device(self.run), retain=True)
        self._publish("status", "online", retain=True)
        self._broker.open(wait=True)
        self._desk.health.broker = self._broker.connected
        # Also while no frame comes: just then somebody wants to know.
        self._beside.enter_context(every(DIAGNOSTICS_S, self._report, "diagnostics"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say `offline`, wait until all is confirmed, and disconnect; SinkError when it is not."""
        self._desk.health.broker = None
        self._beside.close()
        self._publish("status", "offline", retain=True)
        _finish(self._broker, raises=kind is None)

    def send(self, frame: Frame, outcomes: Sequence[Outcome]) -> None:
        """Publish the readings, each number when it is another than before, and the diagnostics when it is time.

        Raises
        ------
        SinkError
            When the broker has refused the first login or a message. One that is away is waited for, see
            `sinks.broker`.
        """
        self._broker.check()
        for region, readings, number, _ in outcomes:
            for reading in readings:
                self._publish("reading", encode_reading(reading))
            if number is not None and number != self._numbers.get(region):
                self._numbers[region] = number
                self._publish(under("number", region), number, retain=True)
        self._report()
        if self._wants_picture:
            self._wants_picture = False
            picture = annotate(frame.image, readings_of(outcomes))
            self._publish("picture", jpeg(picture), once=True)

    def _publish(self, name: str, payload: str | bytes, retain: bool = False, once: bool = False) -> None:
        self._broker.publish(Message(f"{self.config.topic}/{name}", payload, retain, once))

    def _discover(self, device: dict[str, Any], retain: bool = False) -> None:
        self._broker.publish(Message(homeassistant.discovery_topic(self.config), msgspec.json.encode(device), retain))

    def _report(self) -> None:
        """Publish the diagnostics when it is time."""
        with self._reporting:
            now_s = time.monotonic()
            if now_s < self._report_at_s:
                return
            self._report_at_s = now_s + DIAGNOSTICS_S
        found = diagnostics(self._desk.health.report(), self._broker.dropped)
        self._publish("diagnostics", msgspec.json.encode(found), retain=True)

    def _listen(self) -> dict[str, Callable[[Message], None]]:
        """Return what to call with each message; retained ones are old news."""
        listen: dict[str, Callable[[Message], None]] = {}
        if self.config.discovery:
            listen[homeassistant.BIRTH_TOPIC] = self._born
        if self.config.discovery or self.config.commands:
            listen[f"{self.config.topic}/diagnostics"] = self._clear
        if self.config.commands:
            listen[f"{self.config.topic}/snapshot"] = self._snap
            for region in self.run.numbers:
                if self.run.rules_of(region):
                    listen[f"{self.config.topic}/{under('set_value', region)}"] = partial(self._set, region)
        return listen

    def _clear(self, message: Message) -> None:
        for region in gone(message, self.run):
            self._publish(under("number", region), "", retain=True)
            if self.config.discovery:
                self._discover(homeassistant.without(_device(self.run), region))
                self._discover(_device(self.run), retain=True)

    def _born(self, message: Message) -> None:
        if message.payload == homeassistant.BIRTH and not message.retain:
            self._broker.republish()

    def _snap(self, message: Message) -> None:
        if not message.retain:
            self._wants_picture = True

    def _set(self, region: str, message: Message) -> None:
        if not message.retain:
            text = message.payload if isinstance(message.payload, str) else message.payload.decode(errors="replace")
            self._desk.control.set_number(region, text.strip()[:LONGEST_NUMBER])


def _device(run: RunConfig) -> dict[str, Any]:
    # Costs as much as the rest of this module, so only where it is needed.
    from importlib.metadata import version

    return homeassistant.discovery(run, version("digitcam"))


def gone(message: Message, run: RunConfig) -> list[str]:
    """Return the regions that retained diagnostics name, and a run has no more."""
    try:
        named = msgspec.json.decode(message.payload, type=_Named).held if message.retain else {}
    except (msgspec.DecodeError, UnicodeDecodeError):  # of another version, or nothing of ours
        return []
    return [region for region in named if region not in run.numbers]


class _Named(msgspec.Struct):
    held: Held


def under(name: str, region: str) -> str:
    """Return what follows the topic's beginning: the name, below the region where there is one."""
    return f"{region}/{name}" if region else name


def forget(run: RunConfig) -> list[str]:
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
    config = run.mqtt
    assert config
    topics = [homeassistant.discovery_topic(config)] if config.discovery else []
    topics += [f"{config.topic}/{name}" for name in ("status", "diagnostics")]
    topics += [f"{config.topic}/{under('number', region)}" for region in run.numbers]

    def also(message: Message) -> None:
        for region in gone(message, run):
            topics.append(f"{config.topic}/{under('number', region)}")
            broker.publish(Message(topics[-1], "", True))

    listen = {f"{config.topic}/diagnostics": also} if config.discovery or config.commands else {}
    broker = Broker(config, None, listen, " or ".join(topics))
    for topic in topics:
        broker.publish(Message(topic, "", True))
    broker.open()
    _finish(broker, raises=True)
    return topics


def _finish(broker: Broker, raises: bool) -> None:
    confirmed = broker.reached and broker.settle()
    broker.close()
    if raises:
        broker.check()
        if not broker.reached:
            raise SinkError(f"{broker.where}: the broker was never there: what was read meanwhile is lost to it")
        if not confirmed:
            raise SinkError(f"{broker.where}: the broker has not confirmed the last messages in {ANSWER_S:.0f} s")
