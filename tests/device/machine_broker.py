"""A broker on loopback as one has it at home, Mosquitto with TLS, passwords and an access list; and who listens."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ADDRESS = "10.0.2.2"
"""Where an emulated machine finds this one's loopback."""
TOPIC = "home/meter"
PASSWORD = "of the meter"
MOSQUITTO = "/usr/sbin/mosquitto"


class Reading(NamedTuple):
    """An accepted reading, when it came in seconds of this machine's monotonic clock, and what read it."""

    at_s: float
    number: str
    model: str
    format: str


class Broker:
    """The broker, and a subscriber that keeps the accepted readings; a context manager.

    ca, password
        Files that a meter is given.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self.ca, self.password = folder, folder / "ca.pem", folder / "password"
        self.password.write_text(f"{PASSWORD}\n")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._readings: list[Reading] = []
        self._came = threading.Condition()

    def __enter__(self) -> Broker:
        self._certificates()
        passwords, access, settings = self.folder / "passwords", self.folder / "access", self.folder / "settings"
        passwords.touch(0o600)
        for user, password in (("meter", PASSWORD), ("viewer", "of the viewer")):
            subprocess.run(["mosquitto_passwd", "-b", str(passwords), user, password], check=True)
        # For the meter, what the README asks for.
        access.write_text(
            f"user meter\ntopic readwrite {TOPIC}/#\ntopic write homeassistant/device/#\n"
            f"topic read homeassistant/status\nuser viewer\ntopic read #\n"
        )
        settings.write_text(
            f"user root\nlistener {self.port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\n"
            f"acl_file {access}\ncafile {self.ca}\ncertfile {self.folder / 'broker.pem'}\n"
            f"keyfile {self.folder / 'broker.key'}\n"
        )
        log = (self.folder / "log").open("wb")
        self._broker = subprocess.Popen([MOSQUITTO, "-c", str(settings)], stdout=log, stderr=log)
        with socket.socket() as probe:
            while probe.connect_ex(("127.0.0.1", self.port)):
                assert self._broker.poll() is None, f"the broker has ended: see {self.folder / 'log'}"
                time.sleep(0.1)
        words = self._words("viewer", "of the viewer", "-t", f"{TOPIC}/reading")
        self._subscriber = subprocess.Popen(["mosquitto_sub", *words], stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self._subscriber, self._broker):
            process.terminate()
            process.wait()

    def refuses(self) -> list[str]:
        """Return which clients are turned away: one without TLS, one with a wrong password."""
        clients = {
            "no TLS": ["-h", "127.0.0.1", "-p", str(self.port), "-u", "meter", "-P", PASSWORD, "-t", TOPIC],
            "wrong password": self._words("meter", "another", "-t", TOPIC),
        }
        refused = []
        for name, words in clients.items():
            if subprocess.run(["mosquitto_pub", "-m", "x", *words], stderr=subprocess.DEVNULL, check=False).returncode:
                refused.append(name)
        return refused

    def wait(
        self, timeout_s: float, fits: Callable[[Reading], bool] = lambda reading: True, since_s: float | None = None
    ) -> Reading:
        """Return the first accepted reading that fits, of those that come from now on or came since a time."""
        begun_s = time.monotonic() if since_s is None else since_s
        found: list[Reading] = []

        def came() -> bool:
            found[:] = [reading for reading in self._readings if reading.at_s > begun_s and fits(reading)]
            return bool(found)

        with self._came:
            assert self._came.wait_for(came, timeout_s), f"no such reading came in {timeout_s:.0f} s"
        return found[0]

    def silent(self, seconds: float) -> bool:
        """Return whether no accepted reading comes for so long."""
        count = len(self._readings)
        time.sleep(seconds)
        return len(self._readings) == count

    def _listen(self) -> None:
        assert self._subscriber.stdout
        for line in self._subscriber.stdout:
            told: dict[str, Any] = json.loads(line)
            if told["accepted"]:
                model = told["model"]
                with self._came:
                    self._readings.append(Reading(time.monotonic(), told["number"], model["name"], model["format"]))
                    self._came.notify_all()

    def _words(self, user: str, password: str, *more: str) -> list[str]:
        where = ["-h", "127.0.0.1", "-p", str(self.port), "--cafile", str(self.ca)]
        return [*where, "-u", user, "-P", password, *more]

    def _certificates(self) -> None:
        """Make an authority, and a certificate for the broker by the addresses it is reached by."""
        new = ["openssl", "req", "-newkey", "rsa:2048", "-nodes"]
        sign = ["openssl", "x509", "-req", "-days", "30", "-CAcreateserial"]
        # All that Python 3.13 asks of certificates.
        own = self.folder / "names"
        own.write_text(
            f"subjectAltName=IP:{ADDRESS},IP:127.0.0.1\nbasicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n"
            "extendedKeyUsage=serverAuth\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        )
        usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        for command in (
            [*new, *usage, "-x509", "-days", "30", "-subj", "/CN=home", "-keyout", "ca.key", "-out", "ca.pem"],
            [*new, "-subj", "/CN=broker", "-keyout", "broker.key", "-out", "broker.csr"],
            [
                *sign,
                "-in",
                "broker.csr",
                "-CA",
                "ca.pem",
                "-CAkey",
                "ca.key",
                "-extfile",
                "names",
                "-out",
                "broker.pem",
            ],
        ):
            subprocess.run(command, cwd=self.folder, check=True, capture_output=True)
