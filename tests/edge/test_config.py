from __future__ import annotations

from pathlib import Path

import pytest

from digitcam.core.errors import ConfigError
from digitcam.edge.config import Mqtt, Rules, RunConfig, Web, load_config

CONFIGS = Path(__file__).parents[2] / "edge" / "configs"


def write(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_empty_file_gives_the_demo(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, ""))
    assert config == RunConfig(source="demo:", model="canvas", format=None, threads=1, accept=None)
    assert (config.rules, config.mqtt, config.web) == (None, None, None)


def test_every_key_is_read(tmp_path: Path) -> None:
    text = """
        source = "frames"
        model = "m.digitcam"
        format = "fp32.onnx"
        threads = 4
        accept = 1
        rules = { window = 3, needed = 2 }
        web = { host = "localhost", port = 80 }
        [mqtt]
        host = "broker"
        port = 1883
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
        mqtt=Mqtt(
            host="broker", port=1883, topic="home/meter", username="me", password_file="secret", ca_file="ca.pem"
        ),
        web=Web("localhost", 80),
    )


def test_a_table_alone_switches_on_with_safe_defaults(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "[rules]\n[web]\n[mqtt]\nhost = 'broker'"))
    assert config.rules == Rules(window=5, needed=3, takeover_s=600, held_after_s=300)
    assert config.web == Web(host="127.0.0.1", port=8080)
    assert config.mqtt is not None
    assert (config.mqtt.tls, config.mqtt.port, config.mqtt.topic) == (True, 8883, "digitcam")


@pytest.mark.parametrize("name", ["demo.toml", "meter.toml"])
def test_the_examples_load(name: str) -> None:
    assert load_config(CONFIGS / name).model == "canvas"


def test_the_demo_example_states_the_defaults() -> None:
    assert load_config(CONFIGS / "demo.toml") == RunConfig(web=Web())


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("sauce = 'demo:'", "sauce"),
        ("source = ''", "$.source"),
        ("model = 3", "$.model"),
        ("format = 'int4.onnx'", "format is 'int4.onnx'"),
        ("threads = 0", "$.threads"),
        ("accept = 1.01", "$.accept"),
        ("accept = -0.01", "$.accept"),
        ("accept = nan", "$.accept"),
        ("[rules]\nwindow = 5\nneeded = 6", "$.rules"),
        ("[rules]\nwindow = 4\nneeded = 2", "more than half of window (4)"),
        ("[rules]\nwindow = 0\nneeded = 0", "$.rules.window"),
        ("[rules]\nwidnow = 5", "widnow"),
        ("[rules]\nneeded = true", "$.rules.needed"),
        ("[rules]\ndigits = 0", "$.rules.digits"),
        ("[rules]\ndigits = 21", "$.rules.digits"),
        ("[rules]\ndecimals = -1", "$.rules.decimals"),
        ("[rules]\ndigits = 2\ndecimals = 2", "leave a digit before the point (digits is 2) - at `$.rules`"),
        ("[rules]\nleading_zeros = 'drop'", "$.rules.leading_zeros"),
        ("[rules]\nrising = 1", "$.rules.rising"),
        ("[rules]\nwheels = true", "wheels needs rising = true"),
        ("[rules]\nsure = 1.5", "$.rules.sure"),
        ("[rules]\nper_minute = 0", "$.rules.per_minute"),
        ("[rules]\nper_minute = inf", "$.rules.per_minute"),
        ("[rules]\ntakeover_s = -1", "$.rules.takeover_s"),
        ("[rules]\nheld_after_s = '5 min'", "$.rules.held_after_s"),
        ("[rules]\npattern = '[0-9'", "not a regular expression"),
        ("[rules]\npattern = '\\d{5}\\.\\d'", "no number with decimals = 0 fits it"),
        ("[rules]\npattern = '\\d+'\ndecimals = 2", "no number with decimals = 2 fits it"),
        ("[rules]\npattern = '[0-4]{5}'\ndigits = 6", "no number of 6 digits with decimals = 0 fits it"),
        ("[rules]\npattern = 'kWh'", "pattern is 'kWh'"),
        ("[mqtt]", "host"),
        ("[mqtt]\nhost = ''", "$.mqtt.host"),
        ("[mqtt]\nhost = 'b'\nport = 65536", "$.mqtt.port"),
        ("[mqtt]\nhost = 'b'\ntopic = ''", "$.mqtt.topic"),
        ("[mqtt]\nhost = 'b'\ntopic = 'meter/#'", "topic is 'meter/#'"),
        ("[mqtt]\nhost = 'b'\ntopic = 'meter/'", "topic is 'meter/'"),
        ("[mqtt]\nhost = 'b'\npassword = 'x'", "password"),
        ("[mqtt]\nhost = 'b'\npassword_file = 'x'", "username"),
        ("[mqtt]\nhost = 'b'\ntls = 'no'", "$.mqtt.tls"),
        ("[mqtt]\nhost = 'b'\ntls = false\nca_file = 'x'", "ca_file needs tls"),
        ("[web]\nhost = '0.0.0.0'", "only 127.0.0.1 is served"),
        ("[web]\nhost = ''", "only 127.0.0.1 is served"),
        ("[web]\nport = 0", "$.web.port"),
        ("source = ", "not TOML"),
    ],
)
def test_what_cannot_be_used_is_named_on_one_line(tmp_path: Path, text: str, named: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
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
