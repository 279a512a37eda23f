"""A card that boots into digitcam: what is put on its boot partition, and what the first boot does with it."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from digitcam.core.errors import ConfigError, SinkError
from digitcam.edge.config import load_config
from digitcam.flash import bootfolder, cloudinit, commands, secrets
from digitcam.flash.bootfolder import Settings, check_boot_folder, plan, write
from digitcam.flash.payload import Payload, Requires, payload_id

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJuJZ0mWmGmZ4mJY3Zs0mT0lY8b1m9Wc1sVdR0m0Y3Qp me@home"
CMDLINE = "console=serial0,115200 console=tty1 root=PARTUUID=9710ec8c-02 rootfstype=ext4 rootwait"
IMAGER = "#cloud-config\nhostname: attic\nusers:\n- name: anna\n"
FIRST_BOOT = Path(bootfolder.__file__).with_name("first-boot.sh")


@pytest.fixture
def boot(tmp_path: Path) -> Path:
    """The boot partition of a fresh card, its files for cloud-init holding comments alone."""
    folder = tmp_path / "bootfs"
    folder.mkdir()
    (folder / "config.txt").write_text("camera_auto_detect=1\n")
    (folder / "cmdline.txt").write_text(f"{CMDLINE}\n")
    (folder / "kernel8.img").write_bytes(b"kernel")
    (folder / "meta-data").write_text("# comment\ndsmode: local\ninstance_id: rpios-image\n")
    (folder / "user-data").write_text("#cloud-config\n\n# hostname: raspberrypi\n")
    (folder / "network-config").write_text("# network:\n")
    return folder


@pytest.fixture
def made(tmp_path: Path) -> tuple[Payload, Path]:
    """A small payload; its installer notes what it is asked for, and fails as FAIL says: `install 5`."""
    folder = tmp_path / "payload"
    (folder / "model").mkdir(parents=True)
    (folder / "install.py").write_text(
        "import os, sys\n"
        "print('asked for', sys.argv[3])\n"
        "open(os.environ['ASKED'], 'a').write(' '.join(sys.argv[1:]) + '\\n')\n"
        "verb, code = (os.environ['FAIL'] or 'nothing 0').split()\n"
        "sys.exit(int(code) if verb == sys.argv[3] else 0)\n"
    )
    (folder / "model" / "card.json").write_text("{}")
    return describe(folder), folder


def describe(folder: Path) -> Payload:
    import hashlib

    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "payload.json")
    files = {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}
    requires = Requires("aarch64", "3.13", False)
    payload = Payload(id=payload_id(files), digitcam="0.1.0", model="canvas", requires=requires, files=files)
    (folder / "payload.json").write_text(payload.id)
    return payload


def settings(path: Path) -> Any:
    """What cloud-init makes of a file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_a_password_becomes_the_key_of_the_standard() -> None:
    # IEEE 802.11-2016, J.4.2, the first two of its test vectors.
    assert cloudinit.wifi("IEEE", "DE", "password").psk == (
        "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e"
    )
    assert cloudinit.wifi("ThisIsASSID", "DE", "ThisIsAPassword").psk == (
        "0dc0d6eb90555ed6419756b9a15ec3e3209b63df707dd508d14581f8982721af"
    )
    assert cloudinit.wifi("any", "DE", "AB" * 32).psk == "ab" * 32


@pytest.mark.parametrize(
    ("ssid", "country", "password", "error"),
    [
        ("", "DE", "longenough", "1 to 32 bytes"),
        ("ü" * 17, "DE", "longenough", "1 to 32 bytes"),
        ("a\nb", "DE", "longenough", "printable"),
        ("home", "de", "longenough", "two capital letters"),
        ("home", "DE", "secret7", "8 to 63 ASCII"),
        ("home", "DE", "secret77ü", "8 to 63 ASCII"),
        ("home", "DE", "s" * 64, "8 to 63 ASCII"),
    ],
)
def test_networks_that_cannot_be_are_refused_and_passwords_not_shown(
    ssid: str, country: str, password: str, error: str
) -> None:
    with pytest.raises(ConfigError, match=error) as raised:
        cloudinit.wifi(ssid, country, password)
    assert password not in str(raised.value)


