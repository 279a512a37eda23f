from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digitcam.core.reading import Latency, Model, Reading
from digitcam.edge.config import DEVICE_CLASSES, Mqtt
from digitcam.edge.sinks.diagnostics import Tally
from digitcam.edge.sinks.homeassistant import device_id, discovery, discovery_topic

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)


def reading(confidence: float, accepted: bool, minute: int = 0) -> Reading:
    return Reading(
        ts=NOON + timedelta(minutes=minute),
        seq=0,
        source="",
        number="7",
        digits=(),
        box=(0, 0, 0, 0),
        confidence=confidence,
        accepted=accepted,
        reason="" if accepted else "low_confidence",
        previous=None,
        model=Model("", "", ""),
        latency_ms=Latency(0, 0, 0, 0, 0),
    )


# The device's configuration


def test_a_water_meter_whole() -> None:
    config = Mqtt(host="b", topic="home/meter", name="Water", unit="m³", device_class="water")
    common = {"platform": "sensor", "state_topic": "home/meter/diagnostics", "entity_category": "diagnostic"}
    assert discovery_topic(config) == "homeassistant/device/digitcam_home-meter/config"
    assert discovery(config, "1.2.3") == {
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
                "value_template": "{{ (value_json.confidence * 100) | round(1) }}",
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
        },
    }


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
    number = discovery(Mqtt(host="b", **keys), "1")["components"]["number"]
    common = {"platform", "unique_id", "name", "state_topic", "value_template"}
    assert {key: value for key, value in number.items() if key not in common} == expected


def test_text_keeps_its_leading_zeros_and_has_no_statistics() -> None:
    number = discovery(Mqtt(host="b", state_class="none"), "1")["components"]["number"]
    assert {"state_class", "value_template", "unit_of_measurement"}.isdisjoint(number)


def test_a_device_without_a_name_is_called_as_its_topic_ends() -> None:
    assert discovery(Mqtt(host="b", topic="home/cellar/gas"), "1")["device"]["name"] == "gas"
    assert discovery(Mqtt(host="b"), "1")["device"]["name"] == "digitcam"


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
            number = discovery(config, "1")["components"]["number"]
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


def test_a_tally_of_three_frames() -> None:
    tally = Tally(since_s=100.0)
    for minute, (confidence, accepted) in enumerate(((0.9, True), (0.4, False), (0.95, True))):
        tally = tally.after([reading(confidence, accepted, minute), reading(0.1, False)])
    tally = tally.after([reading(0.3, False, 5)])
    assert tally.report(108.0, dropped=2) == {
        "confidence": 0.3,
        "last_accepted": NOON + timedelta(minutes=2),
        "frames_per_second": 0.5,  # four in eight seconds
        "rejected": 2,
        "dropped": 2,
    }
    assert tally.anew(108.0) == Tally(108.0, 0, 2, 0.3, NOON + timedelta(minutes=2))


def test_a_first_frame_has_no_rate_yet() -> None:
    report = Tally(5.0).after([reading(0.4, False)]).report(5.0, 0)
    assert (report["frames_per_second"], report["last_accepted"]) == (None, None)
