"""A detector's rows as boxes: against a plain reading of the module's text, cell by cell."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeemo.contract.crop import BOX, Region
from edgeemo.contract.face_rows import FLOAT_SCALE, MAX_FACES, FaceRows, Grid, in_frame
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.preprocess import whole_frame
from edgeemo.errors import InvalidInput

GRIDS = (Grid(8, 3, 4), Grid(16, 2, 2))
CELLS = 3 * 4 + 2 * 2


def plainly(
    rows: NDArray[np.int64], scale: float, zero_point: int, threshold: float, overlap: int
) -> list[list[int]]:
    """The module's text, one cell after the other, in Python's own integers."""
    places = [(grid, row, column) for grid in GRIDS for row in range(grid.rows)
              for column in range(grid.columns)]  # fmt: skip
    left = []
    for cell, (grid, row, column) in enumerate(places):
        logit, *distances = (int(value) - zero_point for value in rows[cell])
        if logit < math.ceil(threshold / scale):
            continue
        multiplier = round(scale * grid.stride * 2**20)
        away = [max(0, (d * multiplier + 32768) // 65536) for d in distances]
        x, y = (2 * column + 1) * grid.stride * 8, (2 * row + 1) * grid.stride * 8
        left.append([x - away[0], y - away[1], x + away[2], y + away[3], logit, cell])
    found: list[list[int]] = []
    while left and len(found) < MAX_FACES:
        best = max(left, key=lambda face: (face[4], -face[5]))
        found.append(best[:5])
        left = [face for face in left if face is not best and not _same(best, face, overlap)]
    return found


def _same(a: list[int], b: list[int], overlap: int) -> bool:
    common = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(face[2] - face[0]) * (face[3] - face[1]) for face in (a, b)]
    return 256 * common > overlap * (sum(areas) - common)


@given(
    st.integers(0, 2**32 - 1),
    st.floats(0.01, 0.3),
    st.integers(-128, 127),
    st.floats(-3, 3),
    st.integers(1, 255),
)
def test_faces_are_those_of_the_text_read_cell_by_cell(
    seed: int, scale: float, zero_point: int, threshold: float, overlap: int
) -> None:
    rows = np.random.default_rng(seed).integers(-128, 128, (CELLS, 5)).astype(np.int8)
    found = FaceRows(GRIDS, threshold, overlap=overlap).found(rows, scale, zero_point)
    assert found.tolist() == plainly(rows.astype(int), scale, zero_point, threshold, overlap)


def test_float_rows_are_integers_of_a_256th() -> None:
    rows = np.full((CELLS, 5), -9.0, np.float32)
    rows[5] = (
        2.0,
        0.5,
        0.25,
        1.0,
        1.5,
    )  # row 1, column 1 of the fine grid: its middle is at 12, 12
    found = FaceRows(GRIDS, 0.0).found(rows, 1.0, 0)
    assert found.tolist() == [
        [12 * 16 - 64, 12 * 16 - 32, 12 * 16 + 128, 12 * 16 + 192, round(2 / FLOAT_SCALE)]
    ]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused(bad: float) -> None:
    rows = np.zeros((CELLS, 5), np.float32)
    rows[3, 2] = bad
    with pytest.raises(InvalidInput, match="finite"):
        FaceRows(GRIDS, 0.0).found(rows, 1.0, 0)


def test_other_rows_than_the_grids_have_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"\(16, 5\), received \(15, 5\)"):
        FaceRows(GRIDS, 0.0).found(np.zeros((15, 5), np.int8), 0.1, 0)


@given(st.integers(8, 4000), st.integers(8, 4000))
def test_the_whole_frame_is_inside_its_box_and_boxes_come_back(width: int, height: int) -> None:
    """The input shows the whole frame and no more than it has to; corners map onto corners."""
    spec = InputSpec(height=240, width=320)
    box = whole_frame(width, height, spec)
    region = BOX.region(box, spec.height, spec.width)
    assert region.left <= 0
    assert region.top <= 0
    assert region.left + region.width >= width
    assert region.top + region.height >= height
    assert min(region.width - width, region.height - height) <= 4
    everything = np.array([0, 0, 320 * 16, 240 * 16, 0])
    assert in_frame(everything, region, 320, 240) == (
        region.left,
        region.top,
        region.width,
        region.height,
    )


def test_a_box_of_no_width_has_a_pixel() -> None:
    region = Region(0, 0, 320, 240)
    assert in_frame(np.array([16, 32, 16, 32, 0]), region, 320, 240) == (1, 2, 1, 1)
