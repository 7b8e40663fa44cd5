"""`face_to_input` against an oracle in exact fractions and plain loops, with OpenCV loaded and
without.

The oracle is written from the text of docs and docstring, not from the code: luma in 15 bits, the
region with the nearest edge pixel outside the frame, on each axis the exact mean over each output
pixel's span downwards, linear with pixel centres at half upwards, one rounding at the end, halves
up.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from math import ceil, floor
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeemo.contract.crop import BOX, Crop
from edgeemo.contract.input_spec import DEFAULT_SPEC, InputSpec
from edgeemo.contract.preprocess import MAX_SIDE_OVER_FRAME, face_to_input, resize_grey, to_grey
from edgeemo.errors import InvalidInput
from tests.golden.make_preprocess import CROPS as GOLDEN_CROPS
from tests.golden.make_preprocess import PATH, SHAPES_PATH, golden_cases

Frame = np.ndarray[Any, np.dtype[np.uint8]]
Box = tuple[int, int, int, int]
HAAR, YUNET = GOLDEN_CROPS["haar"], GOLDEN_CROPS["yunet"]
HALF = Fraction(1, 2)


@contextmanager
def without_opencv() -> Iterator[None]:
    """As on a device without OpenCV: nothing has loaded it."""
    loaded = sys.modules.pop("cv2")
    try:
        yield
    finally:
        sys.modules["cv2"] = loaded


def random_frame(seed: int, height: int, width: int, *, grey: bool = False) -> Frame:
    shape = (height, width) if grey else (height, width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


# The oracle.


def oracle_pixel(frame: list[Any], y: int, x: int, channels: int) -> tuple[int, ...]:
    """Grey, or red, green and blue, of the frame's pixel nearest to (y, x)."""
    value = frame[min(max(y, 0), len(frame) - 1)][min(max(x, 0), len(frame[0]) - 1)]
    if isinstance(value, int):
        return (value,) * channels
    red, green, blue = value
    if channels == 3:
        return red, green, blue
    return ((9798 * red + 19235 * green + 3735 * blue + 16384) >> 15,)


def oracle_region(crop: Crop, box: Box, height: int, width: int) -> tuple[int, int, int, int]:
    """(left, top, width, height): the longer side is the scaled box's, the other has its share."""
    x, y, box_width, box_height = box
    side = max(1, floor(Fraction(max(box_width, box_height) * crop.scale_q10, 1024) + HALF))
    across, down = (
        max(1, floor(Fraction(side * size, max(height, width)) + HALF)) for size in (width, height)
    )
    right, below = (
        floor(Fraction(side * shift, 1024) + HALF) for shift in (crop.shift_x_q10, crop.shift_y_q10)
    )
    return (
        x + floor(Fraction(box_width - across, 2)) + right,
        y + floor(Fraction(box_height - down, 2)) + below,
        across,
        down,
    )


def oracle_axis(side: int, size: int) -> list[list[tuple[int, Fraction]]]:
    """For each output pixel of an axis: the source pixels that count, and how much; the shares add
    up to 1."""
    axis = []
    for i in range(size):
        if side > size:
            start, stop = Fraction(i * side, size), Fraction((i + 1) * side, size)
            shares = [
                (k, (min(Fraction(k + 1), stop) - max(Fraction(k), start)) / (stop - start))
                for k in range(floor(start), ceil(stop))
            ]
        else:
            centre = (i + HALF) * Fraction(side, size) - HALF
            below, beyond = floor(centre), centre - floor(centre)
            shares = [
                (min(max(below, 0), side - 1), 1 - beyond),
                (min(max(below + 1, 0), side - 1), beyond),
            ]
        assert sum(share for _, share in shares) == 1
        axis.append(shares)
    return axis


def oracle(frame: Frame, box: Box, crop: Crop, spec: InputSpec) -> Frame:
    """uint8 (height, width, channels) of the spec."""
    pixels = frame.tolist()
    left, top, width, height = oracle_region(crop, box, spec.height, spec.width)
    region = [
        [oracle_pixel(pixels, top + row, left + column, spec.channels) for column in range(width)]
        for row in range(height)
    ]
    planes = [
        oracle_resized([[pixel[c] for pixel in line] for line in region], spec.height, spec.width)
        for c in range(spec.channels)
    ]
    return np.stack([np.array(plane, np.uint8) for plane in planes], axis=-1)