@effort(max_examples=50, deadline=None)
@given(st.text(min_size=1, max_size=32).filter(lambda text: text.isprintable() and len(text.encode()) <= 32))
def test_any_name_of_a_network_survives_yaml(ssid: str) -> None:
    text = cloudinit.network_config(cloudinit.Wifi(ssid, "DE", "0" * 64))
    assert list(yaml.safe_load(text)["network"]["wifis"]["wlan0"]["access-points"]) == [ssid]


def test_a_network_is_as_netplan_reads_it() -> None:
    network = cloudinit.Wifi("home", "DE", "0" * 64, hidden=True)
    assert yaml.safe_load(cloudinit.network_config(network)) == {
        "network": {
            "version": 2,
            "ethernets": {"eth0": {"dhcp4": True, "optional": True}},
            "wifis": {
                "wlan0": {
                    "dhcp4": True,
                    "optional": True,
                    "regulatory-domain": "DE",
                    "access-points": {"home": {"password": "0" * 64, "hidden": True}},
                }
            },
        }
    }


def test_a_user_logs_in_with_a_key_alone() -> None:
    text = cloudinit.user_data("anna", [KEY], "meter", "Europe/Berlin")
    assert text.startswith("#cloud-config\n")
    told = yaml.safe_load(text)
    (user,) = told.pop("users")
    assert (user["name"], user["lock_passwd"], user["ssh_authorized_keys"]) == ("anna", True, [KEY])
    assert told == {
        "hostname": "meter",
        "manage_etc_hosts": True,
        "timezone": "Europe/Berlin",
        "ssh_pwauth": False,
        "runcmd": [["systemctl", "enable", "--now", "ssh"]],
    }
    for wrong in ({"hostname": "a b"}, {"timezone": "../etc"}, {"user": "root;"}):
        options = {"user": "pi", "keys": [KEY], "hostname": None, "timezone": None, **wrong}
        with pytest.raises(ConfigError, match="use"):
            cloudinit.user_data(**options)  # type: ignore[arg-type]


def test_only_public_keys_are_taken() -> None:
    assert cloudinit.public_keys(f"# mine\n{KEY}\n\n", "id.pub") == [KEY]
    for text in ("", "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n", f"{KEY}\nrubbish\n"):
        with pytest.raises(ConfigError, match="not a public key"):
            cloudinit.public_keys(text, "id")


@pytest.mark.parametrize(
    ("before", "country", "after"),
    [
        (CMDLINE, None, CMDLINE),
        (CMDLINE, "DE", f"{CMDLINE} cfg80211.ieee80211_regdom=DE"),
        (
            f"{CMDLINE} cfg80211.ieee80211_regdom=GB ds=nocloud;i=rpi-imager-1",
            "DE",
            f"{CMDLINE} ds=nocloud;i=digitcam-1 cfg80211.ieee80211_regdom=DE",
        ),
        (f"ds=nocloud;h=attic;i=x;s=/y {CMDLINE}", None, f"ds=nocloud;h=attic;i=digitcam-1;s=/y {CMDLINE}"),
    ],
)
def test_the_kernel_s_line_keeps_all_but_instance_and_country(before: str, country: str | None, after: str) -> None:
    once = cloudinit.command_line(f"{before}\n", "digitcam-1", country)
    assert once == f"{after}\n" and cloudinit.command_line(once, "digitcam-1", country) == once


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda boot: shutil.rmtree(boot), "no such folder"),
        (lambda boot: (boot / "config.txt").unlink(), r"no config\.txt: not the boot partition"),
        (lambda boot: (boot / "kernel7.img").touch(), "32-bit"),
        (lambda boot: (boot / "meta-data").unlink(), "no meta-data.*Trixie"),
    ],
)
def test_other_folders_are_refused(boot: Path, change: Any, error: str) -> None:
    check_boot_folder(boot)
    change(boot)
    with pytest.raises(ConfigError, match=error):
        check_boot_folder(boot)


