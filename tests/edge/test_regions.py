from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digitcam.core.arrays import UInt8Array
from digitcam.core.boxes import BoxXYWH
from digitcam.core.errors import ConfigError
from digitcam.edge.config import Region
from digitcam.edge.regions import corners_of, cut, views

few = settings(max_examples=60, deadline=None)


def region(**keys: object) -> Region:
    return Region(name="gas", **keys)  # type: ignore[arg-type]


def picture(width: int = 64, height: int = 48) -> UInt8Array:
    """Return an image in which each pixel differs from its neighbours."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 3 % 256, y * 5 % 256, (x + y) % 256], axis=-1).astype(np.uint8)


# Upright


@pytest.mark.parametrize("box", [(8, 12, 32, 24), (0.125, 0.25, 0.5, 0.5)])
def test_pixels_and_shares_cut_out_the_same(box: tuple[float, float, float, float]) -> None:
    image = picture()
    (view,) = views(image, (region(box=box),))
    assert view.region == "gas"
    assert (view.image == image[12:36, 8:40]).all()
    assert view.to_frame((1, 2, 3, 4)) == (9, 14, 3, 4)


def test_grey_frames_are_cut_too() -> None:
    image = picture()[..., 0]
    assert (views(image, (region(box=(1, 2, 3, 4)),))[0].image == image[2:6, 1:4]).all()
    assert views(image, (region(box=(1, 2, 30, 40), turn=90),))[0].image.shape == (40, 30)


def test_without_regions_the_frame_is_read_as_it_is() -> None:
    image = picture()
    (view,) = views(image, ())
    assert view.region == ""
    assert view.image is image
    assert view.to_frame((1, 2, 3, 4)) == (1, 2, 3, 4)


def test_several_regions_in_their_order_and_no_copy_where_none_is_needed() -> None:
    image = picture()
    found = views(image, tuple(Region(name=name, box=(x, 0, 8, 8)) for name, x in (("b", 8), ("a", 0))))
    assert [view.region for view in found] == ["b", "a"]
    assert all(np.shares_memory(view.image, image) for view in found)


def test_the_whole_frame_as_a_share() -> None:
    image = picture()
    assert (views(image, (region(box=(0, 0, 1, 1)),))[0].image == image).all()


# Turned


@pytest.mark.parametrize(
    ("turn", "rotation"),
    [(90, cv2.ROTATE_90_CLOCKWISE), (-90, cv2.ROTATE_90_COUNTERCLOCKWISE), (180, cv2.ROTATE_180)],
)
def test_a_pattern_turned_is_cut_out_as_it_was(turn: float, rotation: int) -> None:
    pattern = picture(20, 10)
    turned = cv2.rotate(pattern, rotation)
    height, width = turned.shape[:2]
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[8 : 8 + height, 30 : 30 + width] = turned
    # About the same centre, upright: 20 wide and 10 high.
    centre_x, centre_y = 30 + width / 2, 8 + height / 2
    (view,) = views(frame, (region(box=(centre_x - 10, centre_y - 5, 20, 10), turn=turn),))
    assert view.image.shape == pattern.shape
    # OpenCV's warp counts in 1/32 of a pixel.
    assert np.abs(view.image.astype(int) - pattern).max() <= 1


@pytest.mark.parametrize(("turn", "same"), [(0, True), (360, True), (-360, True), (180, False)])
def test_a_full_turn_is_none(turn: float, same: bool) -> None:
    assert (cut(region(box=(8, 12, 32, 24), turn=turn), 64, 48).slices is not None) == same


def test_corners_by_hand() -> None:
    # 40x20 about (50, 30), a quarter clockwise: its top left is then at the top right.
    corners = corners_of(region(box=(30, 20, 40, 20), turn=90), 100, 100)
    assert corners.round(9).tolist() == [[60, 10], [60, 50], [40, 50], [40, 10]]
    shares = corners_of(region(quad=((0.1, 0.2), (0.9, 0.2), (0.9, 0.5), (0.1, 0.5))), 200, 100)
    assert shares.tolist() == [[20, 20], [180, 20], [180, 50], [20, 50]]


def test_a_drawn_line_slants_no_more() -> None:
    # A bar from (20, 40) at 30 degrees, 60 long and 8 wide, white on black.
    bar = cv2.boxPoints(((46, 55), (60, 8), 30))
    frame = np.zeros((100, 100), np.uint8)
    cv2.fillPoly(frame, [bar.round().astype(np.int32)], 255)
    (view,) = views(frame, (region(box=(46 - 30, 55 - 15, 60, 30), turn=30),))
    rows = view.image.mean(axis=1)
    assert view.image.shape == (30, 60)
    assert (rows[13:17] > 240).all()
    assert (rows[:9] < 15).all() and (rows[21:] < 15).all()


def test_a_slanted_view_is_made_straight() -> None:
    pattern = np.full((40, 80), 60, np.uint8)
    pattern[10:30, 50:70] = 250
    quad = ((20, 10), (110, 30), (100, 90), (30, 70))
    straight = np.float32([[0, 0], [80, 0], [80, 40], [0, 40]])
    frame = cv2.warpPerspective(pattern, cv2.getPerspectiveTransform(straight, np.float32(quad)), (128, 100))
    (view,) = views(frame, (region(quad=quad),))
    # As wide as its longer side, 92.2, and as high as its longer side, 60.8 and 60.8.
    assert view.image.shape == (61, 92)
    back = cv2.resize(view.image, (80, 40), interpolation=cv2.INTER_AREA).astype(int)
    assert abs(back[20, 60] - 250) <= 2
    assert abs(back[20, 20] - 60) <= 2
    # The bright part's corners are where they were in the frame.
    x, y = 92 / 80, 61 / 40
    box = view.to_frame((50 * x, 10 * y, 20 * x, 20 * y))
    seen = cv2.boundingRect((frame > 160).astype(np.uint8))
    assert np.abs(np.subtract(seen, box)).max() <= 1.5


# The way back


@few
@given(
    st.tuples(st.floats(20, 60), st.floats(20, 60), st.floats(10, 60), st.floats(10, 60)),
    st.floats(-360, 360),
    st.tuples(*[st.floats(0, 0.5)] * 4),
)
def test_a_box_goes_back_to_where_its_corners_come_from(
    box: tuple[float, float, float, float], turn: float, inner: tuple[float, float, float, float]
) -> None:
    one = cut(region(box=box, turn=turn), 160, 160)
    width, height = one.size
    x, y, w, h = inner[0] * width, inner[1] * height, inner[2] * width + 1e-3, inner[3] * height + 1e-3
    corners = np.array([[x, y, 1], [x + w, y, 1], [x + w, y + h, 1], [x, y + h, 1]])
    back = corners @ np.linalg.inv(one.matrix).T
    points = back[:, :2] / back[:, 2:]
    low, high = points.min(axis=0), points.max(axis=0)
    assert np.allclose(one.to_frame((x, y, w, h)), [*low, *(high - low)], atol=1e-6)
    # The whole of the cut-out image goes back to the region's corners, or where whole pixels are cut, near them.
    left, top, wide, high_ = one.to_frame((0, 0, width, height))
    given_ = corners_of(region(box=box, turn=turn), 160, 160)
    assert np.allclose((left, top), given_.min(axis=0), atol=1.01 if one.slices else 2e-2)
    assert np.allclose((left + wide, top + high_), given_.max(axis=0), atol=1.01 if one.slices else 2e-2)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0, 0, 40, 20), (20, 0, 20, 40)),
        ((0, 0, 10, 20), (20, 0, 20, 10)),
        ((30, 0, 10, 20), (20, 30, 20, 10)),
        ((0, 0, 40, 5), (35, 0, 5, 40)),
    ],
)
def test_a_quarter_turn_by_hand(box: BoxXYWH, expected: BoxXYWH) -> None:
    # Turned by a quarter about (30, 20): x goes down from y = 0, y goes left from x = 40.
    one = cut(region(box=(10, 10, 40, 20), turn=90), 64, 64)
    assert one.to_frame(box) == pytest.approx(expected, abs=1e-4)


# Out of the frame


@pytest.mark.parametrize(
    "keys",
    [
        {"box": (40, 0, 26, 10)},
        {"box": (0, 40, 10, 10)},
        {"box": (100, 100, 10, 10), "turn": 45},
        {"quad": ((70, 0), (90, 0), (90, 20), (70, 20))},
        # Partly in the frame, but more than there is memory for.
        {"box": (0, 0, 9e4, 9e4), "turn": 45},
        {"quad": ((0, 0), (9e4, 0), (9e4, 9e4), (0, 9e4))},
    ],
)
def test_a_region_out_of_the_frame_is_told(keys: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"^regions: gas reaches out of the 64x48 frame: draw it anew$"):
        views(picture(), (region(**keys),))


def test_a_pixel_more_is_no_matter_and_turned_corners_may_stick_out() -> None:
    image = picture()
    assert (views(image, (region(box=(40.4, 0, 24.6, 48.9)),))[0].image == image[:, 40:]).all()
    (view,) = views(image, (region(box=(0, 0, 1, 1), turn=90),))
    assert view.image.shape == (48, 64, 3)
    # Above and below there is nothing: 64 long from y = 24 - 32 on.
    assert not view.image[:, :7].any() and not view.image[:, -7:].any()
    assert view.image[24, 32].any()


def test_frames_of_another_size_are_cut_by_their_own() -> None:
    regions = (region(box=(0.5, 0, 0.5, 1)),)
    for width, height in ((64, 48), (128, 96), (64, 48)):
        image = picture(width, height)
        assert (views(image, regions)[0].image == image[:, width // 2 :]).all()
