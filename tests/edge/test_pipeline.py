from datetime import datetime, timezone
from itertools import islice

import cv2
import numpy as np
import pytest

from digitcam.core import glyphs
from digitcam.core.boxes import iou
from digitcam.core.bundle import open_bundle
from digitcam.core.canvas import draw_glyphs, lay_out, random_number, rng_for
from digitcam.core.errors import ConfigError
from digitcam.core.formats import FORMATS
from digitcam.edge.pipeline import Reader, image_reader
from digitcam.edge.sources import Frame, open_source


def frame(image: np.ndarray) -> Frame:
    return Frame(image, datetime.now(timezone.utc), 0, "test", 1.5)


@pytest.mark.parametrize("format", FORMATS)
def test_a_drawn_number_is_read_and_located(format: str) -> None:
    sample = draw_glyphs("30718", rng_for(11, 5, 0))
    (reading,) = Reader(open_bundle("canvas"), format).read(frame(sample.image))
    assert reading.number == "30718" and reading.accepted and reading.reason == ""
    assert [digit.value for digit in reading.digits] == list("30718")
    assert iou(np.array(reading.box), sample.box_xywh) > 0.85
    assert reading.model.format == format and len(reading.model.sha256) == 64
    times = reading.latency_ms
    assert times.capture == 1.5
    assert times.total == pytest.approx(times.capture + times.preprocess + times.inference + times.decode, abs=0.01)


def test_no_number_gives_one_empty_reading() -> None:
    (reading,) = Reader(open_bundle("canvas")).read(frame(np.zeros((48, 64, 3), np.uint8)))
    assert (reading.number, reading.accepted, reading.reason, reading.confidence) == ("", False, "no_number", 0.0)


def test_the_last_accepted_number_is_remembered() -> None:
    reader = Reader(open_bundle("canvas"))
    images = [draw_glyphs(number, rng_for(11, 5, i)).image for i, number in enumerate(["12", "345"])]
    images.insert(1, np.zeros((128, 256), np.uint8))
    assert [reader.read(frame(image))[0].previous for image in images] == [None, "12", "12"]


def test_the_acceptance_threshold_counts() -> None:
    image = draw_glyphs("12", rng_for(11, 5, 0)).image
    reading = Reader(open_bundle("canvas"), accept=1.0).read(frame(image))[0]
    assert (reading.number, reading.accepted, reading.reason) == ("12", False, "low_confidence")


def test_two_numbers_are_two_readings() -> None:
    image = np.zeros((128, 256), np.uint8)
    for top, number in ((0, "204"), (72, "7")):
        rng = rng_for(11, 5, top)
        tiles = [glyphs.draw(int(digit), 28, rng, 0.3) for digit in number]
        image[top : top + 56] = lay_out(tiles, number, 56, 256, rng).image
    found = [reading.number for reading in Reader(open_bundle("canvas")).read(frame(image))]
    assert found == ["204", "7"]


def test_demo_frames_are_read() -> None:
    """The share `make demo` promises, on its 200 frames, with the network it uses."""
    reader = Reader(open_bundle("canvas"), "int8.tflite")
    with open_source("demo:") as source:
        right = sum(reader.read(f)[0].number == f.truth for f in islice(source, 200))
    assert right / 200 >= 0.97


def test_a_closer_look_reads_small_digits() -> None:
    """Digits of 60 pixels in a frame of 1280x640 are 12 in the input."""
    bundle = open_bundle("digitcam-s")
    once, closer = Reader(bundle, "int8.tflite", close_up=False), Reader(bundle, "int8.tflite")
    right, boxes = [0, 0], []
    for i in range(12):
        rng = rng_for(3, 9, i)
        number, font = random_number((5, 5), rng), int(rng.integers(glyphs.tiles().shape[1]))
        tiles = [glyphs.warp(glyphs.tiles()[int(digit), font], 60, 0.3, rng) for digit in number]
        sample = lay_out(tiles, number, 640, 1280, rng)
        for place, reader in enumerate((once, closer)):
            reading = reader.read(frame(sample.image))[0]
            right[place] += reading.number == number
        boxes.append(float(iou(np.array(reading.box), sample.box_xywh)))
    assert right[1] >= right[0] + 3
    # It is placed in the frame, not in the part looked at.
    assert np.median(boxes) > 0.6


def test_images_of_the_inputs_size_are_read_in_grey_and_colour() -> None:
    read = image_reader(open_bundle("canvas"), "int8.onnx")
    sample = draw_glyphs("4096", rng_for(11, 5, 0))
    ((grey,),), ((colour,),) = read([sample.image]), read([cv2.cvtColor(sample.image, cv2.COLOR_GRAY2BGR)])
    assert grey.number == "4096" and colour == grey


def test_images_of_another_size_are_refused_and_not_scrambled() -> None:
    bundle = open_bundle("canvas")
    # As many pixels as the input has.
    with pytest.raises(ConfigError, match=r"canvas: reads images of 256x128, these are of 128x256: name a data set"):
        image_reader(bundle, "int8.onnx")([np.zeros((256, 128), np.uint8)])
