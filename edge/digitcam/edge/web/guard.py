"""What every request passes first: a bound on the page's work, and the door."""

from __future__ import annotations

import asyncio
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from digitcam.edge.web.auth import Door

SHARE = 0.25
"""Of one processor core that the page's thread takes at most, however many look: the rest is the runner's."""
BURST_S = 0.25
"""Processor seconds it may take at once after a rest."""
OPEN = ("/healthz", "/login")
"""Paths that need no token."""
SAFE = ("GET", "HEAD")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Pacer:
    """Has requests wait once the thread they are served in took more than its share of the processor."""

    def __init__(self, share: float = SHARE, burst_s: float = BURST_S) -> None:
        self._share, self._burst_s = share, burst_s
        self._left_s, self._used_s, self._at_s = burst_s, time.thread_time(), time.monotonic()

    async def turn(self) -> None:
        """Wait until there is time left to work."""
        while (debt_s := -self._account()) > 0:
            await asyncio.sleep(debt_s / self._share)

    def _account(self) -> float:
        """Return the processor seconds left."""
        used_s, now_s = time.thread_time(), time.monotonic()
        self._left_s += (now_s - self._at_s) * self._share - (used_s - self._used_s)
        self._left_s = min(self._left_s, self._burst_s)
        self._used_s, self._at_s = used_s, now_s
        return self._left_s


class Guard:
    """Paces requests, and answers those that are not let in."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app, self._door = app, door
        self._pacer: Pacer | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] != "http":
            return
        # Made here, in the thread whose time it measures.
        self._pacer = self._pacer or Pacer()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._pacer.turn()
            refusal = await self._refusal(scope)
        except asyncio.CancelledError:
            # The page closes, and does not wait for those that wait.
            refusal = _error(503, "the page is closing: come again")
        await (refusal or self._app)(scope, receive, send_with_headers)

    async def _refusal(self, scope: Scope) -> Response | None:
        """Return the answer to a request that is not let in, None if it is."""
        headers = Headers(scope=scope)
        if not self._door.knows_host(headers):
            return _error(400, "this name is not known here: use 127.0.0.1, or set a token")
        if scope["path"] in OPEN:
            return None
        if not self._door.lets_in(headers):
            if "authorization" in headers:
                await self._door.refuse(client_of(scope))
            if scope["path"] == "/":
                return None  # which shows the login
            return _error(401, "log in, or send the token: Authorization: Bearer TOKEN")
        if scope["method"] not in SAFE and not self._door.lets_change(headers):
            return _error(403, "changes need the header X-Digitcam: 1, and no other site's Origin")
        return None


def client_of(scope: Scope) -> str:
    """Return the address a request comes from."""
    client = scope.get("client")
    return str(client[0]) if client else "an unknown address"


def _error(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status, {"WWW-Authenticate": "Bearer"} if status == 401 else None)
