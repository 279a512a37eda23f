"""What cloud-init reads at the first boot of Raspberry Pi OS: texts, as JSON, which is YAML.

Raspberry Pi OS since Trixie (October 2025) has cloud-init look for its data on the boot partition: its
`/etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg` says `datasource_list: [NoCloud, None]` and `seedfrom:
file:///boot/firmware`, and `meta-data`, `user-data` and `network-config` lie there from the beginning
(RPi-Distro/pi-gen, stage2/04-cloud-init). Beside them NoCloud reads `vendor-data`, whose settings stand back behind
those of `user-data` (cloudinit.readthedocs.io, reference/datasources/nocloud and explanation/vendordata). Ours go
there, so that what Raspberry Pi Imager has written (users, keys, network) stays.

Commands of `runcmd` run once for an instance, and not again when the power goes in the middle (canonical/cloud-init
issue 5699); those of `bootcmd` run at every boot. So ours is a `bootcmd`, which does nothing once all is installed.

Imager writes a wireless password as PBKDF2 of it (`password` of an access point, 64 hex digits), the country as
`regulatory-domain` and `cfg80211.ieee80211_regdom=` in cmdline.txt, and `ds=nocloud;i=ID` there, which wins over the
`instance-id` of meta-data (raspberrypi/rpi-imager, src/customization_generator.cpp and pull request 1529).
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, NamedTuple

from digitcam.core.errors import ConfigError

FOLDER = "digitcam"
"""Of ours on the boot partition, which is /boot/firmware once the Pi runs."""
MARK = "# written by digitcam image"
GROUPS = "adm,dialout,cdrom,audio,users,sudo,video,games,plugdev,input,gpio,spi,i2c,netdev,render"
"""Those Imager gives the first user."""
_KEY = re.compile(r"(ssh-|ecdsa-|sk-)[a-z0-9@.-]+ [A-Za-z0-9+/]+=*( .*)?")
_HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_TIMEZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")


class Wifi(NamedTuple):
    """A wireless network: its name, two letters of the country, its key of 64 hex digits, whether it hides its name."""

    ssid: str
    country: str
    psk: str
    hidden: bool = False


def wifi(ssid: str, country: str, password: str, hidden: bool = False) -> Wifi:
    """Return a WPA2 network, its password replaced by the key made of it and the name, as `wpa_passphrase` makes it.

    Raises
    ------
    ConfigError
        When name, country or password cannot be. The password is not shown.
    """
    if not 1 <= len(ssid.encode()) <= 32 or not ssid.isprintable():
        raise ConfigError(f"--wifi {ssid!r}: a network's name has 1 to 32 bytes, all printable")
    if not re.fullmatch("[A-Z]{2}", country):
        raise ConfigError(f"--wifi-country {country!r}: give two capital letters, such as DE")
    if re.fullmatch("[0-9a-fA-F]{64}", password):
        return Wifi(ssid, country, password.lower(), hidden)
    if not 8 <= len(password) <= 63 or not (password.isascii() and password.isprintable()):
        raise ConfigError("the wireless password: it has 8 to 63 ASCII characters, or is a key of 64 hex digits")
    psk = hashlib.pbkdf2_hmac("sha1", password.encode(), ssid.encode(), 4096, 32).hex()
    return Wifi(ssid, country, psk, hidden)


def network_config(network: Wifi) -> str:
    """Return the file `network-config`: a wireless network, and cable where there is one."""
    access: dict[str, Any] = {"password": network.psk}
    if network.hidden:
        access["hidden"] = True
    wlan = {
        "dhcp4": True,
        "optional": True,
        "regulatory-domain": network.country,
        "access-points": {network.ssid: access},
    }
    cable = {"dhcp4": True, "optional": True}
    return _yaml(MARK, {"network": {"version": 2, "ethernets": {"eth0": cable}, "wifis": {"wlan0": wlan}}})


def user_data(user: str | None, keys: list[str], hostname: str | None, timezone: str | None) -> str:
    """Return the file `user-data`: a user who logs in by ssh with a key alone, the Pi's name and time zone.

    Raises
    ------
    ConfigError
        When one of them cannot be.
    """
    settings: dict[str, Any] = {}
    if hostname:
        settings |= {
            "hostname": _checked("--hostname", hostname, _HOSTNAME, "a-z, 0-9 and -"),
            "manage_etc_hosts": True,
        }
    if timezone:
        settings["timezone"] = _checked("--timezone", timezone, _TIMEZONE, "a name such as Europe/Berlin")
    if keys:
        # Nobody can type a password that there is none of, so sudo asks for none.
        account = {
            "name": _checked("--user", user or "pi", _USER, "a-z, 0-9, _ and -"),
            "groups": GROUPS,
            "shell": "/bin/bash",
            "lock_passwd": True,
            "sudo": "ALL=(ALL) NOPASSWD:ALL",
            "ssh_authorized_keys": keys,
        }
        settings |= {"users": [account], "ssh_pwauth": False, "runcmd": [["systemctl", "enable", "--now", "ssh"]]}
    return _yaml(f"#cloud-config\n{MARK}", settings)


def vendor_data(boot: str = "/boot/firmware") -> str:
    """Return the file `vendor-data`: at every boot, as long as there is something to install, its start.

    It comes late in the boot, when the file system fills the card and the network is up; the boot does not wait for it.
    """
    start = (
        "systemd-run --no-block --collect --unit=digitcam-first-boot --service-type=oneshot "
        "--property=After=cloud-final.service --property=TimeoutStartSec=infinity "
        "--property=Restart=on-failure --property=RestartSec=60 --property=RestartPreventExitStatus=75 "
        f"/bin/sh {boot}/{FOLDER}/first-boot.sh"
    )
    return _yaml(f"#cloud-config\n{MARK}", {"bootcmd": [["sh", "-c", f"test ! -e {boot}/{FOLDER}/todo || {start}"]]})


def instance_id(*texts: str) -> str:
    """Return an id that is another when one of cloud-init's files is: a card booted before then reads them anew."""
    return f"digitcam-{hashlib.sha256('|'.join(texts).encode()).hexdigest()[:12]}"


