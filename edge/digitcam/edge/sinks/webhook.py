"""Numbers posted to a web server as JSON: `{"ts", "region", "number", "previous", "readings"}`, one for each region.

A thread of its own posts them one after another. While the server is away they wait, the oldest dropped and counted
once there are too many, and the first is tried again after growing pauses. One that the server refuses is given up.
"""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPException
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from digitcam.core.errors import ConfigError, SinkError
from digitcam.edge.config.outputs import Webhook
from digitcam.edge.outcome import Outcome
from digitcam.edge.secret import read_secret
from digitcam.edge.sinks.credentials import verifying
from digitcam.edge.sinks.notices import Notices
from digitcam.edge.sources import Frame
from digitcam.edge.sources.live import pause_s

WAITING = 100
"""How many posts may wait for a server that is away."""
RETRY_S = (1.0, 60.0)
"""The first and the longest pause before a post is tried again."""
CLOSE_S = 10.0
"""How long closing waits for what is left to be delivered."""
_LATER = (408, 425, 429)
"""Answers that refuse a post for now."""


class Post(NamedTuple):
    """A region's number, the one that stood before it, and what was read of the frame."""

    outcome: Outcome
    previous: str | None

    def body(self) -> bytes:
        """Return it as JSON."""
        best, number, readings = self.outcome.best, self.outcome.number, self.outcome.readings
        return msgspec.json.encode(
            {
                "ts": best.ts,
                "region": self.outcome.region,
                "number": number,
                "previous": self.previous,
                "readings": readings,
            }
        )


class WebhookSink:
    """A web server.

    dropped
        How many posts were lost because too many waited.
    refused
        How many the server did not want.
    """

    def __init__(self, config: Webhook) -> None:
        self.config = config
        self.dropped = self.refused = 0
        parts = urlsplit(config.url)
        # No more of the URL than this: its path or query may well be a secret.
        self.where = f"{parts.scheme}://{parts.netloc}"
        self._notices = Notices(self.where)
        self._numbers: dict[str, str | None] = {}
        self._waiting: deque[Post] = deque()
        self._changed = threading.Condition()  # guards what waits, and `_closing`
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="webhook", daemon=True)

    def __enter__(self) -> WebhookSink:
        """Begin to post; ConfigError when the token or the certificates cannot be read."""
        config = self.config
        self._headers = {"Content-Type": "application/json", "User-Agent": "digitcam"}
        token = read_secret("webhook", "token", config.token_file, config.token_env)
        if token is not None:
            if not (token.isascii() and token.isprintable()):
                key = "token_env" if config.token_env else "token_file"
                raise ConfigError(f"webhook.{key}: the token has signs that no header may have: write it anew")
            self._headers["Authorization"] = f"Bearer {token}"
        handlers: list[Any] = [_NoRedirects]
        if self.config.url.startswith("https:"):
            handlers.append(urllib.request.HTTPSHandler(context=verifying("webhook", config.ca_file)))
        self._opener = urllib.request.build_opener(*handlers)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Try once more to post what is left; SinkError when that fails and no other error is under way."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(CLOSE_S)
        if (left := len(self._waiting)) and error is None:
            raise SinkError(f"{self.where}: {left} posts to the webhook could not be delivered: is it reachable?")

    def send(self, frame: Frame, outcomes: Sequence[Outcome]) -> None:
        """Queue what is to be posted."""
        for outcome in outcomes:
            previous = self._numbers.get(outcome.region)
            changed = outcome.number is not None and outcome.number != previous
            if changed:
                self._numbers[outcome.region] = outcome.number
            if changed or self.config.when == "frame":
                self._queue(Post(outcome, previous))

    def _queue(self, post: Post) -> None:
        with self._changed:
            if len(self._waiting) >= WAITING:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(post)
            self._changed.notify_all()

    # The rest is of the thread.

    def _work(self) -> None:
        failures = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                post = self._waiting[0]
            problem = self._post(post)
            if not problem:
                failures = 0
                with self._changed:
                    # It may have been dropped meanwhile.
                    if self._waiting and self._waiting[0] is post:
                        self._waiting.popleft()
                continue
            failures += 1
            self._notices.tell(f"{problem}: reading goes on, up to {WAITING} posts wait for the webhook")
            with self._changed:
                if self._closing:
                    return
                self._changed.wait_for(lambda: self._closing, pause_s(failures, *RETRY_S))

    def _post(self, post: Post) -> str:
        """Return why a post is to be tried again; empty when it is delivered or given up."""
        request = urllib.request.Request(self.config.url, post.body(), self._headers, method="POST")
        try:
            with self._opener.open(request, timeout=self.config.timeout_s):
                pass
        except urllib.error.HTTPError as error:
            with suppress(OSError):
                error.close()
            if error.code >= 500 or error.code in _LATER:
                return f"the webhook answers {error.code} {error.reason}"
            self.refused += 1
            mend = "webhook.token_file or token_env" if error.code in (401, 403) else "webhook.url"
            self._notices.tell(f"the webhook refuses posts: {error.code} {error.reason}: check {mend}: reading goes on")
            return ""
        except (OSError, HTTPException, ValueError) as error:
            why = error.reason if isinstance(error, urllib.error.URLError) else error or type(error).__name__
            return f"cannot post to the webhook: {why}"
        self._notices.clear(
            f"the webhook takes posts again; so far {self.dropped} were dropped, {self.refused} refused"
        )
        return ""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows none: a post would lose its body, and the token go to another server."""

    def redirect_request(self, *_: Any) -> None:
        return None