def oracle_resized(plane: list[list[int]], height: int, width: int) -> list[list[int]]:
    rows, columns = oracle_axis(len(plane), height), oracle_axis(len(plane[0]), width)
    lines = [
        [sum(plane[k][x] * share for k, share in shares) for x in range(len(plane[0]))]
        for shares in rows
    ]
    return [
        [floor(sum(line[k] * share for k, share in shares) + HALF) for shares in columns]
        for line in lines
    ]


CROPS = st.builds(
    Crop, st.integers(512, 2048), st.integers(-300, 300), st.integers(-300, 300)
) | st.just(Crop())
SIDES = st.sampled_from([8, 9, 13])


@st.composite
def problems(draw: st.DrawFn) -> tuple[Frame, Box, InputSpec, Crop]:
    """A small random frame, a box that may reach out of it on any side but touches it, and a small
    input of any aspect and channels."""
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    frame = random_frame(draw(st.integers(0, 10**6)), height, width, grey=draw(st.booleans()))
    longest = max(1, MAX_SIDE_OVER_FRAME * max(height, width) // 3)
    box_width, box_height = draw(st.integers(1, longest)), draw(st.integers(1, longest))
    x, y = draw(st.integers(-box_width, width)), draw(st.integers(-box_height, height))
    spec = InputSpec(draw(SIDES), draw(SIDES), draw(st.sampled_from([1, 3])))
    return frame, (x, y, box_width, box_height), spec, draw(CROPS)


def reaches(frame: Frame, region: tuple[int, int, int, int]) -> bool:
    left, top, across, down = region
    height, width = frame.shape[:2]
    within = left < width and top < height and left + across > 0 and top + down > 0
    return within and max(across, down) <= MAX_SIDE_OVER_FRAME * max(height, width)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(problems())
def test_face_to_input_is_the_oracle_with_opencv_and_without(
    problem: tuple[Frame, Box, InputSpec, Crop],
) -> None:
    frame, box, spec, crop = problem
    if not reaches(frame, oracle_region(crop, box, spec.height, spec.width)):
        with pytest.raises(InvalidInput, match="expected a box within"):
            face_to_input(frame, box, spec, crop)
        return
    expected = oracle(frame, box, crop, spec)
    np.testing.assert_array_equal(face_to_input(frame, box, spec, crop), expected)
    np.testing.assert_array_equal(slowly(frame, box, spec, crop), expected)


@pytest.mark.parametrize(
    ("shape", "box", "crop"),
    [
        ((60, 70), (3, 5, 49, 49), BOX),
        ((60, 70), (10, 8, 47, 30), BOX),
        ((60, 70), (-15, 20, 70, 55), YUNET),
        ((60, 70), (30, 30, 60, 60), HAAR),
        ((100, 130), (2, 1, 97, 97), BOX),
        ((1, 1), (0, 0, 1, 1), BOX),
        ((1, 30), (0, 0, 30, 1), BOX),
    ],
)
@pytest.mark.parametrize("spec", [DEFAULT_SPEC, InputSpec(64, 40), InputSpec(30, 40, 3)])
def test_specs_of_real_size_give_the_oracle_s_pixels(
    spec: InputSpec, shape: tuple[int, int], box: Box, crop: Crop
) -> None:
    frame = random_frame(sum(shape), *shape)
    expected = oracle(frame, box, crop, spec)
    for path in (face_to_input(frame, box, spec, crop), slowly(frame, box, spec, crop)):
        assert path.dtype == np.uint8
        np.testing.assert_array_equal(path, expected)


def slowly(frame: Frame, box: Box, spec: InputSpec = DEFAULT_SPEC, crop: Crop = BOX) -> Frame:
    with without_opencv():
        return face_to_input(frame, box, spec, crop)


@settings(deadline=None, max_examples=120)
@given(*(st.integers(1, 40) for _ in range(4)), st.integers(0, 10**6))
def test_a_plane_is_resized_as_the_oracle_s_also_where_one_axis_grows_and_one_shrinks(
    height: int, width: int, new_height: int, new_width: int, seed: int
) -> None:
    plane = random_frame(seed, height, width, grey=True)
    expected = oracle_resized(plane.tolist(), new_height, new_width)
    assert resize_grey(plane, new_height, new_width).tolist() == expected
    with without_opencv():
        assert resize_grey(plane, new_height, new_width).tolist() == expected


@settings(deadline=None, max_examples=60)
@given(problems())
def test_an_rgb_input_s_planes_are_those_of_its_channels_alone(
    problem: tuple[Frame, Box, InputSpec, Crop],
) -> None:
    frame, box, spec, crop = problem
    if not reaches(frame, oracle_region(crop, box, spec.height, spec.width)):
        return
    rgb = face_to_input(frame, box, replace(spec, channels=3), crop)
    for c in range(3):
        plane = frame if frame.ndim == 2 else np.ascontiguousarray(frame[..., c])
        alone = face_to_input(plane, box, replace(spec, channels=1), crop)
        np.testing.assert_array_equal(rgb[..., c], alone[..., 0])


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**6), st.integers(1, 300), st.integers(1, 300), st.data())
def test_both_paths_give_the_same_bytes_for_frames_of_any_size(
    seed: int, height: int, width: int, data: st.DataObject
) -> None:
    frame = random_frame(seed, height, width, grey=data.draw(st.booleans()))
    box_width, box_height = (
        data.draw(st.integers(1, 2 * width)),
        data.draw(st.integers(1, 2 * height)),
    )
    x, y = (
        data.draw(st.integers(-box_width // 2, width - 1)),
        data.draw(st.integers(-box_height // 2, height - 1)),
    )
    box, crop = (x, y, box_width, box_height), data.draw(st.sampled_from([BOX, HAAR, YUNET]))
    spec = data.draw(
        st.sampled_from(
            [DEFAULT_SPEC, InputSpec(112, 96, 3), InputSpec(96, 96, 3), InputSpec(40, 64)]
        )
    )
    try:
        fast = face_to_input(frame, box, spec, crop)
    except InvalidInput:
        with pytest.raises(InvalidInput):
            slowly(frame, box, spec, crop)
        return
    assert fast.shape == spec.shape
    np.testing.assert_array_equal(fast, slowly(frame, box, spec, crop))


@pytest.mark.parametrize("side", [2895, 2896, 2897, 3000])
@pytest.mark.parametrize("fill", ["white", "random"])
def test_a_very_large_square_overflows_in_neither_path(side: int, fill: str) -> None:
    frame = (
        np.full((side, side), 255, np.uint8)
        if fill == "white"
        else random_frame(side, side, side, grey=True)
    )
    fast, slow = face_to_input(frame, (0, 0, side, side)), slowly(frame, (0, 0, side, side))
    np.testing.assert_array_equal(fast, slow)
    if fill == "white":
        assert (fast == 255).all()


class CountedOpenCv(ModuleType):
    """The real OpenCV, which notes what is asked of it."""

    def __init__(self) -> None:
        super().__init__("cv2")
        self.asked: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.asked.add(name)
        return getattr(cv2, name)


def test_the_fast_path_is_taken_where_opencv_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = CountedOpenCv()
    monkeypatch.setitem(sys.modules, "cv2", counted)
    face_to_input(random_frame(1, 100, 100), (0, 0, 100, 100))
    assert {"cvtColor", "integral"} <= counted.asked
    counted.asked.clear()
    slowly(random_frame(1, 100, 100), (0, 0, 100, 100))
    assert not counted.asked


def test_all_16_7_million_colours_have_opencvs_grey() -> None:
    green, blue = np.indices((256, 256), dtype=np.uint8)
    for red in range(256):
        rgb = np.dstack([np.full_like(green, red), green, blue])
        expected = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        assert (to_grey(rgb) == expected).all()
        with without_opencv():
            assert (to_grey(rgb) == expected).all(), red


@pytest.mark.parametrize(
    ("rgb", "grey"),
    [
        ((255, 0, 0), 76),
        ((0, 255, 0), 150),
        ((0, 0, 255), 29),
        ((255, 255, 255), 255),
        ((0, 0, 0), 0),
        ((7, 7, 7), 7),
    ],
)
def test_pure_colours_have_their_known_grey_in_rgb_order(
    rgb: tuple[int, int, int], grey: int
) -> None:
    frame = np.full((50, 50, 3), rgb, np.uint8)
    assert (face_to_input(frame, (0, 0, 50, 50)) == grey).all()
    assert (slowly(frame, (0, 0, 50, 50)) == grey).all()


def test_a_grey_frame_is_the_colour_frame_of_equal_channels() -> None:
    grey = random_frame(3, 61, 83, grey=True)
    colour = np.repeat(grey[..., np.newaxis], 3, axis=2)
    for box in ((0, 0, 83, 61), (-5, -9, 40, 70), (60, 40, 30, 30)):
        np.testing.assert_array_equal(face_to_input(grey, box), face_to_input(colour, box))
        np.testing.assert_array_equal(slowly(grey, box), slowly(colour, box))


@pytest.mark.parametrize("side", [49, 50, 63, 96, 97, 144, 200, 480])
def test_shrinking_agrees_with_opencvs_area_resize_to_one_grey(side: int) -> None:
    square = random_frame(side, side, side, grey=True)
    expected = cv2.resize(square, (48, 48), interpolation=cv2.INTER_AREA).astype(int)
    with without_opencv():
        assert np.abs(resize_grey(square, 48) - expected).max() <= 1


@pytest.mark.parametrize("side", [1, 2, 3, 7, 16, 24, 33, 47])
def test_enlarging_agrees_with_opencvs_linear_resize_to_one_grey(side: int) -> None:
    square = random_frame(side, side, side, grey=True)
    expected = cv2.resize(square, (48, 48), interpolation=cv2.INTER_LINEAR).astype(int)
    assert np.abs(resize_grey(square, 48) - expected).max() <= 1


def test_a_mean_of_exactly_a_half_rounds_up() -> None:
    # 2x2 blocks that sum to 2 of 4, to 6 of 4 and to 1 of 4.
    for block, mean in (
        ([0, 1, 1, 0], 1),
        ([1, 2, 1, 2], 2),
        ([0, 0, 0, 1], 0),
        ([255, 254, 254, 255], 255),
    ):
        square = np.tile(np.array(block, np.uint8).reshape(2, 2), (48, 48))
        assert (resize_grey(square, 48) == mean).all()
        with without_opencv():
            assert (resize_grey(square, 48) == mean).all()


def test_a_whole_48x48_picture_is_taken_as_it_is() -> None:
    picture = random_frame(9, 48, 48, grey=True)
    taken = face_to_input(picture, (0, 0, 48, 48))
    np.testing.assert_array_equal(taken[..., 0], picture)
    taken[:] = 0
    np.testing.assert_array_equal(picture, random_frame(9, 48, 48, grey=True))


def test_a_48x48_box_anywhere_inside_is_the_frame_s_own_pixels() -> None:
    frame = random_frame(10, 200, 300, grey=True)
    for x, y in ((0, 0), (17, 31), (252, 152)):
        np.testing.assert_array_equal(
            face_to_input(frame, (x, y, 48, 48))[..., 0], frame[y : y + 48, x : x + 48]
        )


def test_the_nearest_edge_pixel_stands_in_outside_the_frame() -> None:
    frame = random_frame(11, 48, 48, grey=True)
    taken = face_to_input(frame, (-47, -40, 48, 48))[..., 0]
    expected = np.empty((48, 48), np.uint8)
    for row in range(48):
        for column in range(48):
            expected[row, column] = frame[max(0, row - 40), max(0, column - 47)]
    np.testing.assert_array_equal(taken, expected)
    corner = face_to_input(frame, (47, 47, 48, 48))
    assert (corner == frame[47, 47]).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 120))
def test_a_mirrored_picture_gives_the_mirrored_input(seed: int, side: int) -> None:
    frame = random_frame(seed, side, side, grey=True)
    taken = face_to_input(frame, (0, 0, side, side))
    np.testing.assert_array_equal(face_to_input(frame[:, ::-1], (0, 0, side, side)), taken[:, ::-1])
    np.testing.assert_array_equal(face_to_input(frame[::-1], (0, 0, side, side)), taken[::-1])
    np.testing.assert_array_equal(
        face_to_input(frame.T, (0, 0, side, side))[..., 0], taken[..., 0].T
    )


def test_views_and_read_only_frames_are_taken_and_left_alone() -> None:
    bgr = random_frame(12, 90, 120)
    view = bgr[::-1, 5:, ::-1]
    before = bgr.copy()
    bgr.flags.writeable = False
    box = (10, -4, 70, 80)
    np.testing.assert_array_equal(
        face_to_input(view, box), face_to_input(np.ascontiguousarray(view), box)
    )
    np.testing.assert_array_equal(slowly(view, box), face_to_input(view, box))
    np.testing.assert_array_equal(bgr, before)


def test_the_crop_chooses_the_region() -> None:
    frame = random_frame(13, 100, 100)
    np.testing.assert_array_equal(
        face_to_input(frame, (20, 20, 40, 40), crop=Crop(scale_q10=512)),
        face_to_input(frame, (30, 30, 20, 20)),
    )
    np.testing.assert_array_equal(
        face_to_input(frame, (20, 20, 40, 40), crop=Crop(shift_x_q10=256)),
        face_to_input(frame, (30, 20, 40, 40)),
    )
    np.testing.assert_array_equal(
        face_to_input(frame, (20, 20, 40, 40), crop=Crop()),
        face_to_input(frame, (20, 20, 40, 40)),
    )


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((50, 50, 3), np.float32),
        np.zeros((50, 50, 3), np.int8),
        np.zeros((50, 50, 3), np.uint16),
        np.zeros((50, 50, 3), bool),
        np.zeros((50, 50, 4), np.uint8),
        np.zeros((50, 50, 1), np.uint8),
        np.zeros((1, 50, 50, 3), np.uint8),
        np.zeros((0, 50, 3), np.uint8),
        np.zeros((50, 0), np.uint8),
        np.zeros(50, np.uint8),
        np.uint8(7),
        [[1, 2], [3, 4]],
        None,
    ],
    ids=str,
)
def test_a_frame_of_another_kind_is_refused_with_what_came(frame: Any) -> None:
    with pytest.raises(
        InvalidInput, match=r"expected a frame of uint8, \(H, W, 3\) RGB or \(H, W\) grey, received"
    ) as caught:
        face_to_input(frame, (0, 0, 10, 10))
    assert str(caught.value).endswith(
        f"{getattr(frame, 'dtype', None)} {getattr(frame, 'shape', None)}"
    )


