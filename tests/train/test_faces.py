from __future__ import annotations

import cv2
import numpy as np
import pytest

from digitcam.train.faces import (
    CHARACTERS,
    DIGIT,
    Glyph,
    Segments,
    crop,
    dot_matrix,
    font_count,
    handwriting,
    set_line,
    seven_segments,
    typeface,
)

PLAIN = Segments(thick=0.1, gap=0.02, wide=0.5, lean=0.0, round_ends=False, tails=True, hook=False, ghost=0.0)


def test_crops_to_the_ink() -> None:
    ink = np.zeros((10, 12), np.uint8)
    ink[3:7, 5:8] = 200
    glyph = crop(ink, left=-2, top=-9, advance=11.0)
    assert glyph.ink.shape == (4, 3)
    assert (glyph.left, glyph.top, glyph.advance) == (3, -6, 11.0)


def test_the_sheet_has_a_hundred_fonts_of_like_height() -> None:
    assert font_count() >= 100
    for font in range(font_count()):
        zero = typeface(font)("0")
        assert abs(zero.ink.shape[0] - DIGIT) <= 3
        assert len({typeface(font)(character).ink.tobytes() for character in CHARACTERS}) == len(CHARACTERS)


def blocks(character: str) -> Glyph:
    """A face of full blocks: the 1 is 10 wide, all others 20, each followed by 5."""
    width = 10 if character == "1" else 20
    return Glyph(np.full((DIGIT, width), 255, np.uint8), 0, -DIGIT, width + 5.0)


def test_sets_a_line_by_hand() -> None:
    # Half of 40 px: advances 12.5, 7.5, 12.5 and 2 px of tracking each put the pens at 0, 14.5, 24.
    line = set_line("213", blocks, 20, 0.1)
    assert line.boxes_xywh.tolist() == [[0, 0, 10, 20], [14, 0, 5, 20], [24, 0, 10, 20]]
    assert line.ink.shape == (20, 34)
    columns = line.ink.max(axis=0)
    assert (columns[:10] == 255).all() and (columns[10:14] == 0).all() and (columns[14:19] == 255).all()


def test_a_seven_may_have_a_hook() -> None:
    plain, hooked = (seven_segments(PLAIN._replace(hook=hook)) for hook in (False, True))
    # The upper left segment: the first columns below the top one.
    assert not plain("7").ink[8:18, :3].any() and hooked("7").ink[8:18, :3].any()
    assert all((plain(digit).ink == hooked(digit).ink).all() for digit in "01234568")


def test_spaces_and_letters_have_no_box() -> None:
    # The A's pen moves 25, the space 14.
    line = set_line("A 4", blocks, 40, 0.0)
    assert line.boxes_xywh.tolist() == [[39, 0, 20, 40]]


def lit(glyph: Glyph, x: float, y: float) -> bool:
    """Say whether a place, as a share of a whole digit's height from its top left, is inked."""
    column, row = round(x * DIGIT) - glyph.left, round(y * DIGIT) - DIGIT - glyph.top
    inside = 0 <= row < glyph.ink.shape[0] and 0 <= column < glyph.ink.shape[1]
    return bool(inside and glyph.ink[row, column] > 128)


# Top, top right, bottom right, bottom, bottom left, top left, middle: the middles of segments a to g.
PLACES = [(0.25, 0.05), (0.45, 0.28), (0.45, 0.72), (0.25, 0.95), (0.05, 0.72), (0.05, 0.28), (0.25, 0.5)]


@pytest.mark.parametrize(
    ("digit", "segments"),
    [
        ("0", "1111110"),
        ("1", "0110000"),
        ("2", "1101101"),
        ("3", "1111001"),
        ("4", "0110011"),
        ("5", "1011011"),
        ("6", "1011111"),
        ("7", "1110000"),
        ("8", "1111111"),
        ("9", "1111011"),
    ],
)
def test_segments_by_hand(digit: str, segments: str) -> None:
    glyph = seven_segments(PLAIN)(digit)
    assert [lit(glyph, x, y) for x, y in PLACES] == [segment == "1" for segment in segments]


def test_segments_without_tails_and_with_ghosts() -> None:
    six = seven_segments(PLAIN._replace(tails=False))("6")
    assert not lit(six, *PLACES[0])
    ghostly = seven_segments(PLAIN._replace(ghost=0.2))("1").ink
    assert 45 <= np.median(ghostly[(ghostly > 0) & (ghostly < 128)]) <= 55


def test_dots_by_hand() -> None:
    seven = dot_matrix(0.6, plain_zero=True, round_dots=False)("7").ink
    count, _ = cv2.connectedComponents((seven > 128).astype(np.uint8))
    # Five dots on top and one in each of six rows, none touching another; and the background.
    assert count - 1 == 11


@pytest.mark.mnist
def test_handwriting_is_of_the_digit_and_differs() -> None:
    face = handwriting("validation", np.random.default_rng(1))
    first, second = face("8"), face("8")
    assert first.ink.shape[0] == DIGIT
    assert first.ink.tobytes() != second.ink.tobytes()
