from __future__ import annotations

from pathlib import Path

import pytest

from digitcam.core.errors import ConfigError
from digitcam.edge.config import Mqtt, RunConfig, Tracking, Web, load_config

CONFIGS = Path(__file__).parents[2] / "edge" / "configs"


def write(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_empty_file_gives_the_demo(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, ""))
    assert config == RunConfig(source="demo:", model="canvas", format=None, threads=1, accept=None)
    assert (config.tracking, config.mqtt, config.web) == (None, None, None)


def test_every_key_is_read(tmp_path: Path) -> None:
    text = """
        source = "frames"
        model = "m.digitcam"
        format = "fp32.onnx"
        threads = 4
        accept = 1
        tracking = { window = 3, needed = 2 }
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
        tracking=Tracking(3, 2),
        mqtt=Mqtt(
            host="broker", port=1883, topic="home/meter", username="me", password_file="secret", ca_file="ca.pem"
        ),
        web=Web("localhost", 80),
    )


def test_a_table_alone_switches_on_with_safe_defaults(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "[tracking]\n[web]\n[mqtt]\nhost = 'broker'"))
    assert config.tracking == Tracking(window=5, needed=3)
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
        ("[tracking]\nwindow = 5\nneeded = 6", "$.tracking"),
        ("[tracking]\nwindow = 4\nneeded = 2", "more than half of window (4)"),
        ("[tracking]\nwindow = 0\nneeded = 0", "$.tracking.window"),
        ("[tracking]\nwidnow = 5", "widnow"),
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


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml: cannot read the configuration: No such file"):
        load_config(tmp_path / "gone.toml")
    (tmp_path / "latin.toml").write_bytes(b"source = '\xe9'")
    with pytest.raises(ConfigError, match=r"latin\.toml: not TOML"):
        load_config(tmp_path / "latin.toml")
