import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from digitcam.core.card import Input
from digitcam.core.preprocess import fit, letterbox

SPEC = Input(height=128, width=256)
sides = st.integers(1, 2000)


def test_a_frame_of_the_inputs_size_is_taken_as_it_is() -> None:
    frame = np.arange(128 * 256, dtype=np.uint32).reshape(128, 256).astype(np.uint8)
    tensor, placement = letterbox(frame, SPEC)
    assert tensor.shape == (1, 128, 256, 1) and tensor.dtype == np.uint8
    assert (tensor[0, :, :, 0] == frame).all()
    assert placement == (1, 1, 0, 0)


def test_a_vga_frame_stands_in_the_middle() -> None:
    # 640x480 into 256x128: scale 128/480, 171 px wide (170.67 rounded), 42 px left of it.
    tensor, placement = letterbox(np.full((480, 640, 3), 200, np.uint8), Input(height=128, width=256, fill=7))
    assert placement == pytest.approx((171 / 640, 128 / 480, 42, 0))
    assert (tensor[0, :, :42] == 7).all() and (tensor[0, :, 213:] == 7).all()
    assert (tensor[0, :, 42:213] == 200).all()


def test_boxes_map_both_ways_by_hand() -> None:
    _, placement = letterbox(np.zeros((256, 512), np.uint8), SPEC)
    assert placement.to_input(np.float32([100, 50, 40, 20])).tolist() == [50, 25, 20, 10]
    assert placement.to_frame((50, 25, 20, 10)) == (100, 50, 40, 20)


def test_grey_goes_into_a_colour_input() -> None:
    tensor, _ = letterbox(np.full((128, 256), 9, np.uint8), Input(height=128, width=256, channels=3))
    assert tensor.shape == (1, 128, 256, 3) and (tensor == 9).all()


def test_shrinking_averages_area() -> None:
    stripes = np.zeros((256, 512), np.uint8)
    stripes[:, ::2] = 200
    tensor, _ = letterbox(stripes, SPEC)
    assert (tensor == 100).all()


@given(sides, sides)
def test_the_frame_fits_and_touches_two_sides(height: int, width: int) -> None:
    placement, (h, w) = fit(height, width, SPEC)
    assert 1 <= h <= 128 and 1 <= w <= 256
    assert h == 128 or w == 256
    assert 0 <= placement.offset_y <= 128 - h and 0 <= placement.offset_x <= 256 - w


@given(sides, sides, st.lists(st.floats(0, 500, width=32), min_size=4, max_size=4))
def test_mapping_and_its_inverse(height: int, width: int, box: list[float]) -> None:
    placement, _ = fit(height, width, SPEC)
    x, y, w, h = placement.to_input(np.float32(box)).tolist()
    np.testing.assert_allclose(placement.to_frame((x, y, w, h)), box, rtol=1e-3, atol=2e-2 * max(height, width))


@pytest.mark.parametrize("frame", [np.zeros((4, 4), np.float32), np.zeros((0, 4), np.uint8), np.zeros(4, np.uint8)])
def test_what_is_no_frame(frame: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a frame is uint8"):
        letterbox(frame, SPEC)
