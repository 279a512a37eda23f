"""Sinks: where readings go. Standard output always, a broker when the configuration names one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol

from digitcam.core.errors import ConfigError
from digitcam.core.reading import Reading
from digitcam.edge.config import RunConfig


class Sink(Protocol):
    """Takes readings while it is open."""

    def __enter__(self) -> Sink:
        """Open the sink; SinkError when that fails."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Deliver what is left and close it; SinkError when that fails and no other error is under way."""
        ...

    def send(self, readings: list[Reading], number: str | None) -> None:
        """Take one frame's readings, best first, and the number that stands after it, None while there is none.

        The number is the trusted one where there are rules, else the last accepted one.

        Raises
        ------
        SinkError
            When they cannot be delivered.
        """
        ...


def open_sinks(config: RunConfig) -> list[Sink]:
    """Return the sinks a configuration names, each to be entered.

    Raises
    ------
    ConfigError
        When one needs a library that is not installed.
    """
    from digitcam.edge.sinks.stdout import StdoutSink

    sinks: list[Sink] = [StdoutSink()]
    if config.mqtt:
        with _needing_mqtt():
            from digitcam.edge.sinks.mqtt import MqttSink
        sinks.append(MqttSink(config.mqtt))
    return sinks


def forget_all(config: RunConfig) -> list[str]:
    """Delete what the broker keeps of a configuration's digitcam; return the topics. See `sinks.mqtt.forget`.

    Raises
    ------
    ConfigError
        When no broker is configured, or a library is not installed.
    SinkError
        When the broker cannot be reached, or refuses.
    """
    if not config.mqtt:
        raise ConfigError("--forget: there is no [mqtt] in the configuration: name the file with --config")
    with _needing_mqtt():
        from digitcam.edge.sinks.mqtt import forget
    return forget(config.mqtt)


@contextmanager
def _needing_mqtt() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(f"[mqtt] needs {error.name}: pip install 'digitcam[mqtt]'") from None
