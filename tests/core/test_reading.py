from datetime import datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from digitcam.core.decode import Digit, Line
from digitcam.core.preprocess import Letterbox
from digitcam.core.reading import Latency, Model, ReadDigit, Reading, decode_reading, describe, encode_reading

share = st.floats(0, 1)
box = st.tuples(*[st.floats(-1e4, 1e4)] * 4)
moments = st.datetimes(timezones=st.sampled_from([timezone.utc, timezone(timedelta(hours=-3, minutes=-30))]))
readings = st.builds(
    Reading,
    ts=moments,
    seq=st.integers(0, 2**40),
    source=st.text(),
    region=st.sampled_from(["", "gas"]),
    number=st.text("0123456789", max_size=10),
    digits=st.lists(st.builds(ReadDigit, st.sampled_from("0123456789"), share, box), max_size=4).map(tuple),
    box=box,
    confidence=share,
    accepted=st.booleans(),
    reason=st.sampled_from(["", "no_number", "low_confidence"]),
    previous=st.none() | st.text("0123456789", min_size=1),
    model=st.builds(Model, st.text(), st.sampled_from(["int8.onnx"]), st.just("0" * 64)),
    latency_ms=st.builds(Latency, *[st.floats(0, 1e6)] * 5),
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # many fields, and machines may be busy
@given(readings)
def test_round_trip_on_one_line(reading: Reading) -> None:
    line = encode_reading(reading)
    assert b"\n" not in line
    assert decode_reading(line) == reading


def test_the_time_is_rfc_3339_with_offset() -> None:
    moment = datetime(2024, 2, 29, 12, 0, 5, 250000, timezone(timedelta(hours=1)))
    reading = Reading(
        ts=moment,
        seq=3,
        source="a.png",
        number="007",
        digits=(),
        box=(1, 2, 3, 4),
        confidence=0.5,
        accepted=True,
        reason="",
        previous=None,
        model=Model("canvas", "int8.onnx", "0" * 64),
        latency_ms=Latency(0, 0, 0, 0, 0),
    )
    tree = msgspec.json.decode(encode_reading(reading))
    assert tree["ts"] == "2024-02-29T12:00:05.250000+01:00"
    assert tree["number"] == "007"
    assert list(tree) == (
        [
            "schema",
            "ts",
            "seq",
            "source",
            "region",
            "number",
            "digits",
            "box",
            "confidence",
            "accepted",
            "reason",
            "previous",
            "model",
            "latency_ms",
        ]
    )


def test_boxes_are_those_of_the_frame() -> None:
    line = Line((Digit("4", 0.91234567, (10, 20, 30, 40)),))
    digits, box = describe(line, Letterbox(0.5, 0.25, 4, 8).to_frame)
    assert digits == (ReadDigit("4", 0.9123, (12.0, 48.0, 60.0, 160.0)),)
    assert box == (12.0, 48.0, 60.0, 160.0)
    # Where there is nothing, it is not where the letterbox begins either.
    assert describe(Line(()), Letterbox(0.5, 0.25, 4, 8).to_frame) == ((), (0, 0, 0, 0))


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_reading(b'{"colour": 1}')
