from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from typing import Any

import jinja2
import msgspec
import pytest
import readings
from hypothesis import given, settings
from hypothesis import strategies as st

from digitcam.edge.config import Rules, RunConfig
from digitcam.edge.config.mqtt import Mqtt
from digitcam.edge.config.quantity import DEVICE_CLASSES
from digitcam.edge.config.regions import Region
from digitcam.edge.health import Health, Report
from digitcam.edge.sinks.diagnostics import diagnostics
from digitcam.edge.sinks.homeassistant import device_id, discovery, discovery_topic
from digitcam.edge.sources.live import Health as SourceHealth

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)


def of(config: Mqtt, **others: Any) -> dict[str, Any]:
    return discovery(RunConfig(mqtt=config, **others), "1.2.3")


# The device's configuration


def test_a_water_meter_whole() -> None:
    config = Mqtt(host="b", topic="home/meter", name="Water", unit="m³", device_class="water")
    common = {"platform": "sensor", "state_topic": "home/meter/diagnostics", "entity_category": "diagnostic"}
    assert discovery_topic(config) == "homeassistant/device/digitcam_home-meter/config"
    assert of(config) == {
        "device": {
            "identifiers": ["digitcam_home-meter"],
            "name": "Water",
            "manufacturer": "digitcam",
            "model": "number reader",
            "sw_version": "1.2.3",
        },
        "origin": {"name": "digitcam", "sw_version": "1.2.3"},
        "availability": [
            {"topic": "home/meter/status", "payload_available": "online", "payload_not_available": "offline"}
        ],
        "qos": 1,
        "components": {
            "number": {
                "platform": "sensor",
                "unique_id": "digitcam_home-meter_number",
                "name": None,
                "state_topic": "home/meter/number",
                "device_class": "water",
                "unit_of_measurement": "m³",
                "state_class": "total",
                "value_template": "{{ value | float if '.' in value else value | int }}",
            },
            "confidence": {
                **common,
                "unique_id": "digitcam_home-meter_confidence",
                "name": "Confidence",
                "icon": "mdi:percent-outline",
                "unit_of_measurement": "%",
                "state_class": "measurement",
                "value_template": "{{ value_json.confidence and (value_json.confidence * 100) | round(1) }}",
            },
            "last_accepted": {
                **common,
                "unique_id": "digitcam_home-meter_last_accepted",
                "name": "Last accepted",
                "device_class": "timestamp",
                "value_template": "{{ value_json.last_accepted }}",
            },
            "frames_per_second": {
                **common,
                "unique_id": "digitcam_home-meter_frames_per_second",
                "name": "Frames per second",
                "icon": "mdi:speedometer",
                "unit_of_measurement": "1/s",
                "state_class": "measurement",
                "value_template": "{{ value_json.frames_per_second }}",
            },
            "rejected": {
                **common,
                "unique_id": "digitcam_home-meter_rejected",
                "name": "Rejected frames",
                "icon": "mdi:close-circle-outline",
                "state_class": "total_increasing",
                "value_template": "{{ value_json.rejected }}",
            },
            "dropped": {
                **common,
                "unique_id": "digitcam_home-meter_dropped",
                "name": "Dropped messages",
                "icon": "mdi:tray-remove",
                "state_class": "total_increasing",
                "value_template": "{{ value_json.dropped }}",
            },
            "held": {
                **common,
                "platform": "binary_sensor",
                "unique_id": "digitcam_home-meter_held",
                "name": "Not read for long",
                "device_class": "problem",
                "value_template": "{{ 'ON' if value_json.held[''] else 'OFF' }}",
            },
            "camera": {
                **common,
                "unique_id": "digitcam_home-meter_camera",
                "name": "Camera",
                "icon": "mdi:cctv",
                "value_template": "{{ value_json.camera or 'files' }}",
            },
            "reopened": {
                **common,
                "unique_id": "digitcam_home-meter_reopened",
                "name": "Camera reopened",
                "icon": "mdi:camera-retake",
                "state_class": "total_increasing",
                "value_template": "{{ value_json.reopened or 0 }}",
            },
            "snapshot": {
                "platform": "button",
                "unique_id": "digitcam_home-meter_snapshot",
                "name": "Take a picture",
                "icon": "mdi:camera",
                "command_topic": "home/meter/snapshot",
                "entity_category": "diagnostic",
            },
            "picture": {
                "platform": "image",
                "unique_id": "digitcam_home-meter_picture",
                "name": "Picture",
                "image_topic": "home/meter/picture",
                "content_type": "image/jpeg",
                "entity_category": "diagnostic",
            },
        },
    }


