from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from digitcam.core.errors import ConfigError
from digitcam.core.toml import read_toml
from digitcam.edge.config import ConfigFile, Mqtt, Region, Rules, RunConfig, Web, load_config

CONFIGS = Path(__file__).parents[2] / "edge" / "configs"


def write(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_empty_file_gives_the_demo(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, ""))
    assert config == RunConfig(source="demo:", model=None, format=None, threads=1, accept=None)
    assert (config.rules, config.mqtt, config.web) == (None, None, None)


@pytest.mark.parametrize(
    ("given", "reads"),
    [
        ({"source": "demo:7"}, "canvas"),
        ({"source": "picamera2://0"}, "digitcam-s"),
        ({"source": "frames/demo:"}, "digitcam-s"),
        ({"source": "v4l2:/dev/video0", "model": "canvas"}, "canvas"),
    ],
)
def test_a_network_that_was_trained_on_such_frames_is_the_default(given: dict[str, str], reads: str) -> None:
    assert RunConfig(**given).bundle == reads  # type: ignore[arg-type]


def test_every_key_is_read(tmp_path: Path) -> None:
    text = """
        source = "frames"
        model = "m.digitcam"
        format = "fp32.onnx"
        threads = 4
        accept = 1
        rules = { window = 3, needed = 2 }
        web = { host = "localhost", port = 80, token_file = "token" }
        [[regions]]
        name = "gas"
        box = [10, 20, 300, 40]
        turn = -90
        unit = "m³"
        device_class = "gas"
        rules = { digits = 8 }
        [[regions]]
        name = "water"
        quad = [[0.1, 0.1], [0.9, 0.2], [0.9, 0.4], [0.1, 0.3]]
        [mqtt]
        host = "broker"
        port = 1883
        commands = false
        topic = "home/meter"
        username = "me"
        password_file = "secret"
        tls = true
        ca_file = "ca.pem"
    """
    assert load_config(write(tmp_path, text)) == RunConfig(
        source="frames",
        model="m.digitcam",
        format="fp32.onnx",
        threads=4,
        accept=1.0,
        rules=Rules(window=3, needed=2),
        regions=(
            Region(name="gas", box=(10, 20, 300, 40), turn=-90, unit="m³", device_class="gas", rules=Rules(digits=8)),
            Region(name="water", quad=((0.1, 0.1), (0.9, 0.2), (0.9, 0.4), (0.1, 0.3))),
        ),
        mqtt=Mqtt(
            host="broker",
            port=1883,
            topic="home/meter",
            username="me",
            password_file="secret",
            ca_file="ca.pem",
            commands=False,
        ),
        web=Web(host="localhost", port=80, token_file="token"),
    )


def test_a_table_alone_switches_on_with_safe_defaults(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "[rules]\n[web]\n[mqtt]\nhost = 'broker'"))
    assert config.rules == Rules(window=5, needed=3, takeover_s=600, held_after_s=300)
    assert config.web == Web(host="127.0.0.1", port=8080)
    assert config.mqtt is not None
    assert (config.mqtt.tls, config.mqtt.port, config.mqtt.topic) == (True, 8883, "digitcam")


def test_what_is_given_of_a_table_leaves_its_other_keys(tmp_path: Path) -> None:
    path = write(tmp_path, "[web]\nhost = '0.0.0.0'\nport = 81\ntoken_file = 't'")
    assert load_config(path, web={"port": 82}).web == Web(host="0.0.0.0", port=82, token_file="t")
    assert load_config(None, web={"port": 82}).web == Web(port=82)
    assert load_config(write(tmp_path, "web = 3"), web={"port": 82}).web == Web(port=82)


@pytest.mark.parametrize(("name", "model"), [("demo.toml", "canvas"), ("meter.toml", "digitcam-s")])
def test_the_examples_load(name: str, model: str) -> None:
    assert load_config(CONFIGS / name).bundle == model


