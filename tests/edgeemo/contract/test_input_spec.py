"""Crop geometry and the input spec, whose fingerprint prepared data, runs and bundles carry."""

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeemo.contract import strict
from edgeemo.contract.input_spec import DEFAULT_SPEC, PREPROCESS_VERSION, Crop, InputSpec
from edgeemo.errors import InvalidInput

# What the shipped spec hashes to: the prepared data and bundles that exist carry this value. If it must change,
# PREPROCESS_VERSION or a field of the spec has changed on purpose, and data and bundles are to be made again.
DEFAULT_FINGERPRINT = "49e450d1a203e409"


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
        # Half a pixel rounds up, to the right and to the left alike: 16 * 32 / 1024 = 0.5 -> 1, -0.5 -> 0.
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
    assert crop.square(*box) == square


CROPS = st.builds(Crop, st.integers(256, 4096), st.integers(-1024, 1024), st.integers(-1024, 1024))
SIZES = st.integers(1, 5000)


@settings(deadline=None)
@given(CROPS, st.integers(-9999, 9999), st.integers(-9999, 9999), SIZES, SIZES)
def test_square_is_the_text_s_geometry_to_a_pixel(
    crop: Crop, x: int, y: int, width: int, height: int
) -> None:
    left, top, side = crop.square(x, y, width, height)
    assert abs(side - max(width, height) * crop.scale_q10 / 1024) <= 0.5 or side == 1
    # Centre against centre, in real numbers: the floor costs up to half a pixel, the rounding of the shift another half.
    assert abs(left + side / 2 - (x + width / 2 + side * crop.shift_x_q10 / 1024)) <= 1
    assert abs(top + side / 2 - (y + height / 2 + side * crop.shift_y_q10 / 1024)) <= 1


@settings(deadline=None)
@given(CROPS, SIZES, SIZES, st.integers(-999, 999), st.integers(-999, 999))
def test_a_moved_box_moves_its_square_alike(
    crop: Crop, width: int, height: int, dx: int, dy: int
) -> None:
    left, top, side = crop.square(0, 0, width, height)
    assert crop.square(dx, dy, width, height) == (left + dx, top + dy, side)


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
    assert Crop(256, -1024, 1024).square(0, 0, 100, 100) == (37 - 25, 37 + 25, 25)
    assert Crop(4096, 1024, -1024).square(0, 0, 100, 100) == (-150 + 400, -150 - 400, 400)


def test_the_default_spec_is_48x48_grey_with_pixels_mapped_to_minus_one_to_one() -> None:
    assert DEFAULT_SPEC.shape == (48, 48, 1)
    assert 0 * DEFAULT_SPEC.scale + DEFAULT_SPEC.offset == -1.0
    assert 255 * DEFAULT_SPEC.scale + DEFAULT_SPEC.offset == pytest.approx(1.0, abs=1e-12)
    assert DEFAULT_SPEC.preprocess == PREPROCESS_VERSION
    assert DEFAULT_SPEC.crop_for("whole") == Crop()
    assert set(DEFAULT_SPEC.crops) == {"haar", "whole", "yunet"}


def test_the_default_fingerprint_is_the_published_one() -> None:
    assert DEFAULT_SPEC.fingerprint() == DEFAULT_FINGERPRINT
    assert InputSpec().fingerprint() == DEFAULT_FINGERPRINT


OTHER = {
    "height/width": {"height": 64, "width": 64},
    "scale": {"scale": 1 / 255},
    "offset": {"offset": 0.0},
    "preprocess": {"preprocess": "other/2"},
    "one crop fewer": {"crops": {k: v for k, v in DEFAULT_SPEC.crops.items() if k != "haar"}},
    "another crop": {"crops": {**DEFAULT_SPEC.crops, "other": Crop()}},
    "a crop's scale": {"crops": {**DEFAULT_SPEC.crops, "whole": Crop(scale_q10=1025)}},
    "a crop's shift to the right": {"crops": {**DEFAULT_SPEC.crops, "whole": Crop(shift_x_q10=1)}},
    "a crop's shift down": {"crops": {**DEFAULT_SPEC.crops, "whole": Crop(shift_y_q10=1)}},
}


def test_the_fingerprint_changes_with_every_field() -> None:
    prints = {
        name: dataclasses.replace(DEFAULT_SPEC, **fields).fingerprint()
        for name, fields in OTHER.items()
    }
    prints["the default"] = DEFAULT_SPEC.fingerprint()
    assert len(set(prints.values())) == len(prints), prints
    changed = {field for fields in OTHER.values() for field in fields}
    # channels can only be 1.
    assert changed | {"channels"} == {field.name for field in dataclasses.fields(InputSpec)}


def test_the_fingerprint_does_not_depend_on_the_order_of_the_crops() -> None:
    turned = dataclasses.replace(DEFAULT_SPEC, crops=dict(reversed(DEFAULT_SPEC.crops.items())))
    assert list(turned.crops) != list(DEFAULT_SPEC.crops)
    assert turned.fingerprint() == DEFAULT_SPEC.fingerprint()


@pytest.mark.parametrize("fields", [{}, *OTHER.values()], ids=["the default", *OTHER])
def test_a_spec_survives_json(fields: dict[str, object]) -> None:
    spec = dataclasses.replace(DEFAULT_SPEC, **fields)  # type: ignore[arg-type]
    again = strict.from_dict(InputSpec, strict.loads(strict.dumps(spec.to_dict())), "spec")
    assert again == spec
    assert again.fingerprint() == spec.fingerprint()
    assert isinstance(again.crops["whole"], Crop)


def test_a_whole_number_in_json_is_the_same_spec() -> None:
    raw = json.loads(strict.dumps(DEFAULT_SPEC.to_dict()))
    raw["offset"] = -1  # as JavaScript would write it
    assert strict.from_dict(InputSpec, raw, "spec").fingerprint() == DEFAULT_FINGERPRINT


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"height": 47}, "square grey input"),
        ({"height": 7, "width": 7}, "8 to 512"),
        ({"height": 513, "width": 513}, "8 to 512"),
        ({"channels": 3}, "square grey input"),
        ({"height": 48.0}, "height: expected int"),
        ({"height": True}, "height: expected int"),
        ({"scale": "1"}, "scale: expected a number"),
        ({"preprocess": None}, "preprocess: expected str"),
        ({"crops": []}, "crops: expected an object"),
        (
            {"crops": {"whole": {"scale_q10": 1024, "shift_x_q10": 0}}},
            r"missing fields \['shift_y_q10'\]",
        ),
        (
            {"crops": {"whole": {"scale_q10": 0, "shift_x_q10": 0, "shift_y_q10": 0}}},
            "crop scale of 256 to 4096",
        ),
        ({"colour": "grey"}, r"unknown fields \['colour'\]"),
    ],
)
def test_a_wrong_spec_from_json_is_refused(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        strict.from_dict(InputSpec, {**DEFAULT_SPEC.to_dict(), **change}, "spec")


def test_an_unknown_detector_is_refused_and_the_known_ones_are_listed() -> None:
    with pytest.raises(InvalidInput, match=r"\(haar, whole, yunet\), received 'mtcnn'"):
        DEFAULT_SPEC.crop_for("mtcnn")


def test_specs_do_not_share_their_crops() -> None:
    one = InputSpec()
    one.crops["whole"] = Crop(scale_q10=512)
    assert InputSpec() == DEFAULT_SPEC
