"""What a device's facts mean before anything is changed on it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

from digitcam.core.errors import ConfigError, SinkError, SourceError
from digitcam.edge.config import RunConfig
from digitcam.edge.config.mqtt import Mqtt
from digitcam.flash.payload import Payload, Requires
from digitcam.flash.preflight import check_room, config_for, look_at, settle, target_of

PI: dict[str, Any] = {
    "machine": "aarch64",
    "python": "3.13",
    "glibc": "2.41",
    "memory_mb": 416,
    "disk_free_mb": 9000,
    "clock": {"unix_s": 1000, "synchronised": True},
    "systemd": "257",
    "current": None,
    "cameras": {"video0": "unicam"},
    "picamera2": True,
    "numpy": "2.2.4",
}
# What a Pi 4 and a Pi 5 have without any camera, by /sys/class/video4linux/*/name.
PI4 = {
    "video10": "bcm2835-codec-decode",
    "video13": "bcm2835-isp-output0",
    "video14": "bcm2835-isp-capture0",
    "video19": "rpi-hevc-dec",
    "video31": "bcm2835-codec-encode_image",
}
PI5 = {"video19": "rpivid", "video20": "pispbe-input", "video27": "pispbe-config"}
CSI, USB = RunConfig(source="picamera2://0"), RunConfig(source="v4l2:///dev/video0?width=640")
CODEC = RunConfig(source="v4l2:///dev/video10")
TLS = RunConfig(source="demo:", mqtt=Mqtt(host="b"))


@pytest.mark.parametrize(
    ("config", "changes", "error", "said"),
    [
        (CSI, {"machine": "armv7l"}, ConfigError, r"architecture: armv7l, .*: put a 64-bit system on it"),
        (CSI, {"python": "3.9"}, ConfigError, r"Python: 3\.9: digitcam runs on 3\.10 to 3\.13"),
        (CSI, {"systemd": None}, ConfigError, r"systemd: there is none"),
        (CSI, {"memory_mb": 100}, ConfigError, r"memory: 100 MB, 200 MB are needed"),
        (CSI, {"disk_free_mb": 12}, SinkError, r"disk: 12 MB are free, 300 MB are needed: make room"),
        (CSI, {"picamera2": False}, ConfigError, r"camera: .*apt install --no-install-recommends python3-picamera2"),
        (CSI, {"cameras": {}}, SourceError, r"camera: none is found: see its cable"),
        (CSI, {"cameras": PI4}, SourceError, r"camera: none is found: see its cable"),
        (CSI, {"cameras": PI5}, SourceError, r"camera: none is found: see its cable"),
        (USB, {"cameras": {"video2": "cam"}}, SourceError, r"/dev/video0 is none; there are: video2 \(cam\)"),
        (CODEC, {"cameras": PI4}, SourceError, r"/dev/video10 is none; there are: none: mend source"),
        (TLS, {"clock": {"unix_s": 0}}, ConfigError, r"clock: 100000 s behind .*timedatectl set-ntp true"),
    ],
)
def test_what_stops_it(config: RunConfig, changes: dict[str, Any], error: type[Exception], said: str) -> None:
    looks = look_at({**PI, **changes}, config, now_s=100_000 if "clock" in changes else 1000)
    assert sum(look.error is not None for look in looks) == 1
    with pytest.raises(error, match=said + r".*: nothing was changed$"):
        settle(looks)


def test_a_device_that_is_right() -> None:
    for config in (CSI, USB, TLS):
        looks = look_at(PI, config, now_s=1030)
        settle(looks)
        assert [look.what for look in looks] == [
            "architecture",
            "Python",
            "systemd",
            "memory",
            "disk",
            "clock",
            "camera",
        ]
    assert look_at(PI, CSI, now_s=2000)[5].line == (
        "  ok     clock: 1000 s behind this machine's; readings will carry its time"
    )


def test_several_faults_are_counted() -> None:
    with pytest.raises(ConfigError, match=r"^Python: .* \(and 1 more, see above\): nothing was changed$"):
        settle(look_at({**PI, "python": "3.9", "disk_free_mb": 0}, CSI, now_s=1000))


def test_room_for_a_first_flash_and_for_another_that_may_share_with_it() -> None:
    for current, free_mb, short in ((None, 299, 300), ("a", 19, 20), ("a", 20, None)):
        (disk,) = (
            look
            for look in look_at({**PI, "current": current, "disk_free_mb": free_mb}, CSI, now_s=1000)
            if look.what == "disk"
        )
        assert str(disk.error or "") == (f"{free_mb} MB are free, {short} MB are needed: make room" if short else "")


def test_room_for_a_payload(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "wheels").mkdir()
    (tmp_path / "model/model.int8.tflite").write_bytes(bytes(3_000_000))
    with zipfile.ZipFile(tmp_path / "wheels/large-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("large", "")
        wheel.filelist[0].file_size = 100_000_000  # what its list says
    files = {"model/model.int8.tflite": "0" * 64, "wheels/large-1-py3-none-any.whl": "1" * 64}
    requires = Requires("aarch64", "3.13", False)
    made = Payload(id="0" * 12, digitcam="0.1.0", model="canvas", requires=requires, files=files)
    missing = {"model/model.int8.tflite": "0" * 64}
    # 3 sent, 3 in the slot, 20 spare; and the wheel unpacked, 1.3 times 100, where no slot has it.
    for shared, need_mb in ((False, 156), (True, 26)):
        check_room({"disk_free_mb": need_mb}, made, tmp_path, missing, shared)
        with pytest.raises(SinkError, match=f"{need_mb - 1} MB are free, {need_mb} MB are needed: make room"):
            check_room({"disk_free_mb": need_mb - 1}, made, tmp_path, missing, shared)


def test_wheels_are_for_what_the_device_has() -> None:
    target = target_of({**PI, "numpy": "2.3.0"}, CSI, None, None)
    assert (target.glibc, target.system_packages, target.numpy) == (41, True, "2.3.0")
    assert target_of(PI, CSI, None, "2.2.9").numpy == "2.2.9"
    # GStreamer's Python does not use numpy.
    assert target_of(PI, RunConfig(source="gst:videotestsrc"), None, None).numpy is None
    assert target_of({**PI, "glibc": None}, USB, None, None).system_packages is False


def test_a_configuration_where_none_is_given() -> None:
    for cameras in (PI4 | {"video0": "unicam-image"}, PI5 | {"video0": "rp1-cfe-csi2_ch0"}):
        assert config_for({**PI, "cameras": cameras}) == 'source = "picamera2://0"\n'
    with pytest.raises(ConfigError, match=r"there are: /dev/video0 \(cam\): say it with --config"):
        config_for({**PI, "picamera2": False, "cameras": {"video0": "cam"}})
    # picamera2 alone makes no CSI camera, nor does a codec.
    with pytest.raises(ConfigError, match=r"there are: /dev/video0 \(cam\): say it with --config"):
        config_for({**PI, "cameras": PI4 | {"video0": "cam"}})
