"""What each cell of each grid is to say of a frame's boxes."""

import numpy as np
from numpy.typing import NDArray

from workstation.frames.canvas import Canvas

FACE, NONE, IGNORED = 1.0, 0.0, -1.0


def targets(
    canvas: Canvas,
    grids: list[tuple[int, int, int]],
    reach: list[tuple[float, float]],
    least: float,
) -> NDArray[np.float32]:
    """float32 (cells, 5): FACE, NONE or IGNORED, and the distances in strides where it is FACE.

    Args:
        canvas: the frame.
        grids: (stride, rows, columns) of each.
        reach: sides of faces, in pixels, from and to which a grid answers for; they overlap.
        least: faces with a shorter longer side are ignored.
    """
    parts = []
    for (stride, rows, columns), (start, stop) in zip(grids, reach, strict=True):
        out = np.zeros((rows, columns, 5), np.float32)
        y, x = np.meshgrid(
            (np.arange(rows) + 0.5) * stride, (np.arange(columns) + 0.5) * stride, indexing="ij"
        )
        near = np.full((rows, columns), np.inf, np.float32)
        for (left, top, width, height), sure in zip(canvas.boxes, canvas.sure, strict=True):
            middle_x, middle_y = left + width / 2, top + height / 2
            if not (0 <= middle_x < columns * stride and 0 <= middle_y < rows * stride):
                # mostly outside: not to be found, and not to be called empty
                hidden = (np.abs(x - middle_x) < width / 2) & (np.abs(y - middle_y) < height / 2)
                out[hidden & (out[..., 0] == NONE), 0] = IGNORED
                continue
            across, down = np.abs(x - middle_x) / width, np.abs(y - middle_y) / height
            ring = np.maximum(across, down) < 0.5
            out[ring & (out[..., 0] == NONE), 0] = IGNORED
            side = float(np.sqrt(width * height))
            if not (sure and start <= side < stop and max(width, height) >= least):
                continue
            inner = np.maximum(across, down) < 0.2
            inner |= (np.abs(x - middle_x) <= stride / 2) & (np.abs(y - middle_y) <= stride / 2)
            distance = np.maximum(across, down).astype(np.float32)
            inner &= distance < near
            near[inner] = distance[inner]
            edges = np.stack([x - left, y - top, left + width - x, top + height - y], -1) / stride
            out[inner, 0], out[inner, 1:] = FACE, edges[inner]
        parts.append(out.reshape(-1, 5))
    return np.concatenate(parts)
