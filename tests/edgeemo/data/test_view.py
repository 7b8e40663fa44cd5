"""Views: how frames are turned, and where in them faces are looked for."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeemo.data.view import AS_IT_IS, TURNS, View
from edgeemo.errors import InvalidInput

CORNERS = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (View(), [[1, 2, 3], [4, 5, 6]]),
        (View(90), [[4, 1], [5, 2], [6, 3]]),
        (View(180), [[6, 5, 4], [3, 2, 1]]),
        (View(270), [[3, 6], [2, 5], [1, 4]]),
        (View(flip=True), [[4, 5, 6], [1, 2, 3]]),
        (View(mirror=True), [[3, 2, 1], [6, 5, 4]]),
        (View(flip=True, mirror=True), [[6, 5, 4], [3, 2, 1]]),
        (View(90, mirror=True), [[1, 4], [2, 5], [3, 6]]),
    ],
)
def test_a_frame_is_rotated_clockwise_then_flipped_then_mirrored(
    view: View, expected: list[list[int]]
) -> None:
    assert view.turned(CORNERS).tolist() == expected
    coloured = view.turned(np.repeat(CORNERS[..., np.newaxis], 3, axis=2))
    assert coloured[..., 2].tolist() == expected
    assert coloured.flags.c_contiguous


def test_a_frame_that_stands_right_is_not_copied() -> None:
    assert AS_IT_IS.turned(CORNERS) is CORNERS
    assert not AS_IT_IS.turns
    assert View(region=(0, 0, 0.5, 0.5)).turned(CORNERS) is CORNERS


@pytest.mark.parametrize(
    ("region", "inside"),
    [
        (None, (0, 0, 640, 480)),
        ((0, 0, 1, 1), (0, 0, 640, 480)),
        ((0.25, 0, 0.5, 1), (160, 0, 320, 480)),
        ((0.3333, 0.5, 0.6667, 0.5), (213, 240, 427, 240)),
        ((0.999, 0.999, 0.0001, 0.0001), (639, 479, 1, 1)),
    ],
)
def test_a_region_is_in_shares_of_the_frame(region: Any, inside: tuple[int, ...]) -> None:
    assert View(region=region).inside(640, 480) == inside


@given(
    st.tuples(*[st.floats(0, 1)] * 2, *[st.floats(1e-6, 1)] * 2),
    st.integers(1, 4000),
    st.integers(1, 4000),
)
def test_a_region_lies_within_every_frame(region: Any, width: int, height: int) -> None:
    x, y, w, h = region
    view = View(region=(x, y, min(w, 1.0001 - x), min(h, 1.0001 - y)))
    left, top, across, down = view.inside(width, height)
    assert 0 <= left < left + across <= width
    assert 0 <= top < top + down <= height


@pytest.mark.parametrize("rotate", [45, -90, 360, None, "90"])
def test_other_angles_are_refused(rotate: Any) -> None:
    with pytest.raises(InvalidInput, match="expected a rotation of 0, 90, 180 or 270 degrees"):
        View(rotate)
    assert TURNS == (0, 90, 180, 270)


@pytest.mark.parametrize(
    "region",
    [
        (0, 0, 0, 1),
        (0.5, 0, 0.6, 1),
        (-0.1, 0, 1, 1),
        (0, 0, 1),
        (0, 0, 1, float("nan")),
        "abcd",
        5,
    ],
)
def test_a_region_beyond_the_frame_is_refused(region: Any) -> None:
    with pytest.raises(InvalidInput, match="expected a region x, y, width, height in shares"):
        View(region=region)


@pytest.mark.parametrize(
    "odd",
    [
        {"flip": "no"},
        {"mirror": 1},
        {"rotate": [90]},
        {"region": "0011"},
        {"region": (share for share in (0, 0, 1, 1))},
        {"region": {0: 1, 1: 2, 2: 3, 3: 4}},
        {"region": (10**400, 0, 1, 1)},
    ],
)
def test_views_of_an_odd_kind_are_refused(odd: Any) -> None:
    with pytest.raises(InvalidInput, match="expected"):
        View(**odd)


def test_a_region_may_be_an_array_and_is_kept_as_a_tuple() -> None:
    view: Any = View(region=np.array([0.25, 0, 0.5, 1]))  # type: ignore[arg-type]
    assert view.region == (0.25, 0.0, 0.5, 1.0)
    assert view == View(region=(0.25, 0, 0.5, 1))