def meta_data(instance: str) -> str:
    """Return the file `meta-data`."""
    return _yaml(MARK, {"dsmode": "local", "instance-id": instance})


def command_line(before: str, instance: str, country: str | None) -> str:
    """Return cmdline.txt, one line: our instance id where Imager has put one, and the country; all else stays."""
    pinned = re.compile(r"(ds=nocloud\S*;i(?:nstance-id)?=)[^;]*")
    words = [pinned.sub(rf"\g<1>{instance}", word) for word in before.split()]
    if country:
        words = [word for word in words if not word.startswith("cfg80211.ieee80211_regdom=")]
        words.append(f"cfg80211.ieee80211_regdom={country}")
    return " ".join(words) + "\n"


def public_keys(text: str, where: str) -> list[str]:
    """Return the lines of a file of public keys.

    Raises
    ------
    ConfigError
        When there is none in it, or something else, a private key above all.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines or not all(_KEY.fullmatch(line) for line in lines):
        raise ConfigError(f"--ssh-key {where}: not a public key: give the file that ends in .pub")
    return lines


def ours(text: str) -> bool:
    """Return whether a file of cloud-init's says nothing, or was written by us."""
    said = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return MARK in text or not said


def _checked(option: str, value: str, pattern: re.Pattern[str], what: str) -> str:
    if not pattern.fullmatch(value):
        raise ConfigError(f"{option} {value!r}: use {what}")
    return value


def _yaml(head: str, value: dict[str, Any]) -> str:
    return f"{head}\n{json.dumps(value, indent=2, ensure_ascii=False)}\n"
