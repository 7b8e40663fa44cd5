"""From a detector's box to the part of the frame that the network sees."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeemo.contract.crop import BOX, Crop, Region
from edgeemo.errors import InvalidInput


def square_of(crop: Crop, box: tuple[int, int, int, int]) -> tuple[int, int, int]:
    """(left, top, side) of the region for a square input."""
    region = crop.region(box, 48, 48)
    assert region.width == region.height
    return region.left, region.top, region.width


@pytest.mark.parametrize(
    ("crop", "box", "square"),
    [
        (Crop(), (10, 20, 48, 48), (10, 20, 48)),
        # 30 wide and 50 high: side 50, ten pixels to either side.
        (Crop(), (10, 20, 30, 50), (0, 20, 50)),
        (Crop(), (10, 20, 50, 30), (10, 10, 50)),
        # An odd difference: (31 - 50) / 2 = -9.5, downwards to -10.
        (Crop(), (10, 20, 31, 50), (0, 20, 50)),
        (Crop(scale_q10=2048), (100, 100, 40, 40), (80, 80, 80)),
        (Crop(scale_q10=512), (100, 100, 40, 40), (110, 110, 20)),
        # 50 * 1045 / 1024 = 51.03: side 51, (50 - 51) / 2 = -0.5, downwards to -1.
        (Crop(scale_q10=1045), (0, 0, 50, 50), (-1, -1, 51)),
        # 100 * 25 / 1024 = 2.44 -> 2; 500 * 25 / 1024 = 12.2 -> 12.
        (Crop(shift_y_q10=25), (0, 0, 100, 100), (0, 2, 100)),
        (Crop(shift_y_q10=25), (0, 0, 500, 500), (0, 12, 500)),
        # Half a pixel rounds up, to the right and to the left alike: 16 * 32 / 1024 = 0.5 -> 1,
        # -0.5 -> 0.
        (Crop(shift_x_q10=32), (0, 0, 16, 16), (1, 0, 16)),
        (Crop(shift_x_q10=-32), (0, 0, 16, 16), (0, 0, 16)),
        (Crop(shift_x_q10=-33), (0, 0, 16, 16), (-1, 0, 16)),
        (Crop(shift_y_q10=32), (0, 0, 16, 16), (0, 1, 16)),
        (Crop(shift_y_q10=-32), (0, 0, 16, 16), (0, 0, 16)),
        (Crop(shift_y_q10=-33), (0, 0, 16, 16), (0, -1, 16)),
        # The side rounds half up too: 2 * 256 / 1024 = 0.5 -> 1; one pixel stays one pixel.
        (Crop(scale_q10=256), (5, 5, 2, 2), (5, 5, 1)),
        (Crop(scale_q10=256), (5, 5, 1, 1), (5, 5, 1)),
        (Crop(), (-7, -9, 4, 6), (-8, -9, 6)),
    ],
)
def test_square_by_known_answers(
    crop: Crop, box: tuple[int, int, int, int], square: tuple[int, int, int]
) -> None:
    assert square_of(crop, box) == square


CROPS = st.builds(Crop, st.integers(256, 4096), st.integers(-1024, 1024), st.integers(-1024, 1024))
SIZES = st.integers(1, 5000)


@settings(deadline=None)
@given(CROPS, st.integers(-9999, 9999), st.integers(-9999, 9999), SIZES, SIZES)
def test_square_is_the_text_s_geometry_to_a_pixel(
    crop: Crop, x: int, y: int, width: int, height: int
) -> None:
    left, top, side = square_of(crop, (x, y, width, height))
    assert abs(side - max(width, height) * crop.scale_q10 / 1024) <= 0.5 or side == 1
    # Centre against centre, in real numbers: the floor costs up to half a pixel, the rounding of
    # the shift another half.
    assert abs(left + side / 2 - (x + width / 2 + side * crop.shift_x_q10 / 1024)) <= 1
    assert abs(top + side / 2 - (y + height / 2 + side * crop.shift_y_q10 / 1024)) <= 1


@settings(deadline=None)
@given(CROPS, SIZES, SIZES, st.integers(-999, 999), st.integers(-999, 999))
def test_a_moved_box_moves_its_square_alike(
    crop: Crop, width: int, height: int, dx: int, dy: int
) -> None:
    left, top, side = square_of(crop, (0, 0, width, height))
    assert square_of(crop, (dx, dy, width, height)) == (left + dx, top + dy, side)


@pytest.mark.parametrize(
    "fields",
    [
        {"scale_q10": 255},
        {"scale_q10": 4097},
        {"scale_q10": 0},
        {"scale_q10": -1024},
        {"shift_x_q10": 1025},
        {"shift_x_q10": -1025},
        {"shift_y_q10": 1025},
        {"shift_y_q10": -1025},
    ],
)
def test_a_crop_out_of_bounds_is_refused(fields: dict[str, int]) -> None:
    with pytest.raises(
        InvalidInput, match="expected a crop scale of 256 to 4096 and shifts of -1024 to 1024"
    ):
        Crop(**fields)


def test_the_bounds_themselves_are_allowed() -> None:
    assert square_of(Crop(256, -1024, 1024), (0, 0, 100, 100)) == (37 - 25, 37 + 25, 25)
    assert square_of(Crop(4096, 1024, -1024), (0, 0, 100, 100)) == (-150 + 400, -150 - 400, 400)


@pytest.mark.parametrize(
    ("box", "height", "width", "region"),
    [
        # As high as the box, and 96/112 of it wide, around its centre: 14 pixels off, 7 a side.
        ((0, 0, 112, 112), 112, 96, Region(8, 0, 96, 112)),
        ((0, 0, 112, 112), 96, 112, Region(0, 8, 112, 96)),
        # A box of the input's own shape is taken as it is.
        ((5, 6, 60, 80), 64, 48, Region(5, 6, 60, 80)),
        # 50 * 48 / 64 = 37.5 rounds up; (50 - 38) / 2 = 6.
        ((0, 0, 50, 50), 64, 48, Region(6, 0, 38, 50)),
        ((0, 0, 1, 1), 512, 8, Region(0, 0, 1, 1)),
    ],
)
def test_a_region_has_the_inputs_aspect(
    box: tuple[int, int, int, int], height: int, width: int, region: Region
) -> None:
    assert BOX.region(box, height, width) == region


INPUT_SIDES = st.integers(8, 512)


@settings(deadline=None)
@given(CROPS, SIZES, SIZES, INPUT_SIDES, INPUT_SIDES)
def test_a_regions_longer_side_is_the_squares_and_its_other_side_follows_to_half_a_pixel(
    crop: Crop, box_width: int, box_height: int, height: int, width: int
) -> None:
    box = (0, 0, box_width, box_height)
    region, (_, _, side) = crop.region(box, height, width), square_of(crop, box)
    assert max(region.width, region.height) == side
    shorter = side * min(height, width) / max(height, width)
    assert abs(min(region.width, region.height) - shorter) <= 0.5 or shorter < 1
    assert (region.width >= region.height) == (width >= height) or region.width == region.height
