"""An inventory: what is in it, what is refused, and a canary that stops the rest, over two real sshds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from box import light_wheel, payload
from hypothesis import given
from hypothesis import strategies as st
from sshbox import QUICK, SshBox

from digitcam.core.bundle import SHIPPED
from digitcam.core.errors import ConfigError
from digitcam.flash.fleet import Fleet, Row, summary, table
from digitcam.flash.inventory import Host, Inventory, load_inventory, merged
from digitcam.flash.wish import Wish


def written(folder: Path, text: str) -> Path:
    (folder / "fleet.toml").write_text(text)
    return folder / "fleet.toml"


def test_an_inventory_is_read(tmp_path: Path) -> None:
    text = """
    canary = "b"
    wave = 2
    model = "canvas"
    [[hosts]]
    name = "a"
    [[hosts]]
    name = "b"
    address = "pi@10.0.0.2"
    values = { mqtt.topic = "b/meter" }
    """
    found = load_inventory(written(tmp_path, text))
    assert (found.wave, found.max_failures, found.hosts[1].address) == (2, 1, "pi@10.0.0.2")
    assert found.hosts[1].values == {"mqtt": {"topic": "b/meter"}}
    assert [[host.name for host in wave] for wave in found.waves()] == [["b"], ["a"]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hosts = []", ", line 1: hosts: expected a list of length >= 1"),
        ("waves = 2\n[[hosts]]\nname = 'a'", ", line 1: waves is not known: did you mean wave?"),
        ("[[hosts]]\nname = 'a'\nadress = 'x'", ", line 3: hosts[0].adress is not known: did you mean address?"),
        ("[[hosts]]\nname = '../a'", ", line 2: hosts[0].name: expected"),
        ("wave = 0\n[[hosts]]\nname = 'a'", ", line 1: wave: expected a whole number >= 1"),
        ("[[hosts]]\nname = 'a'\n[[hosts]]\nname = 'a'", "2 of them are named a: give each its own name"),
        ("canary = 'c'\n[[hosts]]\nname = 'a'", "canary is 'c', which is none of the hosts"),
        ("[[hosts", "not TOML"),
    ],
)
def test_what_is_wrong_is_named_with_the_file_and_the_field(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_inventory(written(tmp_path, text))
    assert str(raised.value).startswith(str(tmp_path / "fleet.toml")) and said in str(raised.value)
    with pytest.raises(ConfigError, match="cannot read the inventory"):
        load_inventory(tmp_path / "none.toml")


@given(st.integers(1, 40), st.integers(1, 12), st.none() | st.integers(0, 39))
def test_waves_hold_every_host_once_and_the_canary_alone(hosts: int, wave: int, canary: int | None) -> None:
    names = [f"h{index}" for index in range(hosts)]
    first = None if canary is None else names[canary % hosts]
    found = Inventory(hosts=tuple(Host(name=name) for name in names), wave=wave, canary=first).waves()
    assert sorted(host.name for one in found for host in one) == sorted(names)
    assert all(len(one) <= wave for one in found[first is not None :])
    assert first is None or [host.name for host in found[0]] == [first]


def test_values_change_a_configuration_and_leave_the_rest() -> None:
    text = '# mine\nsource = "demo:"\n[mqtt]\nhost = "b"  # the broker\ntopic = "t"\n'
    found = merged(text, {"mqtt": {"topic": "kitchen"}, "threads": 2})
    assert found == '# mine\nsource = "demo:"\nthreads = 2\n\n[mqtt]\nhost = "b"  # the broker\ntopic = "kitchen"\n'


def fleet(folder: Path, tree: dict[str, Any], **wish: Any) -> Fleet:
    return Fleet(msgspec.convert(tree, Inventory), folder, Wish(**wish), lambda text: None)


def test_a_host_has_its_own_and_else_what_all_have(tmp_path: Path) -> None:
    (tmp_path / "all.toml").write_text('source = "demo:"\n')
    (tmp_path / "bundle").mkdir()
    one = {"name": "one", "values": {"threads": 2}, "secrets": {"web-token": "tokens/one"}}
    hosts = [one, {"name": "two", "model": "bundle"}, {"name": "three", "payload": "p"}]
    all_ = fleet(tmp_path, {"hosts": hosts, "model": "canvas", "config": "all.toml", "secrets": {"mqtt-password": "m"}})
    first, second, third = (all_.wish_for(host, tmp_path) for host in all_.inventory.hosts)
    assert (first.model, first.config) == ("canvas", tmp_path / "one.toml")
    assert first.config.read_text() == 'source = "demo:"\nthreads = 2\n'
    assert first.secrets == {"mqtt-password": tmp_path / "m", "web-token": tmp_path / "tokens/one"}
    assert (second.model, second.config, second.payload) == (str(tmp_path / "bundle"), tmp_path / "all.toml", None)
    assert (third.model, third.config, third.payload) == (None, None, tmp_path / "p")


def test_what_the_command_line_says_wins(tmp_path: Path) -> None:
    (tmp_path / "all.toml").write_text('source = "demo:"\n')
    (tmp_path / "bundle").mkdir()
    one = {"name": "one", "model": "other", "config": "all.toml", "secrets": {"web-token": "tokens/one"}}
    tree = {"hosts": [one, {"name": "two", "payload": "p"}], "model": "canvas", "secrets": {"mqtt-password": "m"}}

    def wished(**given: Any) -> list[tuple[Any, ...]]:
        made = fleet(tmp_path, tree, **given)
        return [(wish.model, wish.config, wish.payload) for wish in made.wishes(tmp_path, "model_only").values()]

    # Its paths start from here and not from the inventory's folder; what it leaves open is the inventory's.
    assert wished(model="bundle") == [("bundle", tmp_path / "all.toml", None), ("bundle", None, None)]
    here = Path("here.toml")
    assert wished(config=here) == [("other", here, None), ("canvas", here, None)]
    assert wished(payload=Path("q")) == [(None, None, Path("q"))] * 2
    secrets = fleet(tmp_path, tree, secrets={"web-token": Path("mine")}).wishes(tmp_path, "model_only")["one"].secrets
    assert secrets == {"mqtt-password": tmp_path / "m", "web-token": Path("mine")}


def test_values_need_a_configuration_and_have_to_fit_it(tmp_path: Path) -> None:
    one = {"name": "one", "values": {"sauce": 2}}
    with pytest.raises(ConfigError, match=r"^one: has values, but no config to put them into: name one"):
        fleet(tmp_path, {"hosts": [one], "model": "canvas"}).wishes(tmp_path)
    (tmp_path / "all.toml").write_text("")
    with pytest.raises(ConfigError, match=r"^one: .*one\.toml, line 1: .*sauce"):
        fleet(tmp_path, {"hosts": [one], "model": "canvas", "config": "all.toml"}).wishes(tmp_path)


def test_the_table() -> None:
    status = {
        "slots": {"0123456789ab": {"digitcam": "0.1.0", "model": "canvas"}},
        "current": "0123456789ab",
        "service": {"ActiveState": "active"},
        "trial": None,
        "health": {"frames": 7, "accepted": 5},
    }
    assert summary(status) == ("0.1.0", "canvas", "0123456789ab", "active", "7", "5")
    assert summary({**status, "current": None, "health": None})[:3] == ("-", "-", "-")
    rows = [Row(Host(name="a"), status, "ok"), Row(Host(name="long"), None, "not tried")]
    assert table(rows) == [
        "host  digitcam  model   slot          service  frames  accepted  result",
        "a     0.1.0     canvas  0123456789ab  active   7       5         ok",
        "long  -         -       -             -        -       -         not tried",
    ]


@pytest.fixture(scope="module")
def devices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SshBox, SshBox, Path]]:
    """Two devices, each below its name in one folder, where the inventories lie as well."""
    folder = tmp_path_factory.mktemp("fleet")
    one, two = SshBox(folder / "one", "one"), SshBox(folder / "two", "two")
    yield one, two, folder
    one.stop()
    two.stop()


def test_a_canary_that_fails_stops_the_rest_and_one_that_reads_does_not(devices: tuple[SshBox, SshBox, Path]) -> None:
    one, two, folder = devices
    config = folder / "ssh_config"
    config.write_text(one.host("one") + two.host("two"))
    slots = {}
    for name in ("good", "mute"):
        slots[name] = payload(folder / name, light_wheel(folder), f'source = "demo:"\n# {name}\n', SHIPPED / "canvas")
    hosts = '[[hosts]]\nname = "two"\n[[hosts]]\nname = "one"\n'

    def flash(code: int, *words: object) -> tuple[list[list[str]], str]:
        """Return the table's first cells and what was told meanwhile."""
        root = folder / "{name}" / "root"
        given = ("--inventory", folder / "fleet.toml", "--ssh-config", config, "--root", root)
        done = one.flash(*given, *words, host=False)
        assert done.returncode == code, done
        return [line.split()[:5] for line in done.stdout.splitlines()[1:]], done.stderr

    nothing = two.box.tree()
    written(folder, f'canary = "one"\npayload = "mute"\n{hosts}')
    rows, told = flash(3, *QUICK)
    # None was there before, so nothing runs; and the other was left alone.
    assert rows == [["two", "-", "-", "-", "-"], ["one", "-", "-", "-", "inactive"]]
    assert f"one: failed: one: went back from {slots['mute']} to None: none of " in told and "two: " not in told
    assert two.box.tree() == nothing

    written(folder, f'canary = "one"\npayload = "good"\n{hosts}')
    rows, told = flash(0, *QUICK)
    assert rows == [[name, "0", "m", slots["good"], "active"] for name in ("two", "one")]
    assert told.index("wave 1: one") < told.index("wave 2: two")
    assert (one.box.runs(), two.box.runs()) == (slots["good"], slots["good"])
    assert flash(0, "--status")[0] == rows

    # One that cannot be reached is in the table as well, and its exit code is the command's.
    config.write_text(one.host("one") + two.host("two", Port=1))
    rows, told = flash(5, "--status")
    assert rows == [["two", "-", "-", "-", "-"], ["one", "0", "m", slots["good"], "active"]]


