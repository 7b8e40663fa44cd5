"""The contract's crop, grey and resize against an oracle in exact fractions, OpenCV, and golden vectors."""

import sys
from fractions import Fraction

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.preprocess import face_to_input, resize_grey, to_grey
from edgeemo.errors import InvalidInput
from tests.golden.make_preprocess import CASES, FILE


@pytest.fixture(params=["numpy", "opencv"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both paths: the contract uses OpenCV only where something has loaded it."""
    if request.param == "numpy":
        monkeypatch.delitem(sys.modules, "cv2")
    return request.param


def exact_weights(side: int, size: int) -> list[list[Fraction]]:
    """Weight of each source pixel in each output pixel, by the definition in words, in exact fractions."""
    rows = []
    for i in range(size):
        if side >= size:  # mean over the output pixel's area
            low, high = Fraction(i * side, size), Fraction((i + 1) * side, size)
            row = [max(Fraction(0), min(high, j + 1) - max(low, Fraction(j))) / (high - low) for j in range(side)]
        else:  # bilinear, pixel centres at half, edges repeated
            at = min(max((i + Fraction(1, 2)) * side / size - Fraction(1, 2), Fraction(0)), Fraction(side - 1))
            row = [max(Fraction(0), 1 - abs(at - j)) for j in range(side)]
        rows.append(row)
    return rows


def exact_resize(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    weights = exact_weights(picture.shape[0], size)
    pixels = [[Fraction(int(v)) for v in row] for row in picture]
    half = [[sum(w * p for w, p in zip(row, column, strict=True) if w) for row in weights] for column in pixels]
    out = np.empty((size, size), np.uint8)
    for y, row in enumerate(weights):
        for x in range(size):
            value = sum(w * half[j][x] for j, w in enumerate(row) if w) + Fraction(1, 2)
            out[y, x] = value.numerator // value.denominator
    return out


@pytest.mark.parametrize("side", [1, 2, 3, 7, 8, 9, 12, 15, 16, 23, 40])
def test_resize_is_the_exact_mean_or_the_exact_bilinear_value(path: str, side: int) -> None:
    rng = np.random.default_rng(side)
    for picture in (rng.integers(0, 256, (side, side)), rng.choice([0, 255], (side, side))):
        for size in (8, 11):
            square = picture.astype(np.uint8)
            assert np.array_equal(resize_grey(square, size), exact_resize(square, size))


@pytest.mark.parametrize("side", [1, 13, 24, 47, 49, 53, 96, 131, 192, 250])
def test_resize_is_within_one_of_opencv(path: str, side: int) -> None:
    square = np.random.default_rng(side).integers(0, 256, (side, side), dtype=np.uint8)
    theirs = cv2.resize(square, (48, 48), interpolation=cv2.INTER_AREA if side > 48 else cv2.INTER_LINEAR)
    assert np.abs(resize_grey(square, 48).astype(int) - theirs).max() <= 1


@settings(deadline=None, max_examples=40)
@given(st.integers(49, 400), st.integers(0, 2**32 - 1))
def test_opencv_path_gives_the_same_bytes(side: int, seed: int) -> None:
    square = np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)
    fast = resize_grey(square, 48)
    loaded = sys.modules.pop("cv2")
    try:
        assert np.array_equal(resize_grey(square, 48), fast)
    finally:
        sys.modules["cv2"] = loaded


def test_grey_is_opencvs_for_every_second_colour(path: str) -> None:
    values = np.arange(0, 256, 2, dtype=np.uint8)
    colours = np.stack(np.meshgrid(values, values + 1, values, indexing="ij"), axis=-1).reshape(128, -1, 3)
    assert np.array_equal(to_grey(colours), cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY))


@pytest.mark.parametrize(
    ("colour", "grey"),
    [((255, 0, 0), 76), ((0, 255, 0), 150), ((0, 0, 255), 29), ((255, 255, 255), 255), ((9, 9, 9), 9)],
)
def test_grey_has_known_answers_in_rgb_order(path: str, colour: tuple[int, int, int], grey: int) -> None:
    assert to_grey(np.full((2, 2, 3), colour, np.uint8)).tolist() == [[grey, grey], [grey, grey]]


def test_whole_picture_of_the_inputs_size_passes_unchanged(path: str) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    assert np.array_equal(face_to_input(picture, (0, 0, 48, 48))[:, :, 0], picture)
    assert np.array_equal(face_to_input(np.repeat(picture[..., None], 3, 2), (0, 0, 48, 48))[:, :, 0], picture)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(-40, 100),
    st.integers(-40, 80),
    st.integers(1, 90),
    st.integers(1, 90),
    st.sampled_from(["whole", "haar", "yunet"]),
)
def test_square_beyond_the_frame_repeats_the_nearest_edge(
    x: int, y: int, width: int, height: int, detector: str
) -> None:
    frame = np.random.default_rng(7).integers(0, 256, (60, 80), dtype=np.uint8)
    left, top, side = DEFAULT_SPEC.crop_for(detector).square(x, y, width, height)
    if left >= 80 or top >= 60 or left + side <= 0 or top + side <= 0:
        with pytest.raises(InvalidInput, match="expected a box within the 80x60 frame"):
            face_to_input(frame, (x, y, width, height), detector=detector)
        return
    rows = [min(max(top + i, 0), 59) for i in range(side)]
    columns = [min(max(left + i, 0), 79) for i in range(side)]
    expected = resize_grey(frame[np.ix_(rows, columns)], 48)
    assert np.array_equal(face_to_input(frame, (x, y, width, height), detector=detector)[:, :, 0], expected)


def test_golden_vectors_hold(path: str) -> None:
    with np.load(FILE, allow_pickle=False) as golden:
        frames, expected = [golden["colour"], golden["grey"]], golden["expected"]
    for (frame, box, detector), wanted in zip(CASES, expected, strict=True):
        assert np.array_equal(face_to_input(frames[frame], box, detector=detector), wanted), (box, detector)


@pytest.mark.parametrize(
    ("frame", "box"),
    [
        (np.zeros((9, 9, 4), np.uint8), (0, 0, 5, 5)),
        (np.zeros((9, 9, 3), np.float32), (0, 0, 5, 5)),
        (np.zeros((0, 9), np.uint8), (0, 0, 5, 5)),
        (np.zeros(9, np.uint8), (0, 0, 5, 5)),
        ([[1, 2], [3, 4]], (0, 0, 2, 2)),
        (np.zeros((9, 9), np.uint8), (0, 0, 0, 5)),
        (np.zeros((9, 9), np.uint8), (9, 0, 5, 5)),
        (np.zeros((9, 9), np.uint8), (-5, 0, 5, 5)),
        (np.zeros((9, 9), np.uint8), (-1000, -1000, 10**9, 10**9)),
    ],
)
def test_bad_frames_and_boxes_are_refused(frame: NDArray[np.uint8], box: tuple[int, int, int, int]) -> None:
    with pytest.raises(InvalidInput, match="expected a (frame|box)"):
        face_to_input(frame, box)