def test_a_fresh_card_gets_all_and_keeps_what_it_has(boot: Path, made: tuple[Payload, Path]) -> None:
    payload, folder = made
    told = Settings(
        cloudinit.user_data("anna", [KEY], None, None),
        cloudinit.Wifi("home", "DE", "0" * 64),
        {"mqtt-password": b"s3cret\n"},
        ("python3-picamera2",),
    )
    files = plan(boot, payload, folder, told)
    assert set(write(boot, files)) == set(files)
    ours = boot / "digitcam"
    assert (ours / "todo").read_text() == f"{payload.id}\n"
    assert (ours / "packages").read_text() == "python3-picamera2\n"
    assert (ours / "secrets" / "mqtt-password").read_bytes() == b"s3cret\n"
    assert (ours / "payload" / "model" / "card.json").read_text() == "{}"
    assert settings(boot / "user-data")["users"][0]["name"] == "anna"
    assert (boot / "cmdline.txt").read_text() == f"{CMDLINE} cfg80211.ieee80211_regdom=DE\n"
    assert settings(boot / "meta-data")["instance-id"].startswith("digitcam-")
    assert (boot / "config.txt").read_text() == "camera_auto_detect=1\n"
    assert not list(boot.rglob("*.part"))
    assert write(boot, plan(boot, payload, folder, told)) == []
    told = told._replace(wifi=cloudinit.Wifi("other", "DE", "0" * 64))
    assert set(write(boot, plan(boot, payload, folder, told))) == {"network-config", "meta-data"}


def test_what_raspberry_pi_imager_has_written_stays(boot: Path, made: tuple[Payload, Path]) -> None:
    (boot / "user-data").write_text(IMAGER)
    (boot / "meta-data").write_text("instance-id: rpi-imager-1787532598498\n")
    (boot / "cmdline.txt").write_text(f"{CMDLINE} ds=nocloud;i=rpi-imager-1787532598498\n")
    write(boot, plan(boot, *made, Settings()))
    assert (boot / "user-data").read_text() == IMAGER
    assert (boot / "network-config").read_text() == "# network:\n"
    # The kernel's line wins over meta-data, so both have to say the same.
    instance = settings(boot / "meta-data")["instance-id"]
    assert (boot / "cmdline.txt").read_text() == f"{CMDLINE} ds=nocloud;i={instance}\n"
    (boot / "meta-data").write_text("instance-id: rpi-imager-1787532598498\n")
    mine = Settings(cloudinit.user_data(None, [], "meter", None))
    with pytest.raises(ConfigError, match="user-data: Raspberry Pi Imager has put settings there: leave them"):
        plan(boot, *made, mine)
    assert (boot / "user-data").read_text() == IMAGER
    write(boot, plan(boot, *made, mine, replace=True))
    assert settings(boot / "user-data") == {"hostname": "meter", "manage_etc_hosts": True}


def test_another_payload_takes_the_place_of_the_one_before(boot: Path, made: tuple[Payload, Path]) -> None:
    payload, folder = made
    write(boot, plan(boot, payload, folder, Settings(secrets={"old": b"x"})))
    (folder / "model" / "card.json").rename(folder / "model" / "other.json")
    second = describe(folder)
    write(boot, plan(boot, second, folder, Settings()))
    assert sorted(path.name for path in (boot / "digitcam" / "payload" / "model").iterdir()) == ["other.json"]
    assert not (boot / "digitcam" / "secrets" / "old").exists()
    assert (boot / "digitcam" / "todo").read_text().strip() == second.id != payload.id


def test_too_little_room_is_said_before_anything_is_written(
    boot: Path, made: tuple[Payload, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = plan(boot, *made, Settings())
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=16_000_000))
    with pytest.raises(SinkError, match=r"bootfs: 17 MB are needed, 16 MB are free"):
        write(boot, files)
    assert not (boot / "digitcam").exists()


