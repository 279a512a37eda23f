"""`digitcam flash` over a real sshd into a scratch root: a whole life, broken off anywhere, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from box import WAIT_S, light_wheel, payload, seal
from sshbox import QUICK, SshBox, make_key
from tinywheels import tiny_wheel

from digitcam.core.bundle import SHIPPED, open_bundle
from digitcam.core.packing import put_signature
from digitcam.edge.signature import sign

CONFIG = """source = "demo:"
format = "fp32.onnx"
[mqtt]
host = "broker.example.org"
username = "meter"
password_file = "/run/credentials/digitcam.service/mqtt-password"
"""


def light(folder: Path, words: str, **how: object) -> Path:
    """Write a payload whose runner starts in no time; `words` stand in a comment of its configuration."""
    payload(folder, light_wheel(folder.parent), f'source = "demo:"\n# {words}\n', SHIPPED / "canvas", **how)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two payloads that read, and one that reads nothing."""
    folder = tmp_path_factory.mktemp("payloads")
    return {name: light(folder / name, name) for name in ("one", "two", "mute")}


@pytest.fixture(scope="module")
def slots(folders: dict[str, Path]) -> dict[str, str]:
    return {name: json.loads((folder / "payload.json").read_text())["id"] for name, folder in folders.items()}


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshBox]:
    device = SshBox(tmp_path_factory.mktemp("device"))
    yield device
    device.stop()


def test_a_device_is_flashed_updated_gone_back_and_cleared(
    device: SshBox, folders: dict[str, Path], slots: dict[str, str]
) -> None:
    box, one, two = device.box, slots["one"], slots["two"]
    empty = box.tree()
    done = device.flash("--payload", folders["one"], "--dry-run", *QUICK)
    assert (done.returncode, done.stdout) == (0, f"meter: would run {one}\n"), done
    assert f"would install {one}" in done.stderr and box.tree() == empty

    done = device.flash("--payload", folders["one"], *QUICK)
    assert (done.returncode, done.stdout) == (0, f"meter: runs {one}\n"), done
    assert [line for line in done.stderr.splitlines() if line.startswith("  install ")] == [
        f"  install {step}" for step in ("clear", "place", "venv", "packages", "selftest", "check", "sync", "seal")
    ]
    assert "  sent 100%" in done.stderr
    assert (box.runs(), box.slots()) == (one, (one, None))

    # Only what is another is sent: the configuration.
    done = device.flash("--payload", folders["two"], *QUICK)
    assert done.returncode == 0 and "sending 1 files" in done.stderr, done
    assert (box.runs(), box.slots()) == (two, (two, one))
    # The wheels are the same: so is their environment, file by file.
    first, second = (next((box.home / "slots" / slot / "venv/lib").rglob("light.py")).stat() for slot in (one, two))
    assert first.st_ino == second.st_ino

    done = device.flash("--payload", folders["two"], *QUICK)
    assert done.returncode == 0 and f"{two} runs already" in done.stderr

    assert device.ok("--rollback") == f"meter: went back to {one}"
    assert (box.runs(), box.slots()) == (one, (one, two))
    told = json.loads(device.ok("--status", "--json"))
    assert (told["current"], told["trial"], told["health"]["broker"]) == (one, None, None)
    lines = dict(line.split(maxsplit=1) for line in device.ok("--status").splitlines())
    assert (lines["slot"], lines["previous"], lines["service"], lines["model"]) == (one, two, "active", "m")

    assert device.ok("--remove") == "meter: removed"
    assert box.tree() == empty and box.unit()["ActiveState"] == "inactive"


def test_what_reads_nothing_is_gone_back_from_and_its_log_shown(
    device: SshBox, folders: dict[str, Path], slots: dict[str, str]
) -> None:
    device.ok("--payload", folders["one"], *QUICK)
    done = device.flash("--payload", folders["mute"], *QUICK)
    assert done.returncode == 3, done
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"digitcam: meter: went back from {slots['mute']} to {slots['one']}: none of "), last
    assert "  its log: reading" in done.stderr
    assert device.box.runs() == slots["one"]
    assert f"failed    {slots['mute']}, " in device.ok("--status")


def test_a_device_goes_back_though_nobody_asks_it_any_more(
    device: SshBox, folders: dict[str, Path], slots: dict[str, str]
) -> None:
    device.ok("--payload", folders["one"], *QUICK)
    device.killed_at("  switch start", ["--payload", folders["mute"], *QUICK])
    end_s = time.monotonic() + WAIT_S
    while (device.box.home / "trial.json").exists():
        assert time.monotonic() < end_s
        time.sleep(0.05)
    assert device.box.runs() == slots["one"]
    assert f"failed    {slots['mute']}, " in device.ok("--status")


