"""Where else readings go: the tables [history], [webhook] and [hard_frames]."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from digitcam.edge.config.types import Amount, Positive, Seconds, Text

Timeout = Annotated[float, msgspec.Meta(gt=0, le=300)]

DISAGREES = "disagrees"
HARD = ("no_number", "low_confidence", "pattern", "not_steady", "outvoted", "between_digits", "falls", "too_fast")
"""Why readings are not accepted; see `core.reading` and `edge.trust`."""


class History(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A SQLite file that keeps the numbers that stood.

    file
        Its path; its folder is made where there is none.
    rows
        How many it keeps: then the oldest go.
    every_s
        A number that just stands is written again after so many seconds.
    commit_s
        Rows are gathered for so many seconds before the file is written: each time wears a memory card.
    """

    file: Text
    rows: Positive = 100_000
    every_s: Seconds = 900.0
    commit_s: Seconds = 60.0


class Webhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A web server that numbers are posted to, as JSON.

    url
        http or https; a certificate is checked.
    token_file, token_env
        The token is the file's first line, or what the environment variable of that name holds, and is sent as
        `Authorization: Bearer`. None to send none.
    ca_file
        PEM certificates to trust in place of the system's.
    when
        `change` posts when a number is another than before, `frame` for each frame.
    timeout_s
        Seconds without an answer after which a try has failed.
    """

    url: Text
    token_file: Text | None = None
    token_env: Text | None = None
    ca_file: Text | None = None
    when: Literal["change", "frame"] = "change"
    timeout_s: Timeout = 10.0

    def __post_init__(self) -> None:
        # No message shows the URL: its path or query may well be a secret.
        try:
            parts = urlsplit(self.url)
            host, _ = parts.hostname, parts.port  # reading the port checks it
        except ValueError:
            raise ValueError("url has no usable host and port: write it as https://HOST:PORT/PATH") from None
        if parts.scheme not in ("http", "https") or not host:
            raise ValueError("url is no web address: write it as https://HOST:PORT/PATH")
        if "@" in parts.netloc:
            raise ValueError("url holds a login: name a token_file or token_env instead")
        if not (self.url.isascii() and self.url.isprintable()) or " " in self.url:
            raise ValueError("url has signs that no address has: write them as %20 and the like")
        if self.token_file and self.token_env:
            raise ValueError("token_file and token_env: keep one of them")
        if self.ca_file and parts.scheme != "https":
            raise ValueError("ca_file needs an https url")


class HardFrames(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A folder of frames that were hard to read, to be labelled and learned from.

    folder
        Is made where there is none. /run/digitcam, in memory, spares the card and is empty after a restart.
    keep
        How many frames it keeps: then the oldest go, labelled or not. Move away what you label.
    keep_mb
        How many megabytes (10^6 bytes) they may take: then the oldest go too, but for the newest, however large.
    pause_s
        The least pause between two, in seconds.
    reasons
        Which: why a reading is not accepted, or `disagrees`, it is another number than the one that stands.
    """

    folder: Text
    keep: Positive = 200
    keep_mb: Amount = 100.0
    pause_s: Seconds = 60.0
    reasons: tuple[str, ...] = ("low_confidence", "pattern", "falls", "too_fast", DISAGREES)

    def __post_init__(self) -> None:
        known = (*HARD, DISAGREES)
        if unknown := next((reason for reason in self.reasons if reason not in known), None):
            raise ValueError(f"reasons: {unknown!r} is not known: use {', '.join(known)}")
        if not self.reasons:
            raise ValueError("reasons is empty: leave the table out to keep none")
