"""Who may look and who may change: a token where others can reach the page, this machine's browsers elsewhere."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from digitcam.core.errors import ConfigError
from digitcam.edge.config.web import LOOPBACK, Web
from digitcam.edge.log import log
from digitcam.edge.secret import read_secret

SHORTEST = 8
"""Characters a token has at least."""
WRONG_S = 1.0
"""How long the answer to a wrong token takes: guessing is slow."""
TOLD = 100
"""Of how many addresses it is told, once each, that they had a wrong token."""
HEADER = "x-digitcam"
"""A header that no other web site can make a browser send here."""
_YEAR_S = 365 * 24 * 3600


class Door:
    """Decides about requests. Without a token only this machine's own names are let in."""

    def __init__(self, config: Web) -> None:
        """Read the token; ConfigError when it cannot be read or is too short."""
        self.token = read_secret("web", "token", config.token_file, config.token_env)
        if self.token is not None and len(self.token) < SHORTEST:
            where = config.token_file or f"${config.token_env}"
            mend = "make one with: openssl rand -hex 16"
            raise ConfigError(f"{where}: the web token has fewer than {SHORTEST} characters: {mend}")
        # Cookies are not told apart by port, and several cameras may be on one machine.
        self.cookie = f"digitcam-{config.port}"
        self._told: set[str] = set()

    def knows_host(self, headers: Headers) -> bool:
        """Say whether a request names a host that is us.

        Without a token any web site could have a browser here fetch the page, by a name of its own that leads to
        127.0.0.1. With one it could not: the browser keeps our cookie to our own name.
        """
        if self.token is not None:
            return True
        try:
            return urlsplit(f"//{headers.get('host', '')}").hostname in LOOPBACK
        except ValueError:
            return False

    def lets_in(self, headers: Headers) -> bool:
        """Say whether a request may see the page."""
        if self.token is None:
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return self._same(given.strip(), self.token)
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return False
        return found is not None and self._same(found.value, self._session(self.token))

    def lets_change(self, headers: Headers) -> bool:
        """Say whether a request that is let in may change something: it must not come from another web site."""
        if headers.get("authorization"):
            return True
        origin = headers.get("origin")
        ours = origin is None or urlsplit(origin).netloc == headers.get("host")
        return ours and HEADER in headers

    def login(self, given: str) -> str | None:
        """Return the Set-Cookie header's value for the right token, None for a wrong one."""
        if self.token is None or not self._same(given, self.token):
            return None
        # Not the token itself: who finds the cookie cannot log in elsewhere with it.
        value = self._session(self.token)
        return f"{self.cookie}={value}; Max-Age={_YEAR_S}; Path=/; HttpOnly; SameSite=Strict"

    async def refuse(self, client: str) -> None:
        """Make who had a wrong token wait; tell of it once an address."""
        if client not in self._told and len(self._told) < TOLD:
            self._told.add(client)
            log.warning(f"the page refused a wrong token from {client}")
        await asyncio.sleep(WRONG_S)

    @staticmethod
    def _same(given: str, wanted: str) -> bool:
        """Compare in a time that tells nothing."""
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode())

    @staticmethod
    def _session(token: str) -> str:
        return hmac.new(token.encode(), b"digitcam page", hashlib.sha256).hexdigest()