def test_after_so_many_failures_no_other_wave_begins(devices: tuple[SshBox, SshBox, Path]) -> None:
    one, two, folder = devices
    payload(folder / "light", light_wheel(folder), 'source = "demo:"\n# light\n', SHIPPED / "canvas")
    config, names = folder / "ssh_config", ("gone", "one", "lost", "two")
    # Nobody listens where two of them should be.
    config.write_text(one.host("gone", Port=1) + one.host("one") + one.host("lost", Port=1) + two.host("two"))
    hosts = "".join(f'[[hosts]]\nname = "{name}"\n' for name in names)
    written(folder, f'wave = 1\nmax_failures = 2\npayload = "light"\n{hosts}')
    before = two.box.disk()
    given = ("--inventory", folder / "fleet.toml", "--ssh-config", config, "--root", folder / "{name}" / "root")
    done = one.flash(*given, *QUICK, host=False)
    results = {line.split()[0]: line.rpartition("  ")[2] for line in done.stdout.splitlines()[1:]}
    assert (done.returncode, set(results)) == (5, set(names)), done
    assert (results["gone"], results["lost"], results["two"]) == ("failed", "failed", "not tried")
    assert results["one"].startswith("runs ") and "two: " not in done.stderr and two.box.disk() == before
    # More of them at once are tried, even where the first fails.
    written(folder, f'wave = 3\nmax_failures = 1\npayload = "light"\n{hosts}')
    done = one.flash(*given, *QUICK, host=False)
    assert [line.rpartition("  ")[2].split()[0] for line in done.stdout.splitlines()[1:]] == [
        "failed",
        "runs",
        "failed",
        "not",
    ]
