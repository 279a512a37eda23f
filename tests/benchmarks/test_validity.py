import msgspec
import pytest

from digitcam.benchmarks.results import Conditions
from digitcam.benchmarks.timing import summary
from digitcam.benchmarks.validity import objections

replace = msgspec.structs.replace
WELL = Conditions(
    seconds=60.0,
    samples=60,
    governors=["ondemand"],
    clock_mhz=(1700.0, 1800.0),
    temperature_c=(50.0, 70.0),
    throttled=[],
    throttled_before=[],
    others=0.1,
    stolen=0.05,
)
PI = "Raspberry Pi 4 Model B Rev 1.4"
GOOD = replace(summary(9.0, [10.0] * 1024, 20.0), ratios=(2.0, 2.2))


def test_nothing_is_said_against_a_good_measurement() -> None:
    assert objections(WELL, None, {1: {"int8.onnx": GOOD}}) == []
    unknown = replace(WELL, governors=[], clock_mhz=None, temperature_c=None, throttled=None, others=None, stolen=None)
    assert objections(unknown, None, {1: {"int8.onnx": GOOD}}) == []


def test_a_pi_that_does_not_say_whether_it_was_throttled_gives_no_result() -> None:
    assert objections(WELL, PI) == []
    mute = replace(WELL, throttled=None, throttled_before=None)
    (found,) = objections(mute, PI)
    assert found.startswith("whether it was throttled is unknown, vcgencmd gave no answer: ")
    # Others have no such tool.
    assert objections(mute, "NVIDIA Jetson Orin Nano") == objections(mute, None) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"throttled": ["under-voltage", "throttled"]}, "throttled: under-voltage, throttled: mind"),
        ({"throttled_before": ["under-voltage"]}, "throttled before, and whether again cannot be told: under-voltage:"),
        ({"clock_mhz": (1600.0, 1800.0)}, "the clock was low: 1600 of 1800 MHz"),
        ({"clock_listed_mhz": 2000.0}, "the clock was low: 1700 of 2000 MHz"),
        ({"governors": ["ondemand", "powersave"]}, "the governor was changed: ondemand, powersave"),
        ({"others": 0.11}, "other load: 11% of the processors' time: stop"),
        ({"others_most": 0.11}, "other load: 11% of the processors' time: stop"),
        ({"stolen_most": 0.06}, "other load: 6% of the processors' time was taken by the host"),
        ({"stolen": 0.06}, "other load: 6% of the processors' time was taken by the host"),
    ],
)
def test_what_happens_to_the_board_counts(changed: dict[str, object], said: str) -> None:
    (found,) = objections(replace(WELL, **changed), PI, {1: {"int8.onnx": GOOD}})
    assert found.startswith(said)


def test_too_few_and_too_short_runs() -> None:
    few, short = replace(GOOD, runs=1023), replace(GOOD, seconds=9.9)
    assert objections(WELL, None, {1: {"int8.onnx": few, "fp32.onnx": GOOD}}) == [
        "too few runs: int8.onnx, 1 thread: 1023 in 10.2 s, not 1024 and 10 s"
    ]
    assert objections(WELL, None, {1: {"int8.onnx": few}, 4: {"int8.onnx": short}}) == [
        "too few runs: int8.onnx, 4 threads: 1024 in 9.9 s, not 1024 and 10 s, and 1 more like it"
    ]


def test_halves_that_disagree_by_more_than_a_tenth() -> None:
    apart, more = replace(GOOD, ratios=(2.0, 2.21)), replace(GOOD, ratios=(3.0, 2.0))
    assert objections(WELL, None, {1: {"int8.onnx": apart}}) == [
        "the two halves of the measurement disagree: "
        "int8.onnx, 1 thread: 2.00 times the reference, then 2.21: try again"
    ]
    (worst,) = objections(WELL, None, {1: {"int8.onnx": apart, "int8.tflite": more}})
    assert worst.endswith("int8.tflite, 1 thread: 3.00 times the reference, then 2.00, and 1 more like it: try again")


def test_a_machine_that_changes_its_speed_for_all_formats_alike() -> None:
    steady, slower = replace(GOOD, ratios=(1.0, 1.0), halves_ms=(4.0, 5.0)), replace(GOOD, halves_ms=(4.0, 5.04))
    assert objections(WELL, None, {1: {"int8.onnx": steady}}) == []
    assert objections(WELL, None, {1: {"int8.onnx": slower}}) == [
        "the machine changed its speed: int8.onnx, 1 thread: 4.00 ms, then 5.04: mind cooling, try again"
    ]
    quicker = replace(GOOD, halves_ms=(6.0, 4.0))
    (worst,) = objections(WELL, None, {1: {"int8.onnx": slower, "fp32.onnx": quicker, "int8.tflite": steady}})
    assert "fp32.onnx, 1 thread: 6.00 ms, then 4.00, and 1 more like it" in worst


def test_a_machine_that_slows_down_in_one_go() -> None:
    # 100 runs a second in the blocks; more in one go is no fault.
    kept, quick, slow = (replace(GOOD, fps=100.0, sustained_fps=fps) for fps in (80.0, 200.0, 79.0))
    assert objections(WELL, None, {1: {"fp32.onnx": kept, "int8.onnx": quick}}) == []
    assert objections(WELL, None, {1: {"fp32.onnx": slow}}) == [
        "the machine changed its speed: fp32.onnx, 1 thread: 100 runs a second in turn, then 79 in one go: "
        "mind cooling, try again"
    ]
