"""A connection over a real sshd: what runs there, what is said when there is none, and that nothing is left of it."""

from __future__ import annotations

import hashlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sshbox import SshBox, make_key

from digitcam.core.errors import ConfigError, SinkError
from digitcam.flash.ssh import Ssh

HOLD = """
import sys
from pathlib import Path
from digitcam.flash.ssh import Ssh
ssh = Ssh(sys.argv[1], Path(sys.argv[2])).__enter__()
print(ssh._master.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshBox]:
    device = SshBox(tmp_path_factory.mktemp("ssh"))
    yield device
    device.stop()


@pytest.fixture
def ssh(device: SshBox) -> Iterator[Ssh]:
    with Ssh(device.name, device.config) as ssh:
        yield ssh


def test_a_command_runs_with_what_it_is_given(ssh: Ssh) -> None:
    data = bytes(range(256)) * 8192
    heard: list[str] = []
    done = ssh.run(["sh", "-c", 'echo "$1" >&2; sha256sum; exit 3', "sh", "a 'b' $HOME\\"], data, heard.append)
    assert (done.code, done.out.split()[0].decode()) == (3, hashlib.sha256(data).hexdigest())
    assert heard == done.err == ["a 'b' $HOME\\"]
    assert ssh.run(["cat"], (bytes([i]) * 70000 for i in range(3))).out == b"".join(
        bytes([i]) * 70000 for i in range(3)
    )
    # It ends without reading on, and that is no fault.
    assert ssh.run(["true"], data).code == 0


def test_all_goes_over_one_connection_of_which_nothing_is_left(
    device: SshBox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Ssh(device.name, device.config) as ssh:
        assert ssh.uid == os.geteuid()
        ports = {ssh.run(["sh", "-c", "echo $SSH_CONNECTION"]).out for _ in range(2)}
        assert len(ports) == 1
        (folder,) = tmp_path.iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.iterdir()) == []


def test_it_ends_with_the_process_that_holds_it_however_that_ends(device: SshBox) -> None:
    command = [sys.executable, "-c", HOLD, device.name, str(device.config)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout and holder.stdin
    master = os.pidfd_open(int(holder.stdout.readline()))
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert select.select([master], [], [], 60)[0]
    os.close(master)
    holder.stdout.close()
    holder.stdin.close()


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"HostName": "no-such-host.invalid"}, ConfigError, "Could not resolve hostname no-such-host.invalid"),
        ({"IdentityFile": "other_key"}, ConfigError, "Permission denied (publickey): have 'ssh meter' log in"),
        ({"UserKnownHostsFile": "/dev/null"}, ConfigError, "Host key verification failed: connect once with"),
        ({"UserKnownHostsFile": "other_known"}, ConfigError, "HOST IDENTIFICATION HAS CHANGED"),
        ({"Port": 1}, SinkError, "connect to host 127.0.0.1 port 1: Connection refused"),
        ({"NoSuchOption": 1}, ConfigError, "Bad configuration option: nosuchoption"),
    ],
)
def test_what_is_said_when_there_is_no_connection(
    device: SshBox, tmp_path: Path, change: dict[str, object], error: type[Exception], said: str
) -> None:
    other = make_key(tmp_path / "other_key")
    public = other.with_name("other_key.pub").read_text()
    (tmp_path / "other_known").write_text(f"[127.0.0.1]:{device.port} {public}")
    change = {key: tmp_path / str(value) if str(value).startswith("other") else value for key, value in change.items()}
    (tmp_path / "config").write_text(device.host("meter", **change))
    with pytest.raises(error) as raised, Ssh("meter", tmp_path / "config"):
        pass
    assert str(raised.value).startswith("meter: ") and said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_by_a_jump_host_and_a_configuration_in_two_files(device: SshBox, tmp_path: Path) -> None:
    hop = SshBox(tmp_path / "hop", "hop")
    (tmp_path / "hosts").write_text(device.host("meter", ProxyJump="hop") + hop.host("hop"))
    (tmp_path / "config").write_text(f"Include {tmp_path / 'hosts'}\n")
    try:
        with Ssh("meter", tmp_path / "config") as ssh:
            assert ssh.run(["cat"], b"over the hop").out == b"over the hop"
    finally:
        hop.stop()
    # It was by the hop indeed.
    with (
        pytest.raises(SinkError, match=r"^meter: .*: is it on, and does 'ssh meter' work"),
        Ssh("meter", tmp_path / "config"),
    ):
        pass


def test_an_option_is_no_host(device: SshBox, tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    with pytest.raises((ConfigError, SinkError)), Ssh(f"-oProxyCommand=touch {evil}", device.config):
        pass
    assert not evil.exists()


def test_a_connection_that_breaks_is_told(ssh: Ssh) -> None:
    with pytest.raises(SinkError, match=r"^meter: the connection broke: .*: the same command goes on$"):
        ssh.run(["sh", "-c", "kill -9 $PPID"])


@pytest.fixture
def user(device: SshBox) -> Iterator[SshBox]:
    """A device on which one is not root."""
    tools = [device.tool("id", "echo 1000"), device.tool("sudo", 'test "$1 $2" = "-n --" && shift 2 && exec "$@"')]
    yield device
    for tool in tools:
        tool.unlink()


def test_who_is_not_root_asks_sudo(user: SshBox) -> None:
    with Ssh(user.name, user.config) as ssh:
        assert ssh.uid == 1000
        assert ssh.run(["echo", "a b"], root=True).out == b"a b\n"
        assert ssh.run(["sh", "-c", "exit 5"], root=True).code == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo sudo: a password is required >&2; exit 1", "sudo: a password is required"),
        ("echo 'sh: 1: sudo: not found' >&2; exit 127", "sudo: not found"),
    ],
)
def test_sudo_that_does_not_let_one(user: SshBox, text: str, said: str) -> None:
    user.tool("sudo", text)
    with (
        Ssh(user.name, user.config) as ssh,
        pytest.raises(ConfigError, match=r"needs root there: .*NOPASSWD") as raised,
    ):
        ssh.run(["true"], root=True)
    assert said in str(raised.value)
