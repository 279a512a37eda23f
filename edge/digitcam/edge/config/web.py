"""Where the page is served: the table [web]."""

from __future__ import annotations

import msgspec

from digitcam.edge.config.types import Port, Text

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Web(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An address to serve the page on.

    host, port
        127.0.0.1 for this machine only, 0.0.0.0 for all its addresses; any but this machine's own needs a token.
    token_file, token_env
        The token is the file's first line, or what the environment variable of that name holds. Who has it may see
        the page and change regions; the page is not encrypted.
    """

    host: Text = "127.0.0.1"
    port: Port = 8080
    token_file: Text | None = None
    token_env: Text | None = None

    def __post_init__(self) -> None:
        if self.token_file and self.token_env:
            raise ValueError("token_file and token_env: keep one of them")
        if self.host not in LOOPBACK and not (self.token_file or self.token_env):
            raise ValueError(f"host is {self.host!r}: others can reach it: name a token_file or token_env")
