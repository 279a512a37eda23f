"""What Home Assistant is told of a digitcam: MQTT discovery by device, one retained message for all entities.

https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery: Home Assistant 2024.11 and newer.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from digitcam.edge.config import DEVICE_CLASSES, Mqtt

BIRTH_TOPIC = "homeassistant/status"
"""Where Home Assistant says `online` when it has started; this one does not follow its discovery prefix."""
BIRTH = b"online"

# The state of a sensor with a state class is a number, and that of "00417" is written 417.
_AS_NUMBER = "{{ value | float if '.' in value else value | int }}"


def device_id(topic: str) -> str:
    """Return a name of letters, digits, _ and - that no other topic has.

    Plain topics stay readable: `home/meter` gives `digitcam_home-meter`. Any other sign is replaced, and then a hash
    of the topic tells it from those that look the same.
    """
    plain = re.sub(r"[^A-Za-z0-9_]", "-", topic)
    same = re.fullmatch(r"[A-Za-z0-9_/]*", topic)
    return f"digitcam_{plain}" if same else f"digitcam_{plain}-{hashlib.sha256(topic.encode()).hexdigest()[:8]}"


def discovery_topic(config: Mqtt) -> str:
    """Return the topic of the device's configuration."""
    return f"{config.discovery_prefix}/device/{device_id(config.topic)}/config"


def discovery(config: Mqtt, version: str) -> dict[str, Any]:
    """Return the device's configuration: the number as its main entity, the diagnostics beside it.

    version
        Of digitcam.
    """
    id = device_id(config.topic)
    entities = {"number": _number(config), **_diagnostics(f"{config.topic}/diagnostics")}
    return {
        "device": {
            "identifiers": [id],
            "name": config.name or config.topic.rpartition("/")[2],
            "manufacturer": "digitcam",
            "model": "number reader",
            "sw_version": version,
        },
        "origin": {"name": "digitcam", "sw_version": version},
        "availability": [
            {"topic": f"{config.topic}/status", "payload_available": "online", "payload_not_available": "offline"}
        ],
        "qos": 1,
        "components": {
            key: {"platform": "sensor", "unique_id": f"{id}_{key}", **entity} for key, entity in entities.items()
        },
    }


def _number(config: Mqtt) -> dict[str, Any]:
    # Without a name of its own an entity is called as its device.
    entity: dict[str, Any] = {"name": None, "state_topic": f"{config.topic}/number"}
    if config.device_class:
        entity["device_class"] = config.device_class
    else:
        entity["icon"] = "mdi:counter"
    if config.unit:
        entity["unit_of_measurement"] = config.unit
    default = DEVICE_CLASSES[config.device_class][1][0] if config.device_class else "total"
    if config.state_class != "none":
        entity["state_class"] = config.state_class or default
        entity["value_template"] = _AS_NUMBER
    return entity


def _diagnostics(topic: str) -> dict[str, dict[str, Any]]:
    """Return the entities that show what `diagnostics.Tally.report` gives."""
    common = {"state_topic": topic, "entity_category": "diagnostic"}
    return {
        "confidence": {
            **common,
            "name": "Confidence",
            "icon": "mdi:percent-outline",
            "unit_of_measurement": "%",
            "state_class": "measurement",
            "value_template": "{{ (value_json.confidence * 100) | round(1) }}",
        },
        "last_accepted": {
            **common,
            "name": "Last accepted",
            "device_class": "timestamp",
            "value_template": "{{ value_json.last_accepted }}",
        },
        "frames_per_second": {
            **common,
            "name": "Frames per second",
            "icon": "mdi:speedometer",
            "unit_of_measurement": "1/s",
            "state_class": "measurement",
            "value_template": "{{ value_json.frames_per_second }}",
        },
        "rejected": {
            **common,
            "name": "Rejected frames",
            "icon": "mdi:close-circle-outline",
            "state_class": "total_increasing",
            "value_template": "{{ value_json.rejected }}",
        },
        "dropped": {
            **common,
            "name": "Dropped messages",
            "icon": "mdi:tray-remove",
            "state_class": "total_increasing",
            "value_template": "{{ value_json.dropped }}",
        },
    }