@pytest.mark.parametrize(
    "box", [(0, 0, 0, 10), (0, 0, 10, 0), (5, 5, -3, 10), (5, 5, 10, -3), (0, 0, 0, 0)]
)
def test_an_empty_box_is_refused(box: Box) -> None:
    with pytest.raises(
        InvalidInput, match=f"expected a box of at least 1x1 pixel, received {box[2]}x{box[3]}"
    ):
        face_to_input(random_frame(1, 40, 60), box)


@pytest.mark.parametrize(
    "box",
    [
        (60, 0, 10, 10),
        (0, 40, 10, 10),
        (-10, 0, 10, 10),
        (0, -10, 10, 10),
        (10**9, 0, 5, 5),
        (-(10**12), 3, 5, 5),
    ],
)
def test_a_box_outside_the_frame_is_refused(box: Box) -> None:
    with pytest.raises(
        InvalidInput, match="expected a box within the 60x40 frame, received"
    ) as caught:
        face_to_input(random_frame(1, 40, 60), box)
    assert str(box) in str(caught.value)


@pytest.mark.parametrize(
    "box", [(59, 0, 10, 10), (0, 39, 10, 10), (-9, 0, 10, 10), (0, -9, 10, 10)]
)
def test_a_box_that_touches_the_frame_by_one_pixel_is_taken(box: Box) -> None:
    frame = random_frame(1, 40, 60)
    expected = oracle(frame, box, BOX, DEFAULT_SPEC)
    np.testing.assert_array_equal(face_to_input(frame, box), expected)