def test_each_region_is_an_entity_with_a_quantity_of_its_own() -> None:
    regions = (
        Region(name="gas", box=(0, 0, 1, 0.5), unit="m³", device_class="gas", rules=Rules()),
        Region(name="clock", box=(0, 0.5, 1, 0.5), state_class="none"),
        Region(name="power", box=(0, 0.5, 1, 0.5)),
    )
    found = of(Mqtt(host="b", topic="home", unit="kWh", device_class="energy"), regions=regions)["components"]
    assert "number" not in found and "set_value" not in found
    assert found["gas_number"] == {
        "platform": "sensor",
        "unique_id": "digitcam_home_gas_number",
        "name": "gas",
        "state_topic": "home/gas/number",
        "device_class": "gas",
        "unit_of_measurement": "m³",
        "state_class": "total",
        "value_template": "{{ value | float if '.' in value else value | int }}",
    }
    assert found["clock_number"] == {
        "platform": "sensor",
        "unique_id": "digitcam_home_clock_number",
        "name": "clock",
        "state_topic": "home/clock/number",
        "icon": "mdi:counter",
    }
    assert (found["power_number"]["unit_of_measurement"], found["power_number"]["device_class"]) == ("kWh", "energy")
    # Only what has rules can be set.
    assert [key for key in found if key.endswith("set_value")] == ["gas_set_value"]
    assert found["gas_set_value"] == {
        "platform": "text",
        "unique_id": "digitcam_home_gas_set_value",
        "name": "Set gas",
        "icon": "mdi:pencil",
        "command_topic": "home/gas/set_value",
        "state_topic": "home/gas/number",
        "pattern": "[0-9]+([.][0-9]+)?",
        "max": 21,
        "entity_category": "config",
    }


def test_the_whole_frames_number_can_be_set_where_it_has_rules() -> None:
    found = of(Mqtt(host="b"), rules=Rules())["components"]
    assert (found["set_value"]["name"], found["set_value"]["command_topic"]) == ("Set value", "digitcam/set_value")
    assert found["refused"] == {
        "platform": "sensor",
        "unique_id": "digitcam_digitcam_refused",
        "name": "Number not set",
        "icon": "mdi:pencil-off",
        "state_topic": "digitcam/diagnostics",
        "value_template": "{{ (value_json.refused or 'none')[:255] }}",
        "entity_category": "diagnostic",
    }
    assert {"set_value", "refused"}.isdisjoint(of(Mqtt(host="b"))["components"])


def test_without_commands_nothing_can_be_asked_for() -> None:
    found = of(Mqtt(host="b", commands=False), rules=Rules())["components"]
    assert {"snapshot", "picture", "set_value", "refused"}.isdisjoint(found)
    assert not [key for key, entity in found.items() if "command_topic" in entity]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, {"icon": "mdi:counter", "state_class": "total"}),
        ({"unit": "steps"}, {"icon": "mdi:counter", "unit_of_measurement": "steps", "state_class": "total"}),
        (
            {"unit": "°C", "device_class": "temperature"},
            {"device_class": "temperature", "unit_of_measurement": "°C", "state_class": "measurement"},
        ),
        (
            {"unit": "kWh", "device_class": "energy", "state_class": "total_increasing"},
            {"device_class": "energy", "unit_of_measurement": "kWh", "state_class": "total_increasing"},
        ),
    ],
)
def test_the_number_as_it_is_configured(keys: dict[str, Any], expected: dict[str, Any]) -> None:
    number = of(Mqtt(host="b", **keys))["components"]["number"]
    common = {"platform", "unique_id", "name", "state_topic", "value_template"}
    assert {key: value for key, value in number.items() if key not in common} == expected


def test_text_keeps_its_leading_zeros_and_has_no_statistics() -> None:
    number = of(Mqtt(host="b", state_class="none"))["components"]["number"]
    assert {"state_class", "value_template", "unit_of_measurement"}.isdisjoint(number)


def test_a_device_without_a_name_is_called_as_its_topic_ends() -> None:
    assert of(Mqtt(host="b", topic="home/cellar/gas"))["device"]["name"] == "gas"
    assert of(Mqtt(host="b"))["device"]["name"] == "digitcam"


def test_another_prefix() -> None:
    assert discovery_topic(Mqtt(host="b", discovery_prefix="ha/two")) == "ha/two/device/digitcam_digitcam/config"


@pytest.mark.parametrize(
    ("topic", "id"),
    [
        ("digitcam", "digitcam_digitcam"),
        ("home/meter_2", "digitcam_home-meter_2"),
        # The hashes are the first of `printf home-meter | sha256sum` and of Zähler's.
        ("home-meter", "digitcam_home-meter-d42445cc"),
        ("Zähler", "digitcam_Z-hler-d903de87"),
    ],
)
def test_the_device_is_known_by_its_topic(topic: str, id: str) -> None:
    assert device_id(topic) == id


@settings(deadline=None)
@given(st.text(min_size=1), st.text(min_size=1))
def test_home_assistant_takes_any_topics_id_and_no_two_topics_share_one(one: str, other: str) -> None:
    assert re.fullmatch(r"[a-zA-Z0-9_-]+", device_id(one))
    assert (device_id(one) == device_id(other)) == (one == other)


