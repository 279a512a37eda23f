import numpy as np

from digitcam.core import glyphs
from digitcam.core.canvas import draw_glyphs, lay_out, rng_for


def test_the_sheet_holds_ten_digits_in_many_fonts_each_different() -> None:
    tiles = glyphs.tiles()
    assert tiles.shape == (10, 3 * 21, glyphs.SIZE, glyphs.SIZE) and tiles.dtype == np.uint8
    assert tiles.reshape(10, -1).std(axis=1).min() > 30
    means = tiles.astype(np.float32).mean(axis=1)
    for a in range(10):
        for b in range(a):
            assert np.abs(means[a] - means[b]).mean() > 5, f"{a} and {b} look alike"


def test_ink_is_centred_as_in_mnist() -> None:
    plain = glyphs.tiles()[:, 21:42]
    for tile in plain.reshape(-1, glyphs.SIZE, glyphs.SIZE):
        rows, columns = np.nonzero(tile.any(axis=1))[0], np.nonzero(tile.any(axis=0))[0]
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == glyphs.INK
        assert abs(rows[0] + rows[-1] - (glyphs.SIZE - 1)) <= 1
        assert abs(columns[0] + columns[-1] - (glyphs.SIZE - 1)) <= 1


def test_without_strength_a_warp_only_resizes() -> None:
    tile = glyphs.tiles()[8, 30]
    same = glyphs.warp(tile, glyphs.SIZE, 0.0, rng_for(1, 1, 1))
    assert (same == tile).all()


def test_warps_move_ink_but_keep_it() -> None:
    tile = glyphs.tiles()[8, 30]
    warped = [glyphs.warp(tile, 28, 1.0, rng_for(1, 1, i)).astype(float) for i in range(20)]
    plain = glyphs.warp(tile, 28, 0.0, rng_for(1, 1, 0)).astype(float)
    assert all(np.abs(w - plain).mean() > 2 for w in warped)
    assert all(0.6 < w.sum() / plain.sum() < 1.5 for w in warped)


def test_images_come_again_from_their_seed_and_only_from_it() -> None:
    first = draw_glyphs("12345", rng_for(3, 0, 7))
    assert (draw_glyphs("12345", rng_for(3, 0, 7)).image == first.image).all()
    for other in (rng_for(4, 0, 7), rng_for(3, 1, 7), rng_for(3, 0, 8)):
        assert (draw_glyphs("12345", other).image != first.image).any()


def test_layout_by_hand() -> None:
    tiles = [np.full((4, 4), value, np.uint8) for value in (10, 20, 30)]
    sample = lay_out(tiles, "123", 4, 12, rng_for(1, 0, 0))
    assert sample.image[0].tolist() == [10] * 4 + [20] * 4 + [30] * 4
    assert sample.boxes_xywh.tolist() == [[0, 0, 4, 4], [4, 0, 4, 4], [8, 0, 4, 4]]
    assert sample.box_xywh.tolist() == [0, 0, 12, 4]