def test_the_demo_example_states_the_defaults() -> None:
    assert load_config(CONFIGS / "demo.toml") == RunConfig(web=Web())


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("sauce = 'demo:'", "sauce"),
        ("source = ''", "source: "),
        ("model = 3", "model: "),
        ("format = 'int4.onnx'", "format is 'int4.onnx'"),
        ("threads = 0", "threads: "),
        ("accept = 1.01", "accept: "),
        ("accept = -0.01", "accept: "),
        ("accept = nan", "accept: "),
        ("[rules]\nwindow = 5\nneeded = 6", "line 3: rules.needed is 6: "),
        ("[rules]\nwindow = 4\nneeded = 2", "more than half of window (4)"),
        ("[rules]\nwindow = 0\nneeded = 0", "rules.window: "),
        ("[rules]\nwidnow = 5", "widnow"),
        ("[rules]\nneeded = true", "rules.needed: "),
        ("[rules]\ndigits = 0", "rules.digits: "),
        ("[rules]\ndigits = 21", "rules.digits: "),
        ("[rules]\ndecimals = -1", "rules.decimals: "),
        (
            "[rules]\ndigits = 2\ndecimals = 2",
            "line 3: rules.decimals is 2: leave a digit before the point (digits is 2)",
        ),
        ("[rules]\nleading_zeros = 'drop'", "rules.leading_zeros: "),
        ("[rules]\nrising = 1", "rules.rising: "),
        ("[rules]\nwheels = true", "wheels needs rising = true"),
        ("[rules]\nsure = 1.5", "rules.sure: "),
        ("[rules]\nper_minute = 0", "rules.per_minute: "),
        ("[rules]\nper_minute = inf", "rules.per_minute: "),
        ("[rules]\ntakeover_s = -1", "rules.takeover_s: "),
        ("[rules]\nheld_after_s = '5 min'", "rules.held_after_s: "),
        ("[rules]\npattern = '[0-9'", "not a regular expression"),
        ("[rules]\npattern = '\\d{5}\\.\\d'", "no number with decimals = 0 fits it"),
        ("[rules]\npattern = '\\d+'\ndecimals = 2", "no number with decimals = 2 fits it"),
        ("[rules]\npattern = '[0-4]{5}'\ndigits = 6", "no number of 6 digits with decimals = 0 fits it"),
        ("[rules]\npattern = 'kWh'", "pattern is 'kWh'"),
        ("[mqtt]", "host"),
        ("[mqtt]\nhost = ''", "mqtt.host: "),
        ("[mqtt]\nhost = 'b'\nport = 65536", "mqtt.port: "),
        ("[mqtt]\nhost = 'b'\ntopic = ''", "mqtt.topic: "),
        ("[mqtt]\nhost = 'b'\ntopic = 'meter/#'", "topic is 'meter/#'"),
        ("[mqtt]\nhost = 'b'\ntopic = 'meter/'", "topic is 'meter/'"),
        ("[mqtt]\nhost = 'b'\npassword = 'x'", "password"),
        ("[mqtt]\nhost = 'b'\npassword_file = 'x'", "username"),
        ("[mqtt]\nhost = 'b'\ntls = 'no'", "mqtt.tls: "),
        ("[mqtt]\nhost = 'b'\ntls = false\nca_file = 'x'", "ca_file needs tls"),
        (
            "[web]\nhost = '0.0.0.0'",
            "line 2: web.host is '0.0.0.0': others can reach it: name a token_file or token_env",
        ),
        ("[web]\nhost = ''", "web.host: "),
        ("[web]\ntoken_file = 'a'\ntoken_env = 'B'", "line 2: web.token_file and token_env: keep one of them"),
        ("[[regions]]\nbox = [0, 0, 1, 1]", "line 1: regions[0].name is missing"),
        ("[[regions]]\nname = 'Gas'\nbox = [0, 0, 1, 1]", "line 2: regions[0].name: "),
        ("[[regions]]\nname = 'a/b'\nbox = [0, 0, 1, 1]", "line 2: regions[0].name: "),
        ("[[regions]]\nname = 'gas'", "region gas: give it either box or quad"),
        ("[[regions]]\nname = 'gas'\nbox = [0, 0, 1]", "line 3: regions[0].box: "),
        ("[[regions]]\nname = 'gas'\nbox = [-1, 0, 9, 9]", "region gas: box is x, y, width, height"),
        ("[[regions]]\nname = 'gas'\nbox = [0, 0, 0, 9]", "region gas: box is x, y, width, height"),
        ("[[regions]]\nname = 'gas'\nbox = [0, 0, nan, 9]", "line 3: regions[0].box[2]: "),
        ("[[regions]]\nname = 'gas'\nbox = [0, 0, inf, 9]", "line 3: regions[0].box[2]: "),
        ("[[regions]]\nname = 'gas'\nbox = [0, 0, 9, 9]\nturn = 361", "line 4: regions[0].turn: "),
        ("[[regions]]\nname = 'gas'\nturn = 9\nquad = [[0, 0], [9, 0], [9, 9], [0, 9]]", "turn goes with box"),
        # Counter-clockwise, with a dent, with two sides that cross.
        ("[[regions]]\nname = 'gas'\nquad = [[0, 0], [0, 9], [9, 9], [9, 0]]", "region gas: quad is top left, "),
        ("[[regions]]\nname = 'gas'\nquad = [[0, 0], [9, 0], [3, 3], [0, 9]]", "region gas: quad is top left, "),
        ("[[regions]]\nname = 'gas'\nquad = [[0, 0], [9, 9], [9, 0], [0, 9]]", "region gas: quad is top left, "),
        ("[[regions]]\nname = 'gas'\nbox = [0, 0, 1, 1]\ndevice_class = 'gas'", "unit is None: device_class 'gas'"),
        (
            "[[regions]]\nname = 'a'\nbox = [0, 0, 1, 1]\n[[regions]]\nname = 'a'\nbox = [0, 0, 1, 1]",
            "line 1: regions: 2 of them are named a: give each its own name",
        ),
        (
            "[[regions]]\nname = 'a'\nbox = [0, 0, 1, 1]\n[regions.rules]\nwindow = 0",
            "line 5: regions[0].rules.window: ",
        ),
        ("[web]\nport = 0", "web.port: "),
        ("source = ", "not TOML"),
    ],
)
def test_what_cannot_be_used_is_named_on_one_line(tmp_path: Path, text: str, named: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert message.startswith((f"{path}, line ", f"{path}: not TOML"))
    assert named in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("pattern", "digits", "decimals"),
    [
        (r"\d{5}\.\d", 6, 1),
        (r"\d{5}\.\d", None, 1),
        (r"[1-4]9\d{2,3}|7", None, 0),
        (r"(?!0)\d+", None, 0),
        (r"2[0-3]\.[05]", 3, 1),
        (r"\d{3,}\.\d\d", None, 2),
    ],
)
def test_patterns_that_some_number_fits(pattern: str, digits: int | None, decimals: int) -> None:
    assert Rules(pattern=pattern, digits=digits, decimals=decimals).pattern == pattern


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml: cannot read the configuration: No such file"):
        load_config(tmp_path / "gone.toml")
    (tmp_path / "latin.toml").write_bytes(b"source = '\xe9'")
    with pytest.raises(ConfigError, match=r"latin\.toml: not TOML"):
        load_config(tmp_path / "latin.toml")