def test_a_box_of_more_than_four_frames_is_refused_and_of_four_is_taken() -> None:
    frame = np.full((40, 60, 3), 99, np.uint8)
    assert (face_to_input(frame, (-90, -90, 240, 240)) == 99).all()
    for size in (241, 10**6, 10**12):
        with pytest.raises(InvalidInput, match="expected a box within the 60x40 frame"):
            face_to_input(frame, (0, 0, size, size))


def test_the_golden_vectors_are_small_and_of_every_kind() -> None:
    cases = golden_cases()
    assert PATH.stat().st_size < 60_000
    assert SHAPES_PATH.stat().st_size < 60_000
    assert {case.crop for case in cases} == {BOX, HAAR, YUNET}
    assert {case.frame.ndim for case in cases} == {2, 3}
    assert {case.spec.channels for case in cases} == {1, 3}
    assert {(96, 96, 3), (112, 96, 3), (48, 48, 1)} <= {case.spec.shape for case in cases}
    assert sum(case.spec == DEFAULT_SPEC for case in cases) >= 12


def test_both_paths_reproduce_the_golden_vectors_byte_for_byte() -> None:
    for case in golden_cases():
        for path in (face_to_input, slowly):
            pixels = path(case.frame, case.box, case.spec, case.crop)
            assert pixels.tobytes() == case.output.tobytes(), (case.box, case.crop, case.spec)


def test_the_golden_vectors_are_the_oracle_s() -> None:
    for case in golden_cases():
        region = oracle_region(case.crop, case.box, case.spec.height, case.spec.width)
        if max(region) <= 200:  # the largest one takes the oracle seconds
            expected = oracle(case.frame, case.box, case.crop, case.spec)
            np.testing.assert_array_equal(case.output, expected)
