"""What Home Assistant is told of a digitcam: MQTT discovery by device, one retained message for all entities.

https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery: Home Assistant 2024.11 and newer.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from digitcam.edge.config import RunConfig
from digitcam.edge.config.mqtt import Mqtt
from digitcam.edge.config.quantity import DEVICE_CLASSES, Quantity

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


def discovery(run: RunConfig, version: str) -> dict[str, Any]:
    """Return the device's configuration: each number as an entity, commands and diagnostics beside it.

    version
        Of digitcam.
    """
    config = run.mqtt
    assert config
    id = device_id(config.topic)
    entities = {**_numbers(run, config), **_held(run, config), **_diagnostics(f"{config.topic}/diagnostics")}
    if config.commands:
        entities |= _commands(run, config)
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


def without(device: dict[str, Any], region: str) -> dict[str, Any]:
    """Return a device's configuration that takes a region's entities away: of each only its platform is told."""
    below = f"{region}_" if region else ""
    platforms = {"number": "sensor", "held": "binary_sensor", "set_value": "text"}
    gone = {f"{below}{key}": {"platform": platform} for key, platform in platforms.items()}
    return {**device, "components": {**device["components"], **gone}}


def _numbers(run: RunConfig, config: Mqtt) -> dict[str, dict[str, Any]]:
    if not run.regions:
        # Without a name of its own an entity is called as its device.
        return {"number": _number(config, f"{config.topic}/number", None)}
    return {
        f"{region.name}_number": _number(
            region if region.unit or region.state_class else config, f"{config.topic}/{region.name}/number", region.name
        )
        for region in run.regions
    }


def _number(quantity: Quantity, topic: str, name: str | None) -> dict[str, Any]:
    entity: dict[str, Any] = {"name": name, "state_topic": topic}
    if quantity.device_class:
        entity["device_class"] = quantity.device_class
    else:
        entity["icon"] = "mdi:counter"
    if quantity.unit:
        entity["unit_of_measurement"] = quantity.unit
    default = DEVICE_CLASSES[quantity.device_class][1][0] if quantity.device_class else "total"
    if quantity.state_class != "none":
        entity["state_class"] = quantity.state_class or default
        entity["value_template"] = _AS_NUMBER
    return entity


def _held(run: RunConfig, config: Mqtt) -> dict[str, dict[str, Any]]:
    return {
        f"{region}_held" if region else "held": {
            "platform": "binary_sensor",
            "name": f"{region} not read for long" if region else "Not read for long",
            "device_class": "problem",
            "state_topic": f"{config.topic}/diagnostics",
            "value_template": f"{{{{ 'ON' if value_json.held['{region}'] else 'OFF' }}}}",
            "entity_category": "diagnostic",
        }
        for region in run.numbers
    }


def _commands(run: RunConfig, config: Mqtt) -> dict[str, dict[str, Any]]:
    """Return the entities that ask for something, and the picture one of them asks for."""
    entities: dict[str, dict[str, Any]] = {
        "snapshot": {
            "platform": "button",
            "name": "Take a picture",
            "icon": "mdi:camera",
            "command_topic": f"{config.topic}/snapshot",
            "entity_category": "diagnostic",
        },
        "picture": {
            "platform": "image",
            "name": "Picture",
            "image_topic": f"{config.topic}/picture",
            "content_type": "image/jpeg",
            "entity_category": "diagnostic",
        },
    }
    if any(map(run.rules_of, run.numbers)):
        entities["refused"] = {
            "name": "Number not set",
            "icon": "mdi:pencil-off",
            "state_topic": f"{config.topic}/diagnostics",
            # A state has 255 signs at most.
            "value_template": "{{ (value_json.refused or 'none')[:255] }}",
            "entity_category": "diagnostic",
        }
    for region in run.numbers:
        if run.rules_of(region):
            below = f"{region}/" if region else ""
            entities[f"{region}_set_value" if region else "set_value"] = {
                "platform": "text",
                "name": f"Set {region}" if region else "Set value",
                "icon": "mdi:pencil",
                "command_topic": f"{config.topic}/{below}set_value",
                "state_topic": f"{config.topic}/{below}number",
                "pattern": "[0-9]+([.][0-9]+)?",
                "max": 21,
                "entity_category": "config",
            }
    return entities


def _diagnostics(topic: str) -> dict[str, dict[str, Any]]:
    """Return the entities that show what `diagnostics.diagnostics` gives."""
    common = {"state_topic": topic, "entity_category": "diagnostic"}
    return {
        "confidence": {
            **common,
            "name": "Confidence",
            "icon": "mdi:percent-outline",
            "unit_of_measurement": "%",
            "state_class": "measurement",
            # Null before the first frame, which shown as None Home Assistant calls unknown.
            "value_template": "{{ value_json.confidence and (value_json.confidence * 100) | round(1) }}",
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
        "camera": {
            **common,
            "name": "Camera",
            "icon": "mdi:cctv",
            "value_template": "{{ value_json.camera or 'files' }}",
        },
        "reopened": {
            **common,
            "name": "Camera reopened",
            "icon": "mdi:camera-retake",
            "state_class": "total_increasing",
            "value_template": "{{ value_json.reopened or 0 }}",
        },
    }