@settings(deadline=None)
@given(st.text("ab-_/", min_size=1), st.text("ab-_/", min_size=1))
def test_topics_that_look_alike_do_not_share_an_id(one: str, other: str) -> None:
    assert (device_id(one) == device_id(other)) == (one == other)


# What is configured


@pytest.mark.parametrize("name", DEVICE_CLASSES)
def test_every_device_class_takes_its_units_and_state_classes(name: str) -> None:
    units, states = DEVICE_CLASSES[name]
    for unit in units:
        for state in (None, *states):
            config = msgspec.convert({"host": "b", "device_class": name, "unit": unit, "state_class": state}, Mqtt)
            number = of(config)["components"]["number"]
            assert (number["unit_of_measurement"], number["state_class"]) == (unit, state or states[0])


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"device_class": "watre"}, "device_class is 'watre': choose from current, "),
        ({"device_class": "water"}, "unit is None: device_class 'water' has m³, L, "),
        ({"device_class": "water", "unit": "m3"}, "unit is 'm3': device_class 'water' has m³, L, "),
        (
            {"device_class": "energy", "unit": "kWh", "state_class": "measurement"},
            "state_class is 'measurement': 'energy' has total, total_increasing",
        ),
        ({"device_class": "gas", "unit": "m³", "state_class": "none"}, "state_class is 'none': 'gas' has total"),
        ({"state_class": "sum"}, "$.state_class"),
        ({"state_class": "none", "unit": "m³"}, "leave out unit"),
        ({"discovery_prefix": "home/#"}, "discovery_prefix is 'home/#'"),
        ({"name": ""}, "$.name"),
        ({"discovery": "yes"}, "$.discovery"),
        ({"username": "me", "password_file": "a", "password_env": "B"}, "keep one of them"),
        ({"password_env": "B"}, "password_env needs a username"),
        ({"cert_file": "c.pem", "tls": False}, "cert_file needs tls"),
        ({"key_file": "k.pem"}, "key_file needs cert_file"),
    ],
)
def test_what_does_not_go_together(keys: dict[str, Any], named: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert({"host": "b", **keys}, Mqtt)
    assert named in str(caught.value)


# The diagnostics


def test_what_is_published_of_a_run() -> None:
    report = Report(
        started=NOON,
        frames=9,
        accepted=4,
        rejected={"no_number": 2, "falls": 3},
        frames_per_second=0.5,
        since_frame_s=1.0,
        confidence=0.3,
        last_accepted=NOON,
        memory_mb=80.0,
        source=None,
        refused="cannot set '8': no",
    )
    of_files = {"camera": None, "camera_problem": None, "frames_dropped": None, "reopened": None}
    common = {"confidence": 0.3, "last_accepted": NOON, "frames_per_second": 0.5, "rejected": 5, "dropped": 2}
    common |= {"held": {}, "refused": "cannot set '8': no"}
    assert diagnostics(report, dropped=2) == {**common, **of_files}
    camera = SourceHealth("waiting", 20, 11, 3, 4.5, "camera: unplugged")
    assert diagnostics(
        msgspec.structs.replace(report, source=camera, held={"gas": True, "water": False}), dropped=2
    ) == {
        **common,
        "held": {"gas": True, "water": False},
        "camera": "waiting",
        "camera_problem": "camera: unplugged",
        "frames_dropped": 11,
        "reopened": 3,
    }


def shown(run: RunConfig, report: Report) -> dict[str, str]:
    """What Home Assistant makes of a report's diagnostics, by entity."""
    published = json.loads(msgspec.json.encode(diagnostics(report, dropped=0)))
    components = discovery(run, "1")["components"]
    templates = {
        key: entity["value_template"]
        for key, entity in components.items()
        if entity.get("state_topic", "").endswith("/diagnostics")
    }
    # Not its undefined: that logs what is missing and goes on.
    home = jinja2.Environment(undefined=jinja2.StrictUndefined)
    return {key: home.from_string(text).render(value_json=published) for key, text in templates.items()}


def test_the_templates_take_what_is_published_from_the_start() -> None:
    run = RunConfig(mqtt=Mqtt(host="b", topic="t"), rules=Rules())
    health = Health()
    health.held = {"": False}
    unknown = dict.fromkeys(("confidence", "last_accepted", "frames_per_second"), "None")
    counts = {"rejected": "0", "dropped": "0", "reopened": "0"}
    assert shown(run, health.report()) == {**unknown, **counts, "camera": "files", "held": "OFF", "refused": "none"}
    health.held = {"": True}
    health.count([readings.outcome(readings.reading("7", [0.875]))])
    report = msgspec.structs.replace(health.report(), frames_per_second=2.5, refused="cannot set '8': no")
    assert shown(run, report) == {
        **counts,
        "confidence": "87.5",
        "last_accepted": NOON.isoformat().replace("+00:00", "Z"),
        "frames_per_second": "2.5",
        "camera": "files",
        "held": "ON",
        "refused": "cannot set '8': no",
    }
