"""Boards as small trees of files, and tools as scripts."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digitcam.edge import board as board_module
from digitcam.edge.board import THROTTLED, Board, EnergyCounter, Memory, energy_spent_j, throttle_words

MEMINFO = """MemTotal:         931144 kB
MemFree:          122000 kB
MemAvailable:     500000 kB
HugePages_Total:       0
CmaTotal:         262144 kB
CmaFree:          100000 kB
"""


def write(root: Path, name: str, content: str | bytes) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def tool(folder: Path, name: str, script: str) -> None:
    write(folder, name, f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def pi(tmp_path: Path) -> Board:
    """A Raspberry Pi 4 that is well."""
    root, path = tmp_path / "root", tmp_path / "bin"
    write(root, "proc/device-tree/model", b"Raspberry Pi 4 Model B Rev 1.4\0")
    write(root, "proc/device-tree/system/linux,revision", b"\x00\xc0\x31\x14")
    write(root, "proc/meminfo", MEMINFO)
    write(root, "sys/class/thermal/thermal_zone0/temp", "48686\n")
    write(root, "sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
    write(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "600000\n")
    write(root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "ondemand\n")
    tool(
        path,
        "vcgencmd",
        'case "$*" in get_throttled) echo throttled=0x0;; "measure_clock arm") echo "frequency(48)=1500345728";; esac',
    )
    tool(path, "timedatectl", "echo yes")
    return Board(root, str(path))


def test_a_raspberry_pi(pi: Board) -> None:
    assert pi.model() == "Raspberry Pi 4 Model B Rev 1.4" and pi.is_pi()
    assert pi.revision() == "c03114"
    assert pi.temperature_c() == 48.686
    assert pi.clock_mhz() == 1500.345728  # as measured, not as asked for
    assert pi.governor() == "ondemand"
    assert pi.throttled() == 0
    assert pi.synchronised() is True
    # 931144 KiB are 953.491456 million bytes, 500000 KiB 512, 262144 KiB 268.435456, 100000 KiB 102.4.
    assert pi.memory() == Memory(953.491456, 512.0, 268.435456, 102.4)


def test_a_machine_that_says_nothing(tmp_path: Path) -> None:
    board = Board(tmp_path, "")
    assert not board.is_pi() and not board.has("vcgencmd")
    assert [
        board.model(),
        board.revision(),
        board.memory(),
        board.temperature_c(),
        board.throttled(),
        board.clock_mhz(),
        board.governor(),
        board.synchronised(),
    ] == [None] * 8


def test_this_machine_says_how_much_memory_it_has() -> None:
    memory = Board().memory()
    assert memory and 0 < memory.available_mb <= memory.total_mb


def test_files_that_say_rubbish(pi: Board) -> None:
    write(pi.root, "proc/device-tree/system/linux,revision", b"\x00")
    write(pi.root, "proc/meminfo", "MemTotal: much\n")
    write(pi.root, "sys/class/thermal/thermal_zone0/temp", "hot")
    write(pi.root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "fast")
    bare = Board(pi.root, "")
    assert (bare.revision(), bare.memory(), bare.temperature_c(), bare.clock_mhz()) == (None, None, None, None)


def test_without_a_reserve_for_cameras(pi: Board) -> None:
    write(pi.root, "proc/meminfo", MEMINFO.replace("262144", "0").replace("100000", "0"))
    assert pi.memory() == Memory(953.491456, 512.0, None, None)


def test_the_clock_asked_for_where_none_is_measured(pi: Board) -> None:
    assert Board(pi.root, "").clock_mhz() == 600.0
    tool(Path(pi.path or ""), "vcgencmd", 'echo "frequency(0)=0"')
    assert pi.clock_mhz() == 600.0


def test_the_processors_sensor_comes_before_a_hotter_one(pi: Board) -> None:
    write(pi.root, "sys/class/thermal/thermal_zone1/temp", "91000\n")
    write(pi.root, "sys/class/thermal/thermal_zone1/type", "pmic-die\n")
    assert pi.temperature_c() == 48.686
    write(pi.root, "sys/class/thermal/thermal_zone0/type", "soc\n")
    assert pi.temperature_c() == 91.0


@pytest.mark.parametrize(
    "script", ["exit 1", "echo error=1", "echo throttled=0xnone", "kill -9 $$", "echo 'throttled='"]
)
def test_a_tool_without_an_answer(pi: Board, script: str) -> None:
    tool(Path(pi.path or ""), "vcgencmd", script)
    assert pi.has("vcgencmd") and pi.throttled() is None


def test_a_tool_that_hangs_is_given_up(pi: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_module, "TOOL_S", 0.2)
    tool(Path(pi.path or ""), "vcgencmd", "exec /bin/sleep 600")
    assert pi.throttled() is None


@pytest.mark.parametrize(("says", "known"), [("yes", True), ("no", False), ("", None), ("perhaps", None)])
def test_a_clock_that_the_manager_knows(pi: Board, says: str, known: bool | None) -> None:
    tool(Path(pi.path or ""), "timedatectl", f"echo {says}")
    assert pi.synchronised() is known


def test_a_clock_set_since_the_machine_started(tmp_path: Path) -> None:
    write(tmp_path, "run/systemd/timesync/synchronized", "")
    assert Board(tmp_path, "").synchronised() is True


@pytest.mark.parametrize(
    ("bits", "now", "before"),
    [
        (0x0, [], []),
        (0x1, ["under-voltage"], []),
        (0x50005, ["under-voltage", "throttled"], []),  # what is now was before too: said once
        (0x50000, [], ["under-voltage", "throttled"]),
        (0xE0008, ["soft temperature limit"], ["clock capped", "throttled"]),
        (0xF0000, [], ["under-voltage", "clock capped", "throttled", "soft temperature limit"]),
    ],
)
def test_bits_in_words(bits: int, now: list[str], before: list[str]) -> None:
    assert throttle_words(bits) == (now, before)


@given(st.integers(0, 2**32 - 1))
def test_every_bit_is_said_once_and_no_other(bits: int) -> None:
    now, before = throttle_words(bits)
    said = {word for bit, word in enumerate(THROTTLED) if bits & (0x10001 << bit)}
    assert sorted(now + before) == sorted(said)


STAT = """cpu  100 0 50 800 50 0 0 200 20 0
cpu0 60 10 20 300 40 5 5 160 20 0
cpu1 40 0 30 490 0 0 0 40 0 0
intr 1 2
"""


def test_what_processors_have_done(pi: Board) -> None:
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    assert pi.cpu_times() is None
    write(pi.root, "proc/stat", STAT)
    # cpu0: 60 + 10 + 20 + 5 + 5 at work, 160 taken, 340 idle; cpu1: 70, 40, 490.
    assert pi.cpu_times([0]) == pytest.approx((100 * tick_s, 160 * tick_s, 600 * tick_s))
    assert pi.cpu_times() == pytest.approx((170 * tick_s, 200 * tick_s, 1200 * tick_s))
    assert pi.cpu_times([7]) is None
    write(pi.root, "proc/stat", "cpu0 1 2 3\n")
    assert pi.cpu_times() is None


def test_the_highest_clock_of_those_asked_for(pi: Board) -> None:
    write(pi.root, "sys/devices/system/cpu/cpu3/cpufreq/scaling_cur_freq", "1800000\n")
    bare = Board(pi.root, "")
    assert (bare.clock_mhz((0, 1, 3)), bare.clock_mhz((1,))) == (1800.0, None)


def test_an_intel_processor_counts_when_it_was_too_hot(pi: Board) -> None:
    assert pi.throttle_events() is None
    for cpu, count in enumerate((2, 3)):
        write(pi.root, f"sys/devices/system/cpu/cpu{cpu}/thermal_throttle/core_throttle_count", f"{count}\n")
    assert pi.throttle_events() == 5


def test_energy_is_that_of_the_packages(pi: Board) -> None:
    assert pi.energy() == {}
    for zone, name, spent in (
        ("0", "package-0", 900),
        ("0:0", "core", 500),
        ("1", "psys", 2000),
        ("2", "package-1", 7),
    ):
        write(pi.root, f"sys/class/powercap/intel-rapl:{zone}/name", name)
        write(pi.root, f"sys/class/powercap/intel-rapl:{zone}/energy_uj", str(spent))
        write(pi.root, f"sys/class/powercap/intel-rapl:{zone}/max_energy_range_uj", "1000")
    before = pi.energy()
    assert before == {"intel-rapl:0": EnergyCounter(900, 1000), "intel-rapl:2": EnergyCounter(7, 1000)}
    write(pi.root, "sys/class/powercap/intel-rapl:0/energy_uj", "50")  # began again at 1000
    write(pi.root, "sys/class/powercap/intel-rapl:2/energy_uj", "27")
    assert energy_spent_j(before, pi.energy()) == pytest.approx(170e-6)
    assert energy_spent_j({}, {}) is None


@pytest.mark.parametrize(
    "says",
    [
        # As a Raspberry Pi 5 writes it; EXT5V has a voltage alone.
        " 3V3_SYS_A current(1)=0.05000000A\\n VDD_CORE_A current(7)=2.00000000A\\n"
        " 3V3_SYS_V volt(9)=3.30000000V\\n VDD_CORE_V volt(15)=0.90000000V\\n EXT5V_V volt(24)=5.10000000V",
        "3V3_SYS_A=0.05A\\nVDD_CORE_A=2.0A\\n3V3_SYS_V=3.3V\\nVDD_CORE_V=0.9V",
    ],
)
def test_power_of_all_rails(pi: Board, says: str) -> None:
    assert pi.power_w() is None
    tool(Path(pi.path or ""), "vcgencmd", f"printf '{says}\\n'")
    assert pi.power_w() == pytest.approx(0.05 * 3.3 + 2.0 * 0.9)
