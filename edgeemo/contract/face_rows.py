"""From a face detector's rows to boxes, in integers alone, so that C gives the same boxes.

A detector's output is (cells, 5): of each cell of each grid, the finest grid first, by rows from
the top left: the logit that a face's middle lies there, and how far its left, top, right and bottom
edges are from the cell's middle, in strides. With scale S and zero point Z of the output:

* a cell is a candidate where its logit q >= Z + ceil(threshold / S);
* a distance, in 1/16 pixel of the input, is max(0, (q - Z) * M + 2^15 >> 16) with M = round(S *
  stride * 2^20);
* the best candidate is the one of the highest q, of equals the first; it is a face, and the
  candidates that overlap it by more than `overlap` / 256 of their union are removed; so on until
  none is left or MAX_FACES were found;
* input pixels become the frame's by `Region`: floor((2 v side + 16 n) / (32 n)) with v in 1/16
  pixel, the region's side and the input's n, added to the region's edge.

A float model's rows are taken as integers of scale 2^-8 (round half to even) and zero point 0.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.crop import Region
from edgeemo.errors import InvalidInput

ROW = 5
NEVER = 20.0
"""A `certain` that no logit reaches."""
MAX_FACES = 64
FLOAT_SCALE = 2.0**-8


@dataclass(frozen=True)
class Grid:
    """One of the grids that rows belong to."""

    stride: int
    """Pixels of the input between the middles of neighbouring cells, 1 to 128."""
    rows: int
    """Cells from top to bottom, 1 to 512."""
    columns: int
    """Cells from left to right, 1 to 512."""

    def __post_init__(self) -> None:
        if not (1 <= self.stride <= 128 and 1 <= self.rows <= 512 and 1 <= self.columns <= 512):
            raise InvalidInput(
                "expected a grid with a stride of 1 to 128 and 1 to 512 rows and columns, received "
                f"{self}"
            )


@dataclass(frozen=True)
class FaceRows:
    """How a detector's rows are read."""

    grids: tuple[Grid, ...]
    """In the order of the rows."""
    threshold: float
    """Logit from which on a cell is a candidate, -20 to 20."""
    sure: float = 0.0
    """The same for the second look (edgeemo.contract.face_look), which decides."""
    certain: float = NEVER
    """Logit from which on the first look decides alone; by default it never does."""
    large_at_once: bool = False
    """Whether from `sure` on it also does where a second one would show the candidate no larger."""
    closer_q10: int = 3004
    """Longer side of what the second look sees, over the candidate's, in 1/1024: 256 to 4096."""
    overlap: int = 90
    """Of their union, in 1/256: candidates that overlap a better one by more are the same face."""

    def __post_init__(self) -> None:
        right = all(-20 <= limit <= 20 for limit in (self.threshold, self.sure, self.certain))
        right = right and 1 <= self.overlap <= 255 and 256 <= self.closer_q10 <= 4096
        if not self.grids or not right:
            raise InvalidInput(
                "expected one or more grids, thresholds of -20 to 20, an overlap of 1 to 255 and "
                f"a second look of 256 to 4096, received {self}"
            )

    @property
    def cells(self) -> int:
        """Rows in all."""
        return sum(grid.rows * grid.columns for grid in self.grids)

    def found(
        self, rows: NDArray[np.integer] | NDArray[np.floating], scale: float, zero_point: int
    ) -> NDArray[np.int64]:
        """int64 (faces, 5): left, top, right and bottom in 1/16 pixel of the input, and q - Z.

        Args:
            rows: (cells, 5) as the model gives them; floats, with scale 1 and zero point 0, are
                rounded as the module says.
            scale: of the output, above 0.
            zero_point: of the output.

        Raises:
            InvalidInput: another shape, or numbers that are none.
        """
        if rows.shape != (self.cells, ROW):
            raise InvalidInput(
                f"expected a detector's rows as {(self.cells, ROW)}, received {rows.shape}"
            )
        if rows.dtype.kind == "f":
            if not np.isfinite(rows).all():
                raise InvalidInput("expected finite numbers from the detector, received NaN or inf")
            scale, zero_point = FLOAT_SCALE, 0
            rows = np.rint(np.clip(rows / FLOAT_SCALE, -(2.0**20), 2.0**20)).astype(np.int64)
        best = np.flatnonzero(rows[:, 0] >= self.least(scale) + zero_point)
        whole = rows[best].astype(np.int64) - zero_point
        order = np.argsort(-whole[:, 0], kind="stable")
        return self._unlike(_edges(self.grids, scale, best[order], whole[order]))

    def least(self, scale: float) -> int:
        """q - Z of the least candidate."""
        return math.ceil(self.threshold / scale)

    def least_certain(self, scale: float) -> int:
        """q - Z from which on a candidate needs no second look."""
        return math.ceil(self.certain / scale)

    def multipliers(self, scale: float) -> list[int]:
        """M of each grid."""
        return _multipliers(self.grids, scale)

    def _unlike(self, faces: NDArray[np.int64]) -> NDArray[np.int64]:
        """The best of each that overlap; `faces` come best first."""
        kept: list[NDArray[np.int64]] = []
        while len(faces) and len(kept) < MAX_FACES:
            best = faces[0]
            kept.append(best)
            width = np.minimum(best[2], faces[:, 2]) - np.maximum(best[0], faces[:, 0])
            height = np.minimum(best[3], faces[:, 3]) - np.maximum(best[1], faces[:, 1])
            common = np.maximum(width, 0) * np.maximum(height, 0)
            areas = (faces[:, 2] - faces[:, 0]) * (faces[:, 3] - faces[:, 1])
            same = 256 * common > self.overlap * (areas + areas[0] - common)
            same[0] = True
            faces = faces[~same]
        return np.array(kept, np.int64).reshape(-1, ROW)


