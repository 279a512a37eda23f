"""Sinks: where readings go. Standard output always, others when the configuration names them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Protocol

from digitcam.core.errors import ConfigError
from digitcam.edge.config import ConfigFile, RunConfig
from digitcam.edge.control import Control
from digitcam.edge.health import Health
from digitcam.edge.outcome import Outcome
from digitcam.edge.sources import Frame

if TYPE_CHECKING:
    from digitcam.edge.sinks.history import HistorySink


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

    def send(self, frame: Frame, outcomes: Sequence[Outcome]) -> None:
        """Take a frame and what its regions gave; one outcome, of the whole frame, where there are no regions.

        Raises
        ------
        SinkError
            When they cannot be delivered.
        """
        ...


class Desk(NamedTuple):
    """What sinks may look at and ask for, besides what they are sent.

    file
        Where the configuration comes from.
    history
        The numbers that stood, where the configuration has them kept.
    """

    health: Health
    control: Control
    file: ConfigFile
    history: HistorySink | None = None


class Planned(NamedTuple):
    """A sink that a configuration names: it is made anew when `settings` are others."""

    name: str
    settings: object
    make: Callable[[], Sink]


def plan_sinks(config: RunConfig, desk: Desk, record: Path | None = None) -> list[Planned]:
    """Return the sinks a configuration names, but for the history, to be made and entered in this order.

    Making one raises a ConfigError when it needs a library that is not installed.

    record
        A file to keep the frames in.
    """
    planned = []
    if record:

        def recorder() -> Sink:
            from digitcam.edge.sinks.recording import RecordingSink

            return RecordingSink(record)

        # First: a frame that makes another sink fail is in the file then.
        planned.append(Planned("record", record, recorder))
    planned.append(Planned("stdout", None, _stdout))
    if webhook := config.webhook:

        def hook() -> Sink:
            from digitcam.edge.sinks.webhook import WebhookSink

            return WebhookSink(webhook)

        planned.append(Planned("webhook", webhook, hook))
    if hard := config.hard_frames:

        def hard_frames() -> Sink:
            from digitcam.edge.sinks.hard_frames import HardFramesSink

            return HardFramesSink(hard)

        planned.append(Planned("hard_frames", hard, hard_frames))
    if config.mqtt:

        def broker() -> Sink:
            with _needing("mqtt"):
                from digitcam.edge.sinks.mqtt import MqttSink
            return MqttSink(config, desk)

        # Where regions lie, and what their rules are, is nothing to the broker: no reason to leave it.
        numbers = [(name, config.rules_of(name) is not None) for name in config.numbers]
        quantities = [(region.unit, region.device_class, region.state_class) for region in config.regions]
        planned.append(Planned("mqtt", (config.mqtt, numbers, quantities), broker))
    if web := config.web:

        def page() -> Sink:
            with _needing("web"):
                from digitcam.edge.web import Page
            return Page(web, desk)

        planned.append(Planned("web", (web, config.history), page))
    return planned


def _stdout() -> Sink:
    from digitcam.edge.sinks.stdout import StdoutSink

    return StdoutSink()


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
    with _needing("mqtt"):
        from digitcam.edge.sinks.mqtt import forget
    return forget(config)


@contextmanager
def _needing(extra: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(f"[{extra}] needs {error.name}: pip install 'digitcam[{extra}]'") from None
