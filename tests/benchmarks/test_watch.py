"""A Raspberry Pi as a tree of files, whose readings change while it is watched."""

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from digitcam.benchmarks.validity import objections
from digitcam.benchmarks.watch import EnergyMeter, Watch, processor_s
from digitcam.edge.board import Board


class Pi:
    """What the board says; `now_s` is its time."""

    def __init__(self, root: Path) -> None:
        self.root, self.bin, self.now_s, self.own_s = root / "root", root / "bin", 0.0, 0.0
        self.board = Board(self.root, str(self.bin))
        self.write("proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
        self.says(bits=0, mhz=1800, celsius=50)

    def says(self, bits: int, mhz: int, celsius: int, governor: str = "ondemand") -> None:
        self.write("../bin/vcgencmd", f"#!/bin/sh\n[ $1 = get_throttled ] && echo throttled={bits:#x}\n")
        (self.bin / "vcgencmd").chmod(0o755)
        self.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", str(mhz * 1000))
        self.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", governor)
        self.write("sys/class/thermal/thermal_zone0/temp", str(celsius * 1000))

    def worked(self, busy_s: float, stolen_s: float, idle_s: float) -> None:
        user, stolen, idle = (round(s * os.sysconf("SC_CLK_TCK")) for s in (busy_s, stolen_s, idle_s))
        self.write("proc/stat", f"cpu0 {user} 0 0 {idle} 0 0 0 {stolen} 0 0\n")

    def write(self, name: str, content: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def watch(self) -> Watch:
        return Watch(self.board, [0], clock=lambda: self.now_s, own_s=lambda: self.own_s)


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    (tmp_path / "root").mkdir()
    return Pi(tmp_path)


def test_a_board_that_is_well(pi: Pi) -> None:
    pi.says(bits=0x50000, mhz=1800, celsius=50)
    pi.worked(100, 0, 100)
    watch = pi.watch()
    watch.look()
    pi.now_s, pi.own_s = 10.0, 8.0
    pi.says(bits=0x50000, mhz=1790, celsius=61)
    # Ten seconds: eight and a half at work, of which eight were ours, half a second taken by the host.
    pi.worked(108.5, 0.5, 101)
    found = watch.found()
    assert (found.seconds, found.samples, found.governors) == (10.0, 2, ["ondemand"])
    assert (found.clock_mhz, found.temperature_c) == ((1790.0, 1800.0), (50.0, 61.0))
    # What was before did not happen in this run.
    assert (found.throttled, found.throttled_before) == ([], ["under-voltage", "throttled"])
    assert (found.others, found.stolen) == (0.05, 0.05)


def test_throttled_while_it_was_looked_at(pi: Pi) -> None:
    watch = pi.watch()
    pi.says(bits=0x40004, mhz=900, celsius=85)
    watch.look()
    pi.now_s = 2.0
    pi.says(bits=0x40000, mhz=1800, celsius=70)
    found = watch.found()
    assert (found.throttled, found.throttled_before, found.clock_mhz) == (["throttled"], [], (900.0, 1800.0))


def test_throttled_between_two_looks(pi: Pi) -> None:
    watch = pi.watch()
    pi.says(bits=0x20000, mhz=1800, celsius=70)
    assert watch.found().throttled == ["clock capped"]


def test_a_pi_whose_tool_may_not_be_used_says_nothing_of_throttling(pi: Pi) -> None:
    pi.write("../bin/vcgencmd", "#!/bin/sh\necho VCHI initialization failed\nexit 255\n")
    found = pi.watch().found()
    assert (found.throttled, found.throttled_before) == (None, None)
    assert len(objections(found, pi.board.model())) == 1


def test_an_intel_processor_that_was_too_hot(pi: Pi) -> None:
    (pi.bin / "vcgencmd").unlink()
    counter = "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"
    pi.write(counter, "4")
    watch = pi.watch()
    pi.write(counter, "5")
    assert watch.found().throttled == ["throttled by heat"]
    assert pi.watch().found().throttled == []


def test_a_clock_that_was_low_from_the_start_is_held_against_what_the_kernel_lists(pi: Pi) -> None:
    pi.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_available_frequencies", "600000 1500000 1800000 ")
    pi.says(bits=0, mhz=600, celsius=50, governor="powersave")
    found = pi.watch().found()
    assert (found.clock_mhz, found.clock_listed_mhz) == ((600.0, 600.0), 1800.0)
    assert objections(found, pi.board.model()) == ["the clock was low: 600 of 1800 MHz: mind cooling and governor"]
    pi.says(bits=0, mhz=1800, celsius=50)
    assert objections(pi.watch().found(), pi.board.model()) == []


def test_marks_of_before_the_run_are_an_objection_for_nothing_new_could_show(pi: Pi) -> None:
    pi.says(bits=0x50000, mhz=1800, celsius=50)
    (told,) = objections(pi.watch().found(), pi.board.model())
    assert told == (
        "throttled before, and whether again cannot be told: under-voltage, throttled: mind its cause, then restart"
    )


def test_a_burst_of_others_is_not_hidden_by_a_long_run(pi: Pi) -> None:
    pi.worked(0, 0, 0)
    watch = pi.watch()
    # A hundred seconds, ours but for four in which another worked, and two of the host's.
    busy = stolen = 0.0
    for second in range(1, 101):
        pi.now_s = float(second)
        ours = not 31 <= second <= 36
        pi.own_s += ours
        busy, stolen = busy + (not 35 <= second <= 36), stolen + (35 <= second <= 36)
        pi.worked(busy, stolen, 0)
        watch.look()
    found = watch.found()
    assert (found.others, found.stolen) == (0.04, 0.02)
    # All of it fell into the stretch from 30 to 40 s.
    assert (found.others_most, found.stolen_most) == (0.4, 0.2)
    assert [told[:16] for told in objections(found, pi.board.model())] == ["other load: 40% ", "other load: 20% "]


def test_what_is_left_after_the_last_stretch_is_no_stretch_of_its_own(pi: Pi) -> None:
    pi.worked(0, 0, 0)
    watch = pi.watch()
    pi.now_s, pi.own_s = 10.0, 10.0
    pi.worked(10, 0, 0)
    watch.look()
    pi.now_s = 10.5
    pi.worked(10.5, 0, 0)
    # Half a second of another in ten and a half, and not in half a second.
    assert watch.found().others_most == round(0.5 / 10.5, 4)


def test_a_child_that_still_runs_is_counted_as_ours() -> None:
    before_s = processor_s()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        child_s = process.submit(worked).result()
        running_s = processor_s() - before_s
    # The kernel counts in steps of a hundredth, user and system each.
    assert child_s >= 0.3 and running_s > child_s - 0.02


def worked() -> float:
    """Work for a while and return this process's processor time."""
    while time.process_time() < 0.3:
        pass
    return time.process_time()


def test_it_looks_once_a_second_at_most(pi: Pi) -> None:
    watch = pi.watch()
    for now_s in (0.0, 0.4, 0.99, 1.0, 1.5, 2.0):
        pi.now_s = now_s
        pi.says(bits=0, mhz=1800, celsius=50 + int(100 * now_s), governor=f"at {now_s}")
        watch.look()
    assert watch.found().governors == ["at 0.0", "at 1.0", "at 2.0"]


def test_a_machine_that_says_nothing(tmp_path: Path) -> None:
    found = Watch(Board(tmp_path, ""), [0]).found()
    assert (found.clock_mhz, found.temperature_c, found.throttled, found.throttled_before) == (None,) * 4
    assert (found.others, found.stolen, found.governors) == (None, None, [])
    meter = EnergyMeter(Board(tmp_path, ""))
    meter.look()
    assert meter.spent_j() is None


def test_energy_by_counters(pi: Pi) -> None:
    zone = "sys/class/powercap/intel-rapl:0/"
    for name, value in (("name", "package-0"), ("energy_uj", "1000000"), ("max_energy_range_uj", "9000000")):
        pi.write(zone + name, value)
    meter = EnergyMeter(pi.board, lambda: pi.now_s)
    pi.write(zone + "energy_uj", "3500000")
    meter.look()
    assert meter.spent_j() == 2.5


def test_energy_by_the_power_chip(pi: Pi) -> None:
    meter = EnergyMeter(pi.board, lambda: pi.now_s)
    for now_s, amperes in ((0.0, 2), (0.5, 9), (1.0, 4)):
        pi.now_s = now_s
        pi.write("../bin/vcgencmd", f"#!/bin/sh\nprintf ' VDD_A current(7)={amperes}.0A\\n VDD_V volt(15)=0.5V\\n'\n")
        meter.look()
    # 1 W and 2 W were looked at, 4.5 W was too soon; for four seconds.
    pi.now_s = 4.0
    assert meter.spent_j() == 6.0