def _multipliers(grids: tuple[Grid, ...], scale: float) -> list[int]:
    return [round(scale * grid.stride * 2**20) for grid in grids]


@lru_cache(maxsize=8)
def _cells(grids: tuple[Grid, ...], scale: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(cells, 4) of the cells' middles in 1/16 pixel, as x, y, x, y, and (cells, 1) of M."""
    middles, multipliers = [], []
    for grid, multiplier in zip(grids, _multipliers(grids, scale), strict=True):
        row, column = np.divmod(np.arange(grid.rows * grid.columns), grid.columns)
        x, y = ((2 * v + 1) * grid.stride * 8 for v in (column, row))
        middles.append(np.stack([x, y, x, y], axis=1))
        multipliers.append(np.full((len(x), 1), multiplier, np.int64))
    return np.concatenate(middles), np.concatenate(multipliers)


def _edges(
    grids: tuple[Grid, ...], scale: float, cells: NDArray[np.intp], whole: NDArray[np.int64]
) -> NDArray[np.int64]:
    """(faces, 5) of some cells and their rows, in their order."""
    middles, multipliers = _cells(grids, scale)
    away = np.maximum((whole[:, 1:] * multipliers[cells] + 2**15) >> 16, 0)
    out = np.concatenate([middles[cells], whole[:, :1]], axis=1)
    out[:, :2] -= away[:, :2]
    out[:, 2:4] += away[:, 2:]
    return out


def completed(rows: Any) -> Any:
    """Parsed JSON of rows; those of before the first look could decide alone get what says so."""
    return {"certain": NEVER, "large_at_once": False} | rows if isinstance(rows, dict) else rows


def in_frame(
    face: NDArray[np.int64], region: Region, width: int, height: int
) -> tuple[int, int, int, int]:
    """(x, y, width, height) in pixels of the frame of a face's edges in 1/16 pixel of an input of
    `width` x `height` that shows `region` of the frame; at least one pixel a side."""
    left, right = (_to_frame(int(face[i]), region.width, width) for i in (0, 2))
    top, bottom = (_to_frame(int(face[i]), region.height, height) for i in (1, 3))
    return (region.left + left, region.top + top, max(1, right - left), max(1, bottom - top))


def _to_frame(value: int, side: int, n: int) -> int:
    return (2 * value * side + 16 * n) // (32 * n)