def test_a_region_without_rules_of_its_own_has_those_of_the_run() -> None:
    own, common = Rules(digits=4), Rules(digits=8)
    regions = (Region(name="a", box=(0, 0, 1, 1), rules=own), Region(name="b", box=(0, 0, 1, 1)))
    config = RunConfig(regions=regions, rules=common)
    assert config.numbers == ("a", "b")
    assert (config.rules_of("a"), config.rules_of("b")) == (own, common)
    assert RunConfig(regions=regions).rules_of("b") is None
    assert (RunConfig(rules=common).numbers, RunConfig(rules=common).rules_of("")) == (("",), common)


def test_what_is_given_wins_over_the_file_each_time_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, "source = 'a.png'\nthreads = 2")
    file = ConfigFile(path, {"source": "b.png"})
    assert (file.load().source, file.load().threads) == ("b.png", 2)
    path.write_text("threads = 3")
    assert (file.load().source, file.load().threads) == ("b.png", 3)
    assert ConfigFile().load() == RunConfig()


def uncommented(text: str, *without: str) -> str:
    """Return a configuration with its commented examples in force, of those of one key in a table the last."""
    tables: list[dict[str, str]] = [{}]
    for line in text.splitlines():
        line = re.sub(r"^# (?=\w+ = |\[)", "", line)
        if line.startswith("["):
            tables.append({"": line})
        elif (key := re.match(r"(\w+) = ", line)) and key[1] not in without:
            tables[-1][key[1]] = line
    return "\n".join(line for table in tables for line in table.values())


@pytest.mark.parametrize("without", [("password_file", "token_file"), ("password_env", "token_env")])
def test_the_commented_examples_load_too(tmp_path: Path, without: tuple[str, str]) -> None:
    text = uncommented((CONFIGS / "meter.toml").read_text(encoding="utf-8"), *without)
    config = load_config(write(tmp_path, text))
    assert config.source.startswith("http://camera.example.org")
    assert config.mqtt is not None and config.mqtt.key_file is not None
    assert config.numbers == ("gas", "water")
    assert config.web is not None and config.web.host == "0.0.0.0"


def table_of(field: msgspec.structs.FieldInfo) -> type[msgspec.Struct] | None:
    """Return what a key's table, or each of its tables, is read into; None where it holds no table."""
    kinds = [field.type]
    for kind in kinds:  # grows: `Mqtt | None`, `tuple[Region, ...]`
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return kind
        kinds += [inner for inner in get_args(kind) if inner is not ...]
    return None


def test_every_key_of_every_table_is_in_the_example(tmp_path: Path) -> None:
    text = (CONFIGS / "meter.toml").read_text(encoding="utf-8")
    told = read_toml(write(tmp_path, uncommented(text)), "the example").tree
    tables = {field.name: kind for field in msgspec.structs.fields(RunConfig) if (kind := table_of(field))}
    assert {"rules", "regions", "mqtt", "web", "history", "webhook", "hard_frames"} <= set(tables)
    assert set(RunConfig.__struct_fields__) == set(told)
    for name, kind in tables.items():
        given = told[name] if isinstance(told[name], list) else [told[name]]
        assert set(kind.__struct_fields__) == set().union(*given), name
