"""The page's application: what it answers to which request. All of it runs in the page's one thread."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from digitcam.core.errors import ConfigError, SinkError
from digitcam.edge.sinks import Desk
from digitcam.edge.sinks.history import HistorySink
from digitcam.edge.web import save
from digitcam.edge.web.auth import Door
from digitcam.edge.web.guard import Guard, client_of
from digitcam.edge.web.live import Live
from digitcam.edge.web.metrics import CONTENT_TYPE, metrics

T = TypeVar("T")

LARGEST = 64_000
"""Bytes a request's body has at most."""
BODY_S = 10.0
"""Seconds it may take to come."""
ROWS = 2000
"""Rows of the history that are given at once, at most."""
REGIONS = 32
"""How many regions can be drawn."""
FOLDER = Path(__file__).parent
PAGE, LOGIN = FOLDER / "page.html", FOLDER / "login.html"


class Number(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number to trust."""

    number: str
    region: str = ""


class Regions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All regions there are to be, and the version of the file in which they were seen."""

    regions: list[save.Drawn]
    version: str = ""


class RequestError(Exception):
    """A request that cannot be served as it is; `extra` goes into the answer."""

    def __init__(self, status: int, text: str, **extra: str) -> None:
        super().__init__(text)
        self.status, self.body = status, {"error": text, **extra}


class Handlers:
    """What is behind each route."""

    def __init__(self, live: Live, desk: Desk, history: HistorySink, door: Door) -> None:
        self._live, self._desk, self._history, self._door = live, desk, history, door
        self._page, self._login = PAGE.read_text(encoding="utf-8"), LOGIN.read_text(encoding="utf-8")
        self._policies = {text: _policy(text) for text in (self._page, self._login)}

    async def page(self, request: Request) -> Response:
        """Give the page with the state in it, so that nothing moves once it is there; or the login."""
        if not self._door.lets_in(request.headers):
            said = "That is not the token." if "wrong" in request.query_params else ""
            return self._html(self._login, said, 401)
        packed = self._live.packed()
        # No text in it can end the script element.
        state = msgspec.json.encode(packed.state if packed else None).decode().replace("<", "\\u003c")
        return self._html(self._page, state)

    async def login(self, request: Request) -> Response:
        """Take a token from the login's form."""
        try:
            given = parse_qs((await _body(request)).decode()).get("token", [""])[0]
        except UnicodeDecodeError:
            given = ""
        cookie = self._door.login(given)
        if cookie is None:
            await self._door.refuse(client_of(request.scope))
            return RedirectResponse("./?wrong", 303)
        return RedirectResponse("./", 303, {"Set-Cookie": cookie})

    async def reading(self, request: Request) -> Response:
        """Give the numbers and readings of the last frame."""
        shown = self._live.shown
        outcomes = shown.outcomes if shown else []
        return _json(
            {
                "numbers": {outcome.region: outcome.number for outcome in outcomes},
                "readings": shown.readings if shown else [],
            }
        )

    async def live(self, request: Request) -> Response:
        """Give a frame's picture and state, or 204 when it is the one that was `seen`."""
        packed = self._live.packed()
        if packed is None or request.query_params.get("seen") == packed.id:
            return Response(status_code=204)
        return Response(packed.live, media_type="application/json")

    async def frame(self, request: Request) -> Response:
        """Give the last frame with its boxes."""
        packed = self._live.packed()
        if packed is None:
            return PlainTextResponse("no frame yet\n", 404)
        return Response(packed.boxed_jpeg, media_type="image/jpeg")

    async def health(self, request: Request) -> Response:
        """Give how the run goes, the last rejections and what became of the trusted numbers, newest first."""
        shown = self._live.shown
        events = [
            {"region": outcome.region, **event._asdict()}
            for outcome in (shown.outcomes if shown else [])
            for event in (outcome.trust.history if outcome.trust else ())
        ]
        rejections = [rejection._asdict() for rejection in reversed(self._desk.health.rejections())]
        events.sort(key=lambda event: event["ts"], reverse=True)
        return _json({"report": self._desk.health.report(), "rejections": rejections, "events": events[:20]})

    async def history(self, request: Request) -> Response:
        """Give the numbers that stood: of the last `hours` (24), of a `region` (all), at most `limit` (2000)."""
        try:
            hours = float(request.query_params.get("hours", 24))
            limit = min(int(request.query_params.get("limit", ROWS)), ROWS)
            since = datetime.now(timezone.utc) - timedelta(hours=hours)
        except (ValueError, OverflowError):
            raise RequestError(422, "hours is a number, and so is limit: like ?hours=24&limit=500") from None
        if not hours > 0 or limit < 1:
            raise RequestError(422, "hours and limit are above 0: like ?hours=24&limit=500")
        rows = self._history.since(since, request.query_params.get("region"), limit)
        return _json({"rows": [row._asdict() for row in rows]})

    async def regions(self, request: Request) -> Response:
        """Give the regions of the configuration file and its version."""
        try:
            found = self._desk.file.load().regions
            version = save.version_of(self._desk.file)
        except ConfigError as error:
            raise RequestError(409, str(error)) from None
        keys = ("name", *save.GEOMETRY)
        regions = [{key: getattr(region, key) for key in keys} for region in found]
        return _json({"regions": regions, "version": version, "file": str(self._desk.file.path or "")})

    async def set_regions(self, request: Request) -> Response:
        """Write regions into the configuration file, and have the runner read it anew."""
        asked = await _read(request, Regions)
        shown = self._live.shown
        if len(asked.regions) > REGIONS:
            raise RequestError(422, f"{len(asked.regions)} regions: draw at most {REGIONS}")
        try:
            save.check(asked.regions, shown.size if shown else None)
        except ConfigError as error:
            raise RequestError(422, str(error)) from None
        try:
            save.save(self._desk.file, asked.regions, asked.version)
        except save.StaleError as error:
            raise RequestError(409, str(error)) from None
        except ConfigError as error:
            raise RequestError(409, str(error), toml=save.snippet(asked.regions)) from None
        except SinkError as error:
            raise RequestError(403, str(error), toml=save.snippet(asked.regions)) from None
        self._desk.control.ask_reload()
        return _json({"saved": len(asked.regions), "version": save.version_of(self._desk.file)})

    async def set_number(self, request: Request) -> Response:
        """Have the runner trust a number."""
        asked = await _read(request, Number)
        shown = self._live.shown
        found = next((o for o in (shown.outcomes if shown else []) if o.region == asked.region), None)
        if found is None:
            raise RequestError(404, f"there is no region {asked.region!r}" if asked.region else "name a region")
        if found.trust is None:
            raise RequestError(409, "numbers can be set where [rules] say what is trusted: write them first")
        try:
            found.trust.told(asked.number, datetime.now(timezone.utc))
        except ValueError as error:
            raise RequestError(422, str(error)) from None
        self._desk.control.set_number(asked.region, asked.number)
        return _json({"asked": asked}, 202)

    async def healthz(self, request: Request) -> Response:
        """Say ok while frames come as the source promises them, else 503."""
        if self._live.shown is None:
            return PlainTextResponse("no frame yet\n", 503)
        fresh = self._desk.health.fresh()
        return PlainTextResponse("ok\n" if fresh else "no fresh frame\n", 200 if fresh else 503)

    async def metrics(self, request: Request) -> Response:
        """Give numbers for Prometheus."""
        shown = self._live.shown
        text = metrics(self._desk.health.report(), shown.outcomes if shown else [])
        return Response(text, headers={"Content-Type": CONTENT_TYPE})

    def _html(self, text: str, state: str, status: int = 200) -> Response:
        headers = {"Content-Security-Policy": self._policies[text]}
        return Response(text.replace("{{state}}", state), status, headers, "text/html")


def make_app(live: Live, desk: Desk, history: HistorySink, door: Door) -> Starlette:
    """Return the page's application, showing what is in `live`."""
    behind = Handlers(live, desk, history, door)
    routes = [
        Route("/", behind.page),
        Route("/login", behind.login, methods=["POST"]),
        Route("/frame.jpg", behind.frame),
        Route("/healthz", behind.healthz),
        Route("/metrics", behind.metrics),
        Route("/api/live", behind.live),
        Route("/api/reading", behind.reading),
        Route("/api/health", behind.health),
        Route("/api/history", behind.history),
        Route("/api/regions", behind.regions),
        Route("/api/regions", behind.set_regions, methods=["PUT"]),
        Route("/api/number", behind.set_number, methods=["POST"]),
    ]

    async def on_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestError)
        return _json(error.body, error.status)

    return Starlette(
        routes=routes, middleware=[Middleware(Guard, door=door)], exception_handlers={RequestError: on_error}
    )


async def _body(request: Request) -> bytes:
    """Return a request's body; RequestError when it is too long or too slow."""

    async def take() -> bytes:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > LARGEST:
                raise RequestError(413, f"more than {LARGEST} bytes")
        return body

    try:
        return await asyncio.wait_for(take(), BODY_S)
    except (asyncio.TimeoutError, ClientDisconnect):
        raise RequestError(408, f"the body did not come within {BODY_S:.0f} s") from None


async def _read(request: Request, kind: type[T]) -> T:
    """Return a request's JSON body, checked."""
    try:
        return msgspec.json.decode(await _body(request), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(422, str(error)) from None


def _json(body: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def _policy(text: str) -> str:
    """Return what a page may load: its own script and styles, known by their hashes; pictures and data from here."""
    return "; ".join(
        [
            "default-src 'none'",
            "img-src 'self' data:",
            "connect-src 'self'",
            f"script-src {_hashes(text, 'script')}",
            f"style-src {_hashes(text, 'style')}",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ]
    )


def _hashes(text: str, tag: str) -> str:
    inner = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in inner)
    return " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