def test_broken_off_and_repeated_it_goes_on(
    boot: Path, made: tuple[Payload, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    files, sync, calls = plan(boot, *made, Settings()), os.fsync, []

    def pulled_out(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 7:  # of each file's two: its content, and its name
            raise OSError(5, "Input/output error")
        sync(handle)

    monkeypatch.setattr(os, "fsync", pulled_out)
    with pytest.raises(SinkError, match="Input/output error: do it again"):
        write(boot, files)
    # What sets all in motion comes after all it needs.
    assert not (boot / "digitcam" / "todo").exists() and not (boot / "vendor-data").exists()
    assert len(write(boot, files)) == len(files) - 4  # three were written before, and cmdline.txt is as it was
    assert not list(boot.rglob("*.part"))


def test_names_that_fat_does_not_take_are_refused(boot: Path, made: tuple[Payload, Path]) -> None:
    (made[1] / "what?").write_text("x")
    with pytest.raises(ConfigError, match=r"what\?: .* FAT, takes no such name"):
        plan(boot, describe(made[1]), made[1], Settings())


def test_secrets_are_asked_for_or_read_and_never_told(tmp_path: Path) -> None:
    (tmp_path / "meter.toml").write_text(
        '[mqtt]\nhost = "b"\nusername = "meter"\n'
        'password_file = "/run/credentials/digitcam.service/mqtt-password"\nca_file = "/etc/digitcam/ca.pem"\n'
        '[web]\ntoken_file = "/home/pi/token"\n'
    )
    config, asked = load_config(tmp_path / "meter.toml"), []

    def ask(what: str) -> str:
        asked.append(what)
        return "s3cret"

    assert [secret.name for secret in secrets.wanted(config)] == ["mqtt-password", "ca.pem"]
    with pytest.raises(ConfigError, match=r"mqtt\.ca_file is ca\.pem: give the file with --secret ca\.pem=FILE"):
        secrets.gather(config, [], ask)
    (tmp_path / "ca").write_bytes(b"PEM")
    found = secrets.gather(config, [f"ca.pem={tmp_path / 'ca'}"], ask)
    assert found == {"ca.pem": b"PEM", "mqtt-password": b"s3cret\n"}
    assert asked[-1] == "mqtt.password_file (mqtt-password)"
    for pair, error in (
        ("other=x", "configuration names mqtt-password, ca.pem"),
        (f"ca.pem={tmp_path}", "cannot read"),
    ):
        with pytest.raises(ConfigError, match=error):
            secrets.gather(config, [pair], ask)


def test_who_may_sign_comes_apart_as_a_secret_does(tmp_path: Path) -> None:
    (tmp_path / "meter.toml").write_text('signers = "/etc/digitcam/allowed_signers"\n')
    config = load_config(tmp_path / "meter.toml")
    with pytest.raises(ConfigError, match=r"^signers is allowed_signers: give the file with --secret allowed_signers="):
        secrets.gather(config, [], lambda what: "")
    (tmp_path / "allowed").write_text("me ssh-ed25519 AAAA\n")
    found = secrets.gather(config, [f"allowed_signers={tmp_path / 'allowed'}"], lambda what: "")
    assert found == {"allowed_signers": b"me ssh-ed25519 AAAA\n"}


def first_boot(boot: Path, root: Path, fail: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DIGITCAM_ROOT": str(root), "ASKED": str(root / "asked"), "FAIL": fail}
    root.mkdir(exist_ok=True)
    script = boot / "digitcam" / "first-boot.sh"
    return subprocess.run(["sh", script], env=environment, capture_output=True, text=True, check=False)


def test_the_first_boot_hides_secrets_installs_and_tidies_up(
    boot: Path, made: tuple[Payload, Path], tmp_path: Path
) -> None:
    payload, folder = made
    write(boot, plan(boot, payload, folder, Settings(secrets={"mqtt-password": b"s3cret\n"})))
    done = first_boot(boot, tmp_path / "root")
    assert done.returncode == 0, done.stdout
    secret = tmp_path / "root" / "etc" / "digitcam" / "mqtt-password"
    assert secret.read_bytes() == b"s3cret\n" and secret.stat().st_mode & 0o777 == 0o600
    assert secret.parent.stat().st_mode & 0o777 == 0o700
    root, there = tmp_path / "root", boot / "digitcam" / "payload"
    assert (root / "asked").read_text().splitlines() == [
        f"--root {root} install {there}",
        f"--root {root} switch --no-reading-needed {payload.id}",
    ]
    assert not (boot / "digitcam").exists()
    log = (boot / "digitcam-log.txt").read_text()
    assert f"payload {payload.id} runs" in log and "asked for switch" in log and "s3cret" not in log + done.stdout


@pytest.mark.parametrize(("fail", "code"), [("install 5", 5), ("install 3", 75), ("switch 3", 75)])
def test_a_first_boot_that_failed_is_done_again(
    boot: Path, made: tuple[Payload, Path], tmp_path: Path, fail: str, code: int
) -> None:
    write(boot, plan(boot, *made, Settings(secrets={"mqtt-password": b"s3cret\n"})))
    assert first_boot(boot, tmp_path / "root", fail=fail).returncode == code
    # Whatever else fails, what everybody could read is gone.
    assert not (boot / "digitcam" / "secrets").exists() and (boot / "digitcam" / "todo").exists()
    assert f"asked for {fail[:-2]}" in (boot / "digitcam-log.txt").read_text()
    assert first_boot(boot, tmp_path / "root").returncode == 0
    assert not (boot / "digitcam").exists()


def test_every_boot_starts_it_as_long_as_there_is_something_to_do(tmp_path: Path) -> None:
    (command,) = yaml.safe_load(cloudinit.vendor_data(str(tmp_path)))["bootcmd"]
    manager = tmp_path / "bin" / "systemd-run"
    manager.parent.mkdir()
    manager.write_text(f'#!/bin/sh\necho "$@" >"{tmp_path}/started"\n')
    manager.chmod(0o755)
    environment = {**os.environ, "PATH": f"{manager.parent}:{os.environ['PATH']}"}
    subprocess.run(command, env=environment, check=True)
    assert not (tmp_path / "started").exists()
    (tmp_path / "digitcam").mkdir()
    (tmp_path / "digitcam" / "todo").touch()
    subprocess.run(command, env=environment, check=True)
    started = (tmp_path / "started").read_text().split()
    assert started[-2:] == ["/bin/sh", f"{tmp_path}/digitcam/first-boot.sh"]
    assert {"--no-block", "--property=Restart=on-failure", "--property=RestartPreventExitStatus=75"} <= set(started)


def test_the_command_asks_for_what_is_secret_and_shows_none_of_it(
    boot: Path, made: tuple[Payload, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(out: Path, *_: object) -> Payload:
        shutil.copytree(made[1], out)
        return made[0]

    monkeypatch.setattr(commands, "_build", build)  # real ones are built in test_payload.py
    (tmp_path / "meter.toml").write_text(
        'source = "picamera2://0"\n[mqtt]\nhost = "b"\nusername = "meter"\n'
        'password_file = "/run/credentials/digitcam.service/mqtt-password"\n'
    )
    (tmp_path / "id.pub").write_text(KEY)
    words = [str(boot), "--model", "canvas", "--config", str(tmp_path / "meter.toml"), "--wifi", "IEEE"]
    words += ["--wifi-country", "DE", "--ssh-key", str(tmp_path / "id.pub"), "--hostname", "meter"]
    dry = CliRunner().invoke(commands.image, [*words, "--dry-run"], catch_exceptions=False)
    assert dry.exit_code == 0 and "digitcam/todo  13 bytes, new" in dry.output and '"password": ***' in dry.output
    assert not (boot / "digitcam").exists()
    typed = "password\npassword\nbr0ker\nbr0ker\n"
    done = CliRunner().invoke(commands.image, words, input=typed, catch_exceptions=False)
    assert done.exit_code == 0 and made[0].id in done.output and "python3-picamera2" in done.output
    assert "br0ker" not in done.output
    assert (boot / "digitcam" / "secrets" / "mqtt-password").read_text() == "br0ker\n"
    network = (boot / "network-config").read_text()
    assert "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e" in network
    assert json.dumps("password") + ': "password"' not in network
