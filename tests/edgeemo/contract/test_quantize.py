"""Numbers in and out of int8 tensors, against exact fractions, and the one softmax, against
SciPy's.
"""

from fractions import Fraction

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from edgeemo.contract.quantize import (
    PIXEL_QUANTIZATION,
    Quantization,
    calibrated_with,
    pixels_to_int8,
    softmax,
)
from edgeemo.errors import InvalidInput

ALL_INT8 = np.arange(-128, 128).astype(np.int8)
SCALES = st.floats(1e-6, 1e3).map(np.float32).map(float)
QUANTIZATIONS = st.builds(Quantization, SCALES, st.integers(-128, 127))


def exact_quantize(real: float, scale: float, zero_point: int) -> int:
    """The definition in exact fractions: nearest step, a tie away from zero, clipped."""
    steps = Fraction(real) / Fraction(scale)
    whole = abs(steps) // 1
    nearest = whole + (abs(steps) - whole >= Fraction(1, 2))
    return max(-128, min(127, (nearest if steps >= 0 else -nearest) + zero_point))


def test_dequantize_is_scale_times_distance_from_the_zero_point() -> None:
    stored = np.array([[-128, -1, 0], [3, 4, 127]], np.int8)
    real = Quantization(scale=0.5, zero_point=3).dequantize(stored)
    assert real.dtype == np.float32
    assert real.tolist() == [[-65.5, -2.0, -1.5], [0.0, 0.5, 62.0]]


def test_no_stored_value_overflows_on_its_way_to_the_zero_point() -> None:
    # In int8 arithmetic -128 - 127 would wrap to 1.
    assert Quantization(1.0, 127).dequantize(np.array([-128], np.int8)).tolist() == [-255.0]
    assert Quantization(1.0, -128).dequantize(np.array([127], np.int8)).tolist() == [255.0]


@settings(deadline=None)
@given(QUANTIZATIONS)
def test_every_stored_value_survives_the_round_trip(quantization: Quantization) -> None:
    real = quantization.dequantize(ALL_INT8)
    np.testing.assert_array_equal(quantization.quantize(real), ALL_INT8)


@settings(deadline=None, max_examples=300)
@given(QUANTIZATIONS, st.floats(-1e6, 1e6, width=32))
def test_quantize_is_the_exact_definition(quantization: Quantization, real: float) -> None:
    # A float division may round onto a tie from a hair beside it, which exact arithmetic tells
    # apart.
    steps = Fraction(real) / Fraction(quantization.scale)
    near_tie = abs((steps % 1) - Fraction(1, 2)) <= abs(steps) * Fraction(1, 2**52)
    got = int(quantization.quantize(np.array([real], np.float32))[0])
    expected = exact_quantize(real, quantization.scale, quantization.zero_point)
    assert got == expected or (near_tie and abs(got - expected) == 1)


@settings(deadline=None)
@given(QUANTIZATIONS, st.floats(0, 1))
def test_a_value_in_range_comes_back_within_half_a_step(
    quantization: Quantization, share: float
) -> None:
    low, high = (quantization.scale * (end - quantization.zero_point) for end in (-128, 127))
    real = np.array([low + share * (high - low)], np.float32)
    again = quantization.dequantize(quantization.quantize(real))
    assert abs(float(again[0]) - float(real[0])) <= quantization.scale * (0.5 + 1e-4)


def test_ties_round_away_from_zero() -> None:
    real = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.25, -0.25], np.float32)
    assert Quantization(1.0, 0).quantize(real).tolist() == [1, 2, 3, -1, -2, -3, 0, 0]
    # Away from the real zero, not from the stored one.
    assert Quantization(1.0, -10).quantize(real).tolist() == [-9, -8, -7, -11, -12, -13, -10, -10]


def test_the_largest_number_below_a_half_rounds_down() -> None:
    # Adding a half to it gives exactly 1 in double precision.
    below = float(np.nextafter(0.5, 0))
    values = np.array([below, -below])
    assert Quantization(1.0, 0).quantize(values).tolist() == [0, 0]  # type: ignore[arg-type]


def test_values_beyond_the_range_are_clipped() -> None:
    real = np.array([1e30, 127.6, 127.4, -128.4, -128.6, -1e30, np.inf, -np.inf], np.float32)
    assert Quantization(1.0, 0).quantize(real).tolist() == [
        127,
        127,
        127,
        -128,
        -128,
        -128,
        127,
        -128,
    ]


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("-inf"), float("nan")])
def test_a_scale_that_is_not_positive_and_finite_is_refused(scale: float) -> None:
    with pytest.raises(
        InvalidInput, match="expected a positive scale and a zero point of -128 to 127"
    ):
        Quantization(scale, 0)


