"""A recording of which some frames a second are looked at."""

import math

import numpy as np
import pytest

from edgeemo.cameras import Frame
from edgeemo.cameras.fake import FakeCamera
from edgeemo.cameras.sampled import Sampled

PIXELS = np.zeros((8, 8, 3), np.uint8)


def times(given: list[float], fps: float) -> list[float]:
    camera = Sampled(FakeCamera([Frame(PIXELS, at) for at in given]), fps)
    camera.open()
    taken = [frame.time for frame in iter(camera.read, None)]
    camera.close()
    return taken


@pytest.mark.parametrize(
    ("rate", "fps", "expected"),
    [
        (30, 10, [i / 10 for i in range(30)]),
        (25, 10, [0, 0.12, 0.2, 0.32, 0.4, 0.52, 0.6, 0.72, 0.8, 0.92]),
        (10, 30, [i / 10 for i in range(30)]),
        (30, 0.5, [0, 2]),
    ],
)
def test_so_many_frames_a_second_of_its_own_time(
    rate: float, fps: float, expected: list[float]
) -> None:
    taken = times([i / rate for i in range(3 * rate)], fps)
    assert taken[: len(expected)] == pytest.approx(expected)
    assert len(taken) <= 3 * fps + 1


def test_a_hole_is_not_made_up_for() -> None:
    given = [0.0, 0.1, 5.0, 5.1, 5.2, 5.3, 5.4, 5.5, 5.6]
    assert times(given, 2) == [0.0, 5.0, 5.5]


def test_frames_without_a_time_are_left_to_whoever_counts_them() -> None:
    given = [0.0, math.nan, 0.1, 1.0]
    taken = times(given, 1)
    assert taken[0] == 0.0
    assert math.isnan(taken[1])
    assert taken[2:] == [1.0]
