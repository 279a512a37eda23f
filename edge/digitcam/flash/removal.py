"""A device cleared: first at its broker, which only the digitcam that is there can still ask."""

from __future__ import annotations

from digitcam.core.errors import DigitcamError, SinkError
from digitcam.flash.remote import BUSY_S, Remote

FORGET_S = 60
"""How long the broker may take."""

# What runs would tell the broker all anew; one on trial comes to its end first.
_FORGET = """
systemctl stop digitcam.service
exec timeout "$2" "$1/current/venv/bin/digitcam" run --config "$1/current/digitcam.toml" --forget
"""


def remove(remote: Remote) -> None:
    """Leave nothing of digitcam on a device, nor of the device at its broker and in Home Assistant.

    A broker that cannot be asked is noted and keeps what it has: the device is cleared all the same.

    Raises
    ------
    DigitcamError
        When the device cannot be cleared.
    """
    try:
        _forget(remote)
    except (DigitcamError, ValueError) as error:
        remote.note(f"its broker and Home Assistant may keep what they were told: {error}")
    remote.do("remove")


def _forget(remote: Remote) -> None:
    import tomlkit

    text = (remote.read("/opt/digitcam/current/digitcam.toml") or b"").decode()
    if "mqtt" not in tomlkit.parse(text):
        return
    remote.note("having the broker forget it")
    words = ["flock", "--close", "--wait", int(BUSY_S), f"{remote.root}/opt"]
    done = remote.run([*words, "sh", "-c", _FORGET, "sh", remote.home, FORGET_S])
    if done.code:
        last = done.err[-1] if done.err else "it took too long"
        raise SinkError(last.removeprefix("digitcam: "))
