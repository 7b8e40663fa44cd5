"""Contact sheets put each picture's very pixels where they belong."""

import cv2
import numpy as np
import pytest

from training.runs.sheets import contact_sheet, group_sheet, png

RNG = np.random.default_rng(0)
FACES = RNG.integers(0, 256, (7, 6, 6, 1), np.uint8)
GAP = 4


def tile(sheet: np.ndarray, row: int, column: int, side: int, caption: int = 0) -> np.ndarray:
    top, left = row * (side + caption + GAP), column * (side + GAP)
    return sheet[top : top + side, left : left + side]


@pytest.mark.parametrize("scale", [1, 3])
def test_every_picture_lies_in_reading_order_with_its_own_pixels(scale: int) -> None:
    sheet = contact_sheet(FACES, 3, scale=scale)
    for i in range(7):
        # Every scale-th pixel of the tile, from any start, is the picture.
        for start in range(scale):
            shown = tile(sheet, *divmod(i, 3), 6 * scale)[start::scale, start::scale]
            np.testing.assert_array_equal(shown, FACES[i, :, :, 0])


def test_what_no_picture_covers_is_white() -> None:
    sheet = contact_sheet(np.zeros((7, 6, 6), np.uint8), 3)
    assert (sheet == 0).sum() == 7 * 36
    assert (sheet == 255).sum() == sheet.size - 7 * 36


def test_groups_stand_in_rows_cut_at_the_columns() -> None:
    sheet = group_sheet(FACES, [[4], np.array([6, 0, 1, 2])], columns=3, scale=1)
    assert sheet.shape == (2 * 10, 3 * 10)
    np.testing.assert_array_equal(tile(sheet, 0, 0, 6), FACES[4, :, :, 0])
    assert (tile(sheet, 0, 1, 6) == 255).all()
    for column, i in enumerate([6, 0, 1]):
        np.testing.assert_array_equal(tile(sheet, 1, column, 6), FACES[i, :, :, 0])


def test_captions_stand_below_their_picture_and_not_in_others() -> None:
    sheet = contact_sheet(np.full((2, 48, 48, 1), 200, np.uint8), 2, ["surprise", ""])
    strips = sheet[48:63, :48], sheet[48:63, 52:100]
    assert (strips[0] < 100).any()
    assert (strips[1] == 255).all()
    assert (sheet[:48, :48] == 200).all()


def test_a_long_caption_shrinks_instead_of_running_into_the_next() -> None:
    sheet = contact_sheet(
        np.full((1, 48, 48, 1), 200, np.uint8), 1, ["a caption of far too many letters"]
    )
    assert (sheet[48:63, 48:] == 255).all()
    assert (sheet[48:63, 40:48] < 255).any()


def test_no_picture_is_a_blank_sheet() -> None:
    assert (contact_sheet(np.empty((0, 6, 6, 1), np.uint8), 3) == 255).all()


def test_png_keeps_every_pixel() -> None:
    sheet = contact_sheet(FACES, 4)
    np.testing.assert_array_equal(
        cv2.imdecode(np.frombuffer(png(sheet), np.uint8), cv2.IMREAD_UNCHANGED), sheet
    )
