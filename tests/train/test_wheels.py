from __future__ import annotations

import io
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from digitcam.core.errors import ConfigError, SourceError
from digitcam.train import wheels
from digitcam.train.data import data_set
from digitcam.train.faces import typeface
from digitcam.train.strips import cut_out_wheel, photographed_wheels


def write_archive(folder: Path, names: list[str]) -> Path:
    """Write an archive as the real one is, of flat grey pictures 20 px wide and 40 px high."""
    path = folder / "meter_digits" / "meter_digits.tar"
    path.parent.mkdir()
    _, encoded = cv2.imencode(".png", np.full((40, 20), 90, np.uint8))
    with tarfile.open(path, "w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = encoded.nbytes
            archive.addfile(member, io.BytesIO(encoded.tobytes()))
    return path


@pytest.mark.parametrize(
    ("position", "digit"), [(3.0, 3), (3.4, 3), (3.5, 3), (3.6, 4), (9.4, 9), (9.5, 9), (9.6, 0), (0.0, 0), (0.5, 0)]
)
def test_the_digit_nearest_to_the_window(position: float, digit: int) -> None:
    assert wheels.nearest_digit(position) == digit


def test_a_digit_rises_as_its_wheel_goes_on() -> None:
    # A tenth of a step is 0.055 of the photograph; below 9.9's 0, which has yet to arrive, one tenth down.
    assert wheels.Wheel(b"", 3.2).inside == pytest.approx((0.14, 0.18 - 0.11, 0.72, 0.64))
    assert wheels.Wheel(b"", 9.9).inside == pytest.approx((0.14, 0.18 + 0.055, 0.72, 0.64))
    assert wheels.Wheel(b"", 3.7).inside == pytest.approx((0.14, 0.18 + 0.165, 0.72, 0.64))


def test_meters_are_kept_apart_by_folder(data_folder: Path) -> None:
    train = [f"collected/watermeter/new/{i}.{i}_a.png" for i in range(10)] * 2
    held = [f"collected/powermeter/betar/1/{i % 10}.{i // 10}_b.png" for i in range(25)]
    few = ["collected/lcd/one/1.0_c.png"]
    write_archive(data_folder, [*train, *held, *few, "collected/watermeter/new/readme.txt"])
    assert [len(meter) for meter in wheels.meters("train")] == [20]
    assert [len(meter) for meter in wheels.meters("test")] == [25]
    assert wheels.meters("validation") == ()
    wheel = wheels.meters("train")[0][3]
    assert wheel.position == 3.3 and wheel.digit == 3
    assert wheel.image().shape == (40, 20)


def test_wheels_between_two_digits_are_not_measured(data_folder: Path) -> None:
    write_archive(data_folder, [f"collected/powermeter/betar/{d}.{t}_b.png" for d in (2, 9) for t in range(10)])
    data = data_set("wheels")
    # Tenths 4, 5 and 6 of either digit are left out; 7 to 9 show the next one.
    assert data.size("test") == 14
    assert [data.sample("test", i).number for i in range(14)] == list("2222333" + "9999000")
    sample = data.sample("test", 0)
    # 20x40 px fill 64x128 px in the middle of the frame.
    assert sample.image.shape == (128, 256)
    assert sample.image[:, 100].tolist() == [90] * 128 and sample.image[:, 90].max() == 0
    np.testing.assert_allclose(sample.boxes_xywh, [[96 + 0.14 * 64, 0.18 * 128, 0.72 * 64, 0.64 * 128]], rtol=1e-5)


def test_a_missing_archive_says_what_to_do(data_folder: Path) -> None:
    with pytest.raises(
        SourceError, match=r"meter_digits.tar: no such file: set DIGITCAM_DATA .* from https://github.* data.kinds"
    ):
        wheels.meters("train")


def test_a_damaged_archive_is_named(data_folder: Path) -> None:
    path = write_archive(data_folder, ["1.0_a.png"])
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(SourceError, match=r"meter_digits.tar: cannot be unpacked"):
        wheels.meters("train")


def test_a_drawn_wheel_rolls_upwards() -> None:
    face = typeface(0)
    clean = wheels.draw_wheel(face, 3.0, 30, 50, tall=31, pitch=47.5, ink=250, paper=20)
    half = wheels.draw_wheel(face, 3.5, 30, 50, tall=31, pitch=47.5, ink=250, paper=20)
    assert clean.shape == (50, 30)
    # A clean digit fills the middle; halfway the gap between two digits is there.
    assert clean[20:30].max() > 200
    assert half[24:26].max() < 60
    assert half[:14].max() > 150 and half[-14:].max() > 150


def test_wheels_are_varied_alike() -> None:
    wheel = np.full((80, 50), 180, np.uint8)
    wheel[15:65, 20:30] = 60  # a 1, dark on bright
    for seed in range(40):
        first, second = wheels.varied([wheel, wheel], np.random.default_rng(seed))
        assert first.dtype == np.uint8 and np.array_equal(first, second) and not np.array_equal(first, wheel)
        # An edge of the window hides at most 0.18 of the height, which is 14 rows.
        middle = first[20:60].astype(float)
        assert middle[:, 23:27].mean() < middle[:, 2:12].mean() - 15


def test_without_ink_only_the_tone_shifts() -> None:
    tones = {
        int(wheels.varied([np.full((80, 50), 100, np.uint8)], np.random.default_rng(i))[0][40, 25]) for i in range(60)
    }
    # 255 (100 / 255)^gamma with gamma from 0.6 to 1.7.
    assert 51 <= min(tones) < 65 and 135 < max(tones) <= 146


def test_only_training_varies_wheels(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = [f"collected/watermeter/new/{i}.0_{j}.png" for i in range(10) for j in "ab"]
    write_archive(data_folder, [*train, *(name.replace("new", "pp") for name in train)])
    rng, varied = np.random.default_rng(1), []
    monkeypatch.setattr(wheels, "varied", lambda images, _: varied.append(len(images)) or images)
    for kind in (photographed_wheels, cut_out_wheel):
        kind(40, 100, "validation", rng)
        assert not varied
    strip = photographed_wheels(40, 100, "train", rng)
    cut_out_wheel(40, 100, "train", rng)
    assert varied == [len(strip.number), 1]


def test_a_wheel_cut_out_is_nothing_but_its_photograph(data_folder: Path) -> None:
    write_archive(data_folder, [f"collected/watermeter/pp/7.0_{i}.png" for i in range(20)])
    strip = cut_out_wheel(32, 200, "validation", np.random.default_rng(1))
    # A digit 32 high stands in a photograph 32 / 0.64 high, half as wide: all of the flat grey 90.
    assert strip.grey.shape == (50, 25) and (strip.grey == 90).all() and (strip.cover == 255).all()
    assert strip.number == "7" and strip.detail == pytest.approx(0.64 * 40)
    np.testing.assert_allclose(strip.boxes_xywh, [[0.14 * 25, 0.18 * 50, 0.72 * 25, 0.64 * 50]], rtol=1e-6)


def test_date_codes_are_for_measuring_alone(data_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"say --split test"):
        data_set("datecodes").size("train")
    with pytest.raises(SourceError, match=r"datecodes.tar: no such file"):
        data_set("datecodes").size("test")
    _, encoded = cv2.imencode(".png", np.zeros((10, 20, 3), np.uint8))
    with tarfile.open(data_folder / "datecodes.tar", "w") as archive:
        for name in ("2017/2.jpg", "0117/1.jpg"):
            member = tarfile.TarInfo(name)
            member.size = encoded.nbytes
            archive.addfile(member, io.BytesIO(encoded.tobytes()))
    data = data_set("datecodes")
    assert [data.sample("test", i).number for i in range(data.size("test"))] == ["0117", "2017"]
    assert data.sample("test", 0).boxes_xywh.shape == (0, 4)
