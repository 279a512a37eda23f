"""A page that shows what is read, in numbers and in pictures, and where regions are drawn. Needs the `web` extra."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from types import TracebackType

import uvicorn

from digitcam.core.errors import SinkError
from digitcam.edge.config.web import Web
from digitcam.edge.log import log
from digitcam.edge.outcome import Outcome
from digitcam.edge.sinks import Desk
from digitcam.edge.sinks.history import HistorySink
from digitcam.edge.sources import Frame
from digitcam.edge.web.app import make_app
from digitcam.edge.web.auth import Door
from digitcam.edge.web.live import Live

CONNECTIONS = 64
"""How many are served at a time; more are told to come again (503)."""


class Page:
    """Serves the page from one thread while open. The runner's thread only notes what there is to show."""

    def __init__(self, config: Web, desk: Desk) -> None:
        self.config, self._live, self._desk = config, Live(), desk
        # The chart is drawn from the history that is kept, or else from the last numbers, remembered here.
        self._kept = desk.history or HistorySink()
        self._own = self._kept if desk.history is None else None

    def __enter__(self) -> Page:
        """Start serving; SinkError when the port cannot be had, ConfigError when the token cannot be used."""
        app = make_app(self._live, self._desk, self._kept, Door(self.config))
        host, port = self.config.host, self.config.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        try:
            self._listener = socket.create_server((host, port), family=family)
        except OSError as error:
            mend = "change web.host or web.port"
            raise SinkError(f"{address}: cannot serve there: {error.strerror}: {mend}") from None
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            # uvicorn's own logging would write to standard output, which belongs to the readings.
            log_config=None,
            access_log=False,
            # An address that a request only claims to come from is nothing to go by.
            proxy_headers=False,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],), name="page", daemon=True)
        self._thread.start()
        log.info(f"the page is at {address}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop serving."""
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()

    def send(self, frame: Frame, outcomes: Sequence[Outcome]) -> None:
        """Show a frame and what its regions gave."""
        if self._own:
            self._own.send(frame, outcomes)
        self._live.show(frame, outcomes)