@pytest.mark.parametrize(
    "line",
    [
        "sending ",
        "  install venv",
        "  switch intend",
        "  switch link",
        "  switch start",
    ],
)
def test_killed_at_a_step_the_same_command_goes_on(
    device: SshBox, tmp_path: Path, folders: dict[str, Path], line: str
) -> None:
    new = light(tmp_path / "new", line)
    slot = json.loads((new / "payload.json").read_text())["id"]
    if device.box.slots()[0] is None:
        device.ok("--payload", folders["one"], *QUICK)
    old = device.box.slots()[0]
    words = ["--payload", new, *QUICK]
    device.killed_at(line, words)
    assert device.box.runs() in (old, slot)
    device.ok(*words)
    assert (device.box.runs(), device.box.slots()) == (slot, (slot, old))
    assert not (device.box.home / "trial.json").exists()


def test_of_three_flashes_two_slots_are_kept_and_going_back_broken_off_and_repeated_goes_back_once(
    device: SshBox, tmp_path: Path
) -> None:
    box, slots = device.box, []
    for name in ("first", "second", "third"):
        folder = light(tmp_path / name, f"{name} of three")
        slots.append(json.loads((folder / "payload.json").read_text())["id"])
        device.ok("--payload", folder, *QUICK)
    _, old, new = slots
    assert box.slots() == (new, old)
    assert {path.name for path in (box.home / "slots").iterdir()} == {new, old}

    # Stopping what runs takes until the gate goes.
    gate, real = device.folder / "gate", device.tools / "systemctl.real"
    (device.tools / "systemctl").rename(real)
    device.tool("systemctl", f'case $1 in stop) while test -e {gate}; do sleep 0.02; done; esac; exec {real} "$@"')
    gate.touch()
    try:
        device.killed_at("  return link", ["--rollback"])
        again = subprocess.Popen(
            device.command("--rollback"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=device.env()
        )
        assert again.stdout and again.stderr
        assert next(line for line in again.stderr if "an installer is still at work there" in line)
        gate.unlink()
        assert (again.communicate()[0], again.returncode) == (f"meter: went back to {old}\n", 0)
    finally:
        gate.unlink(missing_ok=True)
        real.rename(device.tools / "systemctl")
    assert (box.runs(), box.slots(), (box.home / "trial.json").exists()) == (old, (old, new), False)

    # The power goes on the device: the same command goes on there.
    box.call("rollback", new, kill="return link")
    box.cut_power()
    assert device.ok("--rollback") == f"meter: went back to {new}"
    assert (box.runs(), box.slots(), (box.home / "trial.json").exists()) == (new, (new, old), False)


@pytest.mark.parametrize("step", ["stop", "units"])
def test_removing_broken_off_and_repeated_leaves_nothing(device: SshBox, folders: dict[str, Path], step: str) -> None:
    box = device.box
    device.ok("--payload", folders["one"], *QUICK)
    device.killed_at(f"  remove {step}", ["--remove"])
    assert device.ok("--remove") == "meter: removed"
    assert not box.home.exists() and not list((box.root / "etc/systemd/system").iterdir())
    assert box.unit()["ActiveState"] == "inactive"
    assert device.ok("--remove") == "meter: removed"


def test_secrets_come_apart_and_the_former_come_back_with_the_former_slot(device: SshBox, tmp_path: Path) -> None:
    box, where = device.box, device.box.root / "etc/digitcam"
    payloads = {}
    for name in ("good", "mute"):
        config = f"{CONFIG}# {name}\n"
        payload(tmp_path / name, light_wheel(tmp_path), config, SHIPPED / "canvas")
        payloads[name] = tmp_path / name
    for name in ("first", "second"):
        (tmp_path / name).write_text(f"{name} password\n")
    line = device.fails(2, "--payload", payloads["good"], *QUICK)
    assert line.startswith("mqtt.password_file is mqtt-password, which the device has not: give it with --secret ")
    assert device.fails(2, "--payload", payloads["good"], "--secret", f"other={tmp_path / 'first'}").startswith(
        "--secret other: the configuration names mqtt-password"
    )
    # As it is where digitcam was installed by hand, whose service is not root and reads its configuration there.
    where.mkdir(mode=0o755)
    done = device.flash("--payload", payloads["good"], "--secret", f"mqtt-password={tmp_path / 'first'}", *QUICK)
    assert done.returncode == 0 and "first password" not in done.stderr, done
    file = where / "mqtt-password"
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("first password\n", 0o600)
    assert [path.name for path in where.iterdir()] == ["mqtt-password"]
    assert where.stat().st_mode & 0o777 == 0o755
    drop_in = (box.root / "etc/systemd/system/digitcam.service.d/flash.conf").read_text()
    assert "LoadCredential=mqtt-password:/etc/digitcam/mqtt-password" in drop_in
    assert not any(b"first password" in path.read_bytes() for path in box.home.rglob("*") if path.is_file())

    done = device.flash("--payload", payloads["mute"], "--secret", f"mqtt-password={tmp_path / 'second'}", *QUICK)
    assert done.returncode == 3 and "the former mqtt-password came back" in done.stderr, done
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("first password\n", 0o600)
    # What is there need not be given again.
    device.ok("--payload", payloads["good"], *QUICK)


def test_who_may_sign_comes_apart_as_well(device: SshBox, tmp_path: Path) -> None:
    bundle, key = tmp_path / "bundle", make_key(tmp_path / "key")
    shutil.copytree(SHIPPED / "canvas", bundle)
    put_signature(open_bundle(bundle), sign(open_bundle(bundle), key))
    config = 'source = "demo:"\nsigners = "/etc/digitcam/allowed_signers"\n'
    payload(tmp_path / "signed", light_wheel(tmp_path), config, bundle)
    line = device.fails(2, "--payload", tmp_path / "signed", *QUICK)
    assert line.startswith("signers is allowed_signers, which the device has not: give it with --secret ")
    text = f"me {key.with_name('key.pub').read_text()}"
    (tmp_path / "signers").write_text(text)
    device.ok("--payload", tmp_path / "signed", "--secret", f"allowed_signers={tmp_path / 'signers'}", *QUICK)
    assert (device.box.root / "etc/digitcam/allowed_signers").read_text() == text
    drop_in = (device.box.root / "etc/systemd/system/digitcam.service.d/flash.conf").read_text()
    assert "LoadCredential=allowed_signers:/etc/digitcam/allowed_signers" in drop_in
    # From now on it takes no other bundle, whatever the configuration beside it says.
    assert "the bundle is not signed" in device.fails(3, "--payload", light(tmp_path / "new", "unsigned"), *QUICK)
    shutil.rmtree(device.box.root / "etc/digitcam")


# Damaged on the way


@pytest.mark.parametrize(("times", "code"), [(1, 0), (2, 5)])
def test_what_comes_damaged_is_sent_once_more(device: SshBox, tmp_path: Path, times: int, code: int) -> None:
    new, count = light(tmp_path / "new", f"damaged {times}"), tmp_path / "count"
    sha256 = json.loads((new / "payload.json").read_text())["files"]["digitcam.toml"]
    before = device.box.slots()
    spoil = f'echo x >> {count}; test $(wc -l < {count}) -gt {times} || echo x >> "$4/{sha256}"'
    tool = device.tool("tar", f'/usr/bin/tar "$@" || exit; {spoil}')
    try:
        done = device.flash("--payload", new, *QUICK)
    finally:
        tool.unlink()
    assert done.returncode == code, done
    assert "sending again, as they came damaged: 1 files" in done.stderr
    if code:
        assert "digitcam.toml came damaged twice" in done.stderr.splitlines()[-1]
        assert device.box.slots() == before


# Refused before anything changes


@pytest.fixture
def untouched(device: SshBox) -> Iterator[SshBox]:
    before = device.box.disk(), device.box.unit().get("MainPID")
    yield device
    assert (device.box.disk(), device.box.unit().get("MainPID")) == before


@pytest.mark.parametrize(("what", "other"), [("machine", "riscv64"), ("python", "3.9")])
def test_a_payload_for_another_device(untouched: SshBox, tmp_path: Path, what: str, other: str) -> None:
    line = untouched.fails(2, "--payload", light(tmp_path / "other", what, **{what: other}))
    assert f"is for {what} {other}, the device has" in line


def test_no_room(untouched: SshBox, tmp_path: Path) -> None:
    folder = light(tmp_path / "large", "large")
    with zipfile.ZipFile(folder / "wheels/large-1-py3-none-any.whl", "w") as wheel:
        for index in range(1000):
            wheel.writestr(str(index), "")
        # Their sizes are what its list says: 4 TB.
        for info in wheel.filelist:
            info.file_size = 0xFFFF_FFFE
    seal(folder)
    line = untouched.fails(5, "--payload", folder)
    assert "MB are needed: make room: nothing was changed" in line and line.startswith("meter: disk: ")


@pytest.mark.parametrize(
    ("config", "code", "said"),
    [
        ("sauce = 1\n", 2, "sauce"),
        ('source = "nosuch://x"\n', 2, "sources of kind 'nosuch' are not known"),
        ('source = "v4l2:///dev/video63"\n', 4, "camera: /dev/video63 is none; there are: "),
        ('signers = "/etc/digitcam/signers"\n', 3, "is not signed, and the configuration has signers"),
    ],
)
def test_a_configuration_that_cannot_be(untouched: SshBox, tmp_path: Path, config: str, code: int, said: str) -> None:
    (tmp_path / "meter.toml").write_text(config)
    assert said in untouched.fails(code, "--model", "canvas", "--config", tmp_path / "meter.toml")


def test_a_bundle_that_is_damaged_or_nobody_vouches_for(untouched: SshBox, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(SHIPPED / "canvas", bundle)
    public = make_key(tmp_path / "key").with_name("key.pub").read_text()
    (tmp_path / "signers").write_text(f"me {public}")
    assert "not signed" in untouched.fails(3, "--model", bundle, "--signers", tmp_path / "signers")
    (bundle / "golden.npz").write_bytes(b"x")
    assert "golden.npz is damaged" in untouched.fails(3, "--model", bundle)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "say what is to be flashed: --model BUNDLE"),
        (["--model", "nosuch"], 3, "nosuch: no such bundle"),
        (["--status", "--remove"], 2, "--status and --remove: give one of them"),
        (["--payload", "p", "--model", "canvas"], 2, "--payload has a bundle"),
        (["--inventory", "x"], 2, "give HOST, or --inventory"),
        (["--model", "canvas", "--secret", "x"], 2, "--secret x: write it as NAME=FILE"),
    ],
)
def test_wrong_words(untouched: SshBox, words: list[str], code: int, said: str) -> None:
    assert said in untouched.fails(code, *words)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"UserKnownHostsFile": "/dev/null"}, "Host key verification failed: connect once with 'ssh meter'"),
        ({"HostName": "no-such-host.invalid"}, "Could not resolve hostname no-such-host.invalid: "),
    ],
)
def test_an_unknown_host_is_one_line(untouched: SshBox, change: dict[str, object], said: str) -> None:
    untouched.config.write_text(untouched.host("meter", **change))
    try:
        line = untouched.fails(2, "--model", "canvas")
    finally:
        untouched.config.write_text(untouched.host("meter"))
    assert line.startswith(f"meter: {said}")


