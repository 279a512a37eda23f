"""What the configuration names: the network and its engine, the source, the broker."""

from __future__ import annotations

import os
import threading
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from digitcam.core.errors import ConfigError, SourceError
from digitcam.edge.doctor import Finding
from digitcam.edge.secret import handed

if TYPE_CHECKING:
    from digitcam.edge.config.mqtt import Mqtt
    from digitcam.edge.sources import Source

FRAMES = 3
"""How many frames a camera must give; the first may be an accident."""
WAIT_S, LOOK_S = 20.0, 1.0
"""How long they may take, and how long a camera is watched for its rate: what it had in store comes in a burst."""


class _Seen(NamedTuple):
    """A frame's size in pixels, and when it was taken."""

    width: int
    height: int
    ts: datetime


def engine(model: str, format: str | None, signers: str | None = None) -> Finding:
    """Return whether this machine reads a bundle's golden inputs as it should, in every format it has an engine for.

    Raises
    ------
    ConfigError, ModelError
        When the bundle or the format cannot be used, reads them otherwise, or is not signed by one of `signers`.
    """
    from digitcam.core.bundle import open_bundle
    from digitcam.edge import engines
    from digitcam.edge.selftest import selftest

    bundle, format = open_bundle(model), format or engines.default_format()
    signed = ""
    if signers:
        from digitcam.edge.signature import signer_of

        signed = f", signed by {signer_of(bundle, Path(handed(signers)))}"
    engines.load(bundle, format)  # says what is missing for the configured one
    replay = next(replay for replay in selftest(bundle) if replay.format == format)
    found = f"{model}, {format}: {replay.same} of {replay.of} golden inputs read as at export{signed}"
    return Finding("engine", "ok", found)


def camera(uri: str, wait_s: float = WAIT_S) -> Finding:
    """Return whether a source gives frames, of what size and how many a second.

    Raises
    ------
    ConfigError
        When the URI cannot be used.
    SourceError
        When it gives none, and ought to.
    """
    from digitcam.edge.sources import open_source
    from digitcam.edge.sources.uris import redact

    shown = redact(uri)
    with open_source(uri) as source:
        # A camera has a health; a file that ends early says why by an error of its own.
        live = hasattr(source, "health")
        frames = _frames(source, wait_s, LOOK_S if live else 0.0)
        problem: str = source.health().problem if hasattr(source, "health") else ""
    if not frames and uri.startswith("watch:"):
        mend = "see that what takes the pictures runs, if one should have come by now"
        return Finding("camera", "warn", f"{shown}: no new image in {wait_s:g} s", mend)
    if not frames and not live and source.failed:
        mend = "name an image, a video or a folder that is there and can be read"
        return Finding("camera", "fail", f"{shown}: nothing could be read", mend, SourceError.exit_code)
    if not frames:
        raise SourceError(problem or f"{shown}: no frame in {wait_s:g} s")
    first, last = frames[0], frames[-1]
    found = f"{shown}: {first.width}x{first.height}"
    if source.failed:
        mend = "take away the images that cannot be read, or copy them again"
        return Finding("camera", "warn", f"{found}, {source.failed} could not be read", mend)
    if not live:
        return Finding("camera", "ok", found)
    if len(frames) < FRAMES:
        mend = "see its cable or network, and whether it is set to expose that long"
        return Finding("camera", "warn", f"{found}, only {len(frames)} of {FRAMES} frames in {wait_s:g} s", mend)
    span_s = (last.ts - first.ts).total_seconds()
    if span_s < LOOK_S:
        mend = "see its cable or network; start it anew"
        return Finding("camera", "warn", f"{found}, then nothing: it stopped after {len(frames)} frames", mend)
    found += f", {(len(frames) - 1) / span_s:.1f} frames/s"
    if len({(seen.width, seen.height) for seen in frames}) > 1:
        return Finding("camera", "warn", f"{found}, then of another size", "fix width and height where it is set")
    return Finding("camera", "ok", found)


def _frames(source: Source, wait_s: float, look_s: float) -> list[_Seen]:
    """Return a source's first frames: FRAMES and as many as come in `look_s` seconds, what came by `wait_s` at most."""
    from digitcam.edge.sources import frames_until

    stop = threading.Event()
    timer = threading.Timer(wait_s, stop.set)
    timer.daemon = True
    timer.start()
    frames: list[_Seen] = []
    try:
        for frame in frames_until(source, stop):
            # Not the pictures themselves: a second of them may be more than a small board's memory.
            frames.append(_Seen(frame.image.shape[1], frame.image.shape[0], frame.ts))
            enough = len(frames) >= FRAMES and (frame.ts - frames[0].ts).total_seconds() >= look_s
            if enough or stop.is_set():
                break
    finally:
        timer.cancel()
    return frames


def broker(config: Mqtt | None) -> Finding:
    """Return whether the broker can be reached and takes the login; nothing is published.

    Raises
    ------
    ConfigError
        When the password or the certificates cannot be read, or paho is not installed.
    SinkError
        When the broker cannot be reached, or refuses.
    """
    if config is None:
        return Finding("broker", "ok", "none configured")
    try:
        from digitcam.edge.sinks.broker import Broker
    except ModuleNotFoundError as error:
        raise ConfigError(f"[mqtt] needs {error.name}: pip install 'digitcam[mqtt]'") from None
    secret = handed(config.password_file or "")
    if os.access(secret, os.F_OK) and not os.access(secret, os.R_OK):
        return Finding("broker", "warn", f"not asked: this user may not read {secret}", "sudo digitcam doctor")
    connection = Broker(config, None, {}, "nothing")
    connection.open()
    connection.close()
    who = f"as {config.username}" if config.username else "without a login"
    if config.tls or config.host in ("127.0.0.1", "::1", "localhost"):
        return Finding("broker", "ok", f"{connection.where}: let us in {who}")
    mend = "set mqtt.tls = true, and the port that speaks it (8883)"
    return Finding("broker", "warn", f"{connection.where}: let us in {who}, everything unencrypted", mend)
