"""A page that shows the last number and frame, served on this machine. Needs the `web` extra."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import cv2
import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from digitcam.core.draw import annotate
from digitcam.core.errors import SinkError
from digitcam.core.reading import Reading
from digitcam.edge.config import Web
from digitcam.edge.sources import Frame

FRESH_S = 10.0
"""A last frame older than this is no sign of health: cameras stall."""
PAGE = Path(__file__).with_name("page.html")
_NO_STORE = {"Cache-Control": "no-store"}
_POLICY = {"Content-Security-Policy": "default-src 'self' 'unsafe-inline'", "X-Content-Type-Options": "nosniff"}


class Shown(NamedTuple):
    """What the page shows: a frame, its readings, the number that stands, and when it came (time.monotonic, s)."""

    frame: Frame
    readings: list[Reading]
    number: str | None
    at_s: float


def make_app(last: Callable[[], Shown | None]) -> Starlette:
    """Return the page's application; `last` gives what to show, None before the first frame.

    Routes: `/` the page, `/api/reading` the number and the readings as JSON, `/frame.jpg` the frame with its boxes,
    `/healthz` 200 while frames keep coming, else 503.
    """

    def page(request: Request) -> Response:
        return FileResponse(PAGE, headers=_POLICY)

    def reading(request: Request) -> Response:
        shown = last()
        body = {"number": shown and shown.number, "readings": shown.readings if shown else []}
        return Response(msgspec.json.encode(body), media_type="application/json", headers=_NO_STORE)

    def frame(request: Request) -> Response:
        if (shown := last()) is None:
            return PlainTextResponse("no frame yet\n", 404, _NO_STORE)
        # Drawn and packed only when somebody looks: a small device has better to do.
        _, data = cv2.imencode(".jpg", annotate(shown.frame.image, shown.readings))
        return Response(data.tobytes(), media_type="image/jpeg", headers=_NO_STORE)

    def health(request: Request) -> Response:
        if (shown := last()) is None:
            return PlainTextResponse("no frame yet\n", 503, _NO_STORE)
        fresh = time.monotonic() - shown.at_s < FRESH_S
        return PlainTextResponse("ok\n" if fresh else "no fresh frame\n", 200 if fresh else 503, _NO_STORE)

    routes = [
        Route("/", page),
        Route("/api/reading", reading),
        Route("/frame.jpg", frame),
        Route("/healthz", health),
    ]
    # Else any web site could have a browser here fetch frames, by a name of its own that leads to 127.0.0.1.
    guard = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    return Starlette(routes=routes, middleware=[guard])


class Page:
    """Serves the page from a thread of its own while open."""

    def __init__(self, config: Web) -> None:
        self.config = config
        self._shown: Shown | None = None

    def __enter__(self) -> Page:
        """Start serving; SinkError when the port cannot be had."""
        host, port = self.config.host, self.config.port
        try:
            listener = socket.create_server((host, port))
        except OSError as error:
            raise SinkError(f"http://{host}:{port}: cannot serve there: {error.strerror}: change web.port") from None
        app = make_app(lambda: self._shown)
        # uvicorn's own logging would write to standard output, which belongs to the readings.
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name="page", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop serving."""
        self._server.should_exit = True
        self._thread.join()

    def show(self, frame: Frame, readings: list[Reading], number: str | None) -> None:
        """Show a frame, its readings, best first, and the number that stands after it, None while there is none."""
        self._shown = Shown(frame, readings, number, time.monotonic())