# A bundle and a configuration, made into a payload here; then another bundle alone


def bare_wheels(folder: Path) -> Path:
    """Wheels with nothing in them: the packages themselves are what the device's system has installed."""
    for name in ("click", "msgspec", "numpy", "opencv_python_headless", "onnxruntime"):
        wheel = tiny_wheel(folder, name, "99.0")
        with zipfile.ZipFile(wheel) as archive:
            kept = {path: archive.read(path) for path in archive.namelist() if ".dist-info/" in path}
        with zipfile.ZipFile(wheel, "w") as archive:
            for path, data in kept.items():
                archive.writestr(path, data)
    return folder


def renamed(folder: Path, name: str, accept: float) -> Path:
    """Write canvas as another bundle: of another name, and surer of what it accepts."""
    shutil.copytree(SHIPPED / "canvas", folder)
    card = json.loads((folder / "card.json").read_text())
    card["name"], card["thresholds"]["accept"] = name, accept
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def test_a_bundle_is_flashed_and_then_others_in_its_shadow(tmp_path: Path) -> None:
    device = SshBox(tmp_path / "device")
    try:
        box, quick = device.box, ("--window", "3", "--memory-mb", "900")
        (tmp_path / "meter.toml").write_text('source = "demo:"\nformat = "fp32.onnx"\n')
        how = ("--wheels", bare_wheels(tmp_path / "wheels"), "--system-packages")
        device.ok("--model", "canvas", "--config", tmp_path / "meter.toml", *how, *quick)
        first = box.runs()

        shadow = ("--model-only", "--frames", "12", "--slower", "100", *quick)
        strict = renamed(tmp_path / "strict", "strict", 1.0)
        line = device.fails(7, "--model", strict, *shadow)
        assert line.startswith("meter: not switched: it rejects 12 views more (12 views: the same number in 0 of 0 ")
        assert (box.runs(), box.slots()) == (first, (first, None))

        same = renamed(tmp_path / "same", "same", 0.5)
        # Killed in its trial, the same command goes on with that.
        said = device.killed_at("  switch start", ["--model", same, *shadow])
        assert "12 views: the same number in " in said and "sending 1 files" in said
        done = device.flash("--model", same, *shadow)
        assert done.returncode == 0 and "views" not in done.stderr, done
        second = box.runs()
        assert box.slots() == (second, first) and done.stdout == f"meter: runs {second}\n"
        card = json.loads((box.home / "current/model/card.json").read_text())
        assert card["name"] == "same" and not (box.home / "shadow").exists()
        assert "runs already" in device.flash("--model", same, *shadow).stderr
        # Without --config the device keeps its own.
        before = (box.home / "current/digitcam.toml").read_text()
        done = device.flash("--model", "canvas", *how, *quick)
        assert done.returncode == 0 and "keeping the device's configuration" in done.stderr, done
        assert (box.home / "current/digitcam.toml").read_text() == before and box.runs() == first
    finally:
        device.stop()
