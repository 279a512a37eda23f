"""What kind of quantity a number is, as Home Assistant calls it."""

from __future__ import annotations

from typing import Literal

import msgspec

from digitcam.edge.config.types import Text

DEVICE_CLASSES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # Home Assistant's: the units of each, and the state classes it takes, ours by default first.
    "current": (("A", "mA"), ("measurement",)),
    "distance": (("km", "m", "cm", "mm", "mi", "yd", "ft", "in"), ("total", "total_increasing", "measurement")),
    "duration": (("d", "h", "min", "s"), ("total", "total_increasing", "measurement")),
    "energy": (("Wh", "kWh", "MWh", "GWh", "MJ", "GJ"), ("total", "total_increasing")),
    "frequency": (("Hz", "kHz", "MHz", "GHz"), ("measurement",)),
    "gas": (("m³", "ft³", "CCF"), ("total", "total_increasing")),
    "humidity": (("%",), ("measurement",)),
    "power": (("W", "kW", "MW"), ("measurement",)),
    "pressure": (("Pa", "hPa", "kPa", "mbar", "bar", "psi", "mmHg", "inHg"), ("measurement",)),
    "speed": (("m/s", "km/h", "mph", "kn"), ("measurement",)),
    "temperature": (("°C", "°F", "K"), ("measurement",)),
    "voltage": (("V", "mV"), ("measurement",)),
    "volume": (("m³", "L", "mL", "gal", "ft³", "CCF"), ("total", "total_increasing")),
    "water": (("m³", "L", "gal", "ft³", "CCF"), ("total", "total_increasing")),
    "weight": (("kg", "g", "mg", "lb", "oz", "st"), ("measurement", "total", "total_increasing")),
}


class Quantity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A unit, a device class and a state class that Home Assistant takes together.

    unit, device_class
        A device class needs a unit.
    state_class
        `total` unless the device class asks for another: with it a misreading put right takes back what it added,
        where `total_increasing` would take the fall for a meter begun anew. With `none` the number is text that keeps
        its leading zeros, without statistics.
    """

    unit: Text | None = None
    device_class: Text | None = None
    state_class: Literal["measurement", "total", "total_increasing", "none"] | None = None

    def __post_init__(self) -> None:
        if self.device_class is None:
            if self.state_class == "none" and self.unit:
                raise ValueError("state_class is 'none': leave out unit, with which a number is no text")
            return
        if self.device_class not in DEVICE_CLASSES:
            raise ValueError(f"device_class is {self.device_class!r}: choose from {', '.join(DEVICE_CLASSES)}")
        units, states = DEVICE_CLASSES[self.device_class]
        if self.unit not in units:
            raise ValueError(f"unit is {self.unit!r}: device_class {self.device_class!r} has {', '.join(units)}")
        if self.state_class not in (None, *states):
            raise ValueError(f"state_class is {self.state_class!r}: {self.device_class!r} has {', '.join(states)}")
