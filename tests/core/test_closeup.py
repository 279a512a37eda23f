from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from digitcam.core.arrays import UInt8Array
from digitcam.core.card import GridHead, Input, SlotsHead
from digitcam.core.closeup import around, read, surer
from digitcam.core.decode import Digit, Line

SPEC, HEAD = Input(height=128, width=256), GridHead(stride=8, close_up=54)


def line(number: str, x: float, y: float, size: float, confidence: float = 0.9) -> Line:
    """Digits half as wide as high, side by side."""
    boxes = [(x + i * size / 2, y, size / 2, size) for i in range(len(number))]
    return Line(tuple(Digit(value, confidence, box) for value, box in zip(number, boxes, strict=True)))


def test_around_by_hand() -> None:
    # 1024x512 is four times the input, so digits of 108 would be 27 there; enlarged to 54 each frame pixel is half an
    # input pixel, and the input shows 512x256 of them. The number's centre is (527, 254).
    assert around(line("42", 473, 200, 108), 512, 1024, SPEC, 54) == (271, 126, 512, 256)
    # At the frame's edge it moves inside.
    assert around(line("42", 0, 0, 108), 512, 1024, SPEC, 54) == (0, 0, 512, 256)
    assert around(line("42", 910, 400, 108), 512, 1024, SPEC, 54) == (512, 256, 512, 256)


def test_a_long_number_is_as_large_as_fits() -> None:
    # 16 digits of 40x80 are 640 wide: with half a digit's height at each end 720 of the frame's pixels are 256.
    left, top, width, height = around(line("1" * 16, 100, 300, 80), 720, 1280, SPEC, 54) or (0, 0, 0, 0)
    assert (left, width, height) == (60, 720, 360) and top == 160


def test_a_frame_of_other_proportions() -> None:
    # 640x480 is 171x128 in the input, which has borders to spare: at a third instead of 4/15 it shows 768x384.
    assert around(line("7", 300, 190, 102), 480, 640, SPEC, 34) == (0, 49, 640, 384)
    # And at two thirds 384x192 around (326, 241).
    assert around(line("7", 300, 190, 102), 480, 640, SPEC, 68) == (134, 145, 384, 192)


@pytest.mark.parametrize(("size", "closer"), [(50, False), (49, True), (110, False)])
def test_what_is_large_already_is_not_looked_at_again(size: int, closer: bool) -> None:
    # 54 / 49 is 1.102, and 1.1 is worth it.
    assert (around(line("12", 90, 8, size), 128, 256, SPEC, 54) is not None) == closer


@given(
    st.integers(1, 2000),
    st.integers(1, 2000),
    st.floats(-300, 2300),
    st.floats(-300, 2300),
    st.floats(0.1, 900),
    st.integers(1, 12),
)
def test_the_part_lies_inside(height: int, width: int, x: float, y: float, size: float, digits: int) -> None:
    part = around(line("8" * digits, x, y, size), height, width, SPEC, 54)
    if part:
        left, top, wide, high = part
        assert left >= 0 and top >= 0 and wide >= 1 and high >= 1
        assert left + wide <= width and top + high <= height


def test_the_surer_look_stands() -> None:
    first, near, far = line("12", 10, 10, 20, 0.6), line("18", 11, 10, 20, 0.7), line("99", 100, 10, 20, 0.9)
    assert surer([first, far], [far, near]) == [near, far]
    assert surer([first, far], [line("18", 11, 10, 20, 0.5)]) == [first, far]
    # What stands elsewhere says nothing about the number, and neither does nothing.
    assert surer([first], [far]) == [first]
    assert surer([first], []) == [first]


def test_parts_of_the_number_go() -> None:
    # At first it fell into 12 and 34; from near it is one, twice as wide.
    halves, whole = [line("12", 10, 10, 20, 0.6), line("34", 30, 10, 20, 0.6)], line("1234", 10, 10, 20, 0.9)
    other = line("5", 200, 10, 20)
    assert surer([*halves, other], [whole]) == [whole, other]


class Looks:
    """A look that finds, in images as wide as the frame, one set of numbers, and in narrower ones another."""

    def __init__(self, far: list[Line], near: list[Line]) -> None:
        self.far, self.near = far, near
        self.sizes: list[tuple[int, ...]] = []

    def __call__(self, images: Sequence[UInt8Array]) -> list[list[Line]]:
        self.sizes += [image.shape for image in images]
        return [self.far if image.shape[1] == 1024 else self.near for image in images]


def test_the_closer_look_is_told_in_the_frames_pixels() -> None:
    # The part is (271, 126, 512, 256), as above.
    look = Looks([line("42", 473, 200, 108, 0.5)], [line("43", 200, 70, 110, 0.8)])
    ((found,),) = read([np.zeros((512, 1024, 3), np.uint8)], look, SPEC, HEAD)
    assert (found.number, found.box_xywh) == ("43", (471, 196, 110, 110))
    assert look.sizes == [(512, 1024, 3), (256, 512, 3)]


def test_each_image_has_its_own_part() -> None:
    """The part shows what lies around the number, not a like-sized part elsewhere."""
    image = np.arange(512, dtype=np.uint32)[:, None].repeat(1024, 1).astype(np.uint16)
    seen = []

    def look(images: Sequence[UInt8Array]) -> list[list[Line]]:
        seen.append([int(image[0, 0]) for image in images])
        return [[line("42", 473, 100 + 200 * i, 108)] for i, _ in enumerate(images)]

    read([image, image, image[:, ::-1]], look, SPEC, HEAD)  # type: ignore[list-item]
    # Tops: centres 154, 354 and 554, which is outside, less 128, and kept inside.
    assert seen == [[0, 0, 0], [26, 226, 256]]


@pytest.mark.parametrize("head", [GridHead(stride=8), SlotsHead(positions=5)])
def test_without_close_up_there_is_one_look(head: GridHead | SlotsHead) -> None:
    look = Looks([line("42", 473, 200, 108)], [line("43", 200, 70, 110)])
    ((found,),) = read([np.zeros((512, 1024), np.uint8)], look, SPEC, head)
    assert found.number == "42" and len(look.sizes) == 1


def test_nothing_found_is_not_looked_at_again() -> None:
    look = Looks([], [line("43", 200, 70, 110)])
    assert read([np.zeros((512, 1024), np.uint8)], look, SPEC, HEAD) == [[]]
    assert read([], look, SPEC, HEAD) == []
    assert len(look.sizes) == 1