@pytest.mark.parametrize("zero_point", [-129, 128, 255, 10**9])
def test_a_zero_point_outside_int8_is_refused(zero_point: int) -> None:
    with pytest.raises(InvalidInput, match=f"zero_point={zero_point}"):
        Quantization(1.0, zero_point)


def test_every_pixel_is_stored_as_pixel_minus_128() -> None:
    pixels = np.arange(256, dtype=np.uint8)
    stored = pixels_to_int8(pixels)
    assert stored.dtype == np.int8
    assert stored.tolist() == [pixel - 128 for pixel in range(256)]


def test_pixels_to_int8_is_the_pixel_quantization() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)
    assert Quantization(1.0, -128) == PIXEL_QUANTIZATION
    np.testing.assert_array_equal(
        pixels_to_int8(pixels), PIXEL_QUANTIZATION.quantize(pixels.astype(np.float32))
    )
    np.testing.assert_array_equal(PIXEL_QUANTIZATION.dequantize(pixels_to_int8(pixels)), pixels)


def test_pixels_to_int8_leaves_its_argument_alone_and_takes_any_view() -> None:
    pixels = np.arange(200, dtype=np.uint8).reshape(10, 20)
    view = pixels[::2, ::-3]
    expected = view.astype(int) - 128
    np.testing.assert_array_equal(pixels_to_int8(view), expected)
    np.testing.assert_array_equal(pixels, np.arange(200).reshape(10, 20))


def logits_up_to(height: float) -> st.SearchStrategy[np.ndarray]:
    bound = float(np.float32(height))
    shapes = st.tuples(st.integers(1, 5), st.just(7))
    return npst.arrays(np.float32, shapes, elements=st.floats(-bound, bound, width=32))


@settings(deadline=None)
@given(logits_up_to(30) | logits_up_to(1e30))
def test_softmax_is_scipys(logits: np.ndarray) -> None:
    scores = softmax(logits)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(
        scores, scipy.special.softmax(logits.astype(np.float64), axis=-1), rtol=1e-6, atol=1e-38
    )
    np.testing.assert_allclose(scores.sum(axis=-1), 1, rtol=1e-5)


def test_softmax_by_known_answers() -> None:
    np.testing.assert_allclose(
        softmax(np.zeros((1, 7), np.float32)), np.full((1, 7), 1 / 7), rtol=1e-7
    )
    # Logarithms of 1, 2 and 5 have probabilities of 1/8, 2/8 and 5/8.
    np.testing.assert_allclose(
        softmax(np.log(np.array([1, 2, 5], np.float32))), [0.125, 0.25, 0.625], rtol=1e-6
    )


@pytest.mark.parametrize("height", [89.0, 1e4, 1e30, 3.4e38])
def test_huge_logits_neither_overflow_nor_become_nan(height: float) -> None:
    up = np.array(
        [[height, 0, 0, 0, 0, 0, 0], [-height, 0, -height, -height, -height, -height, -height]],
        np.float32,
    )
    np.testing.assert_allclose(
        softmax(up), [[1, 0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0]], atol=2e-38
    )
    both_ends = np.array(
        [[height, -height, height, -height, -height, -height, -height]], np.float32
    )
    np.testing.assert_allclose(softmax(both_ends), [[0.5, 0, 0.5, 0, 0, 0, 0]], atol=1e-38)


@settings(deadline=None)
@given(logits_up_to(10), st.floats(-50, 50, width=32))
def test_softmax_does_not_change_when_all_logits_move(logits: np.ndarray, shift: float) -> None:
    np.testing.assert_allclose(softmax(logits + np.float32(shift)), softmax(logits), atol=2e-5)


def test_softmax_works_along_the_last_axis_of_any_shape() -> None:
    logits = np.random.default_rng(1).normal(0, 3, (2, 3, 7)).astype(np.float32)
    np.testing.assert_allclose(softmax(logits), scipy.special.softmax(logits, axis=-1), rtol=1e-5)
    np.testing.assert_allclose(
        softmax(logits[0, 0]), scipy.special.softmax(logits[0, 0]), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("count", "split", "says"),
    [
        (506, "train", "504 pictures of train and 2 flat ones"),
        (3, "pictures of faces.zip", "1 picture of faces.zip and 2 flat ones"),
        (4034, "train", "4,032 pictures of train and 2 flat ones"),
        (0, "unknown", "no pictures here"),
    ],
)
def test_flat_pictures_are_told_apart_from_those_that_were_drawn(
    count: int, split: str, says: str
) -> None:
    assert calibrated_with(count, split) == says
