"""Where the labels of faces stand in a picture: beside their face, over nobody else's, never over
each other.

Pure geometry; how large a text is, the caller says.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeemo.results import Box

Measure = Callable[[str, int], tuple[int, int]]
"""The width and height in pixels of a text at a font's size in pixels, with its margin."""

_OF_FACE = 6  # a text's share of its face's height
_OF_FRAME = 90  # of the frame's shorter side: the smallest text that is read when all of it is seen
_LARGEST_OF_FRAME = 16
_LEAST, _LEAST_OF_ALL = 11, 9  # pixels; what is read anywhere, and what is read if need be
_STEP = 0.8  # from one size to the next smaller
_PLACES = np.linspace(0, 1, 9)  # along an edge of the face


@dataclass(frozen=True)
class Label:
    """A text and where it stands."""

    text: str
    """What is drawn."""
    size: int
    """Of the font, pixels."""
    box: Box
    """What it covers."""


def text_size(face: Box, frame: tuple[int, int]) -> int:
    """The font's size in pixels for a face in a frame of (width, height): it follows the face, as
    long as it is read at the size at which the whole frame is seen.
    """
    least = least_size(frame)
    return min(max(round(face.height / _OF_FACE), least), max(least, _largest(frame)))


def least_size(frame: tuple[int, int]) -> int:
    """The font's size in pixels under which a text in a frame of (width, height) is hard to read."""
    return max(_LEAST, round(min(frame) / _OF_FRAME))


def placed(
    faces: Sequence[Box],
    texts: Sequence[Sequence[str]],
    measure: Measure,
    frame: tuple[int, int],
    gap: int = 2,
) -> list[Label | None]:
    """A label for each face: inside the frame, over no other face and no other label.

    Beside the face where there is room, smaller or shorter if need be, else within the face's own
    box; None where there is no room at all.

    Args:
        faces: their boxes.
        texts: of each face, the text and shorter ones that may stand for it.
        measure: see `Measure`.
        frame: width and height in pixels.
        gap: pixels between a label and the edge of its face.
    """
    corners = np.array([_corners(face) for face in faces], np.int64).reshape(-1, 4)
    labels: list[Label | None] = [None] * len(faces)
    taken = np.empty((0, 4), np.int64)
    for i in sorted(range(len(faces)), key=lambda i: (-faces[i].height, faces[i].y, faces[i].x)):
        others = np.concatenate([np.delete(corners, i, axis=0), taken])
        labels[i] = label = _label(faces[i], texts[i], measure, frame, gap, others)
        if label:
            taken = np.concatenate([taken, [_corners(label.box)]])
    return labels


def _label(
    face: Box,
    texts: Sequence[str],
    measure: Measure,
    frame: tuple[int, int],
    gap: int,
    others: NDArray[np.int64],
) -> Label | None:
    wanted, least = text_size(face, frame), least_size(frame)
    sizes = [*_sizes(wanted, least), *_sizes(least, _LEAST_OF_ALL)[1:]]
    readable = [(text, size) for size in _sizes(wanted, least) for text in texts[:1]]
    small = [(text, size) for size in sizes for text in texts]
    for places, tries in ((_beside, readable), (_beside, small), (_within, small)):
        for text, size in tries:
            width, height = measure(text, size)
            corners = places(face, width, height, gap)
            free = np.flatnonzero(_is_free(corners, others, frame))
            if free.size:
                left, top = (int(v) for v in corners[free[0], :2])
                return Label(text, size, Box(left, top, width, height))
    return None


def _largest(frame: tuple[int, int]) -> int:
    return round(min(frame) / _LARGEST_OF_FRAME)


def _sizes(largest: int, least: int) -> list[int]:
    sizes = [largest]
    while sizes[-1] > least:
        sizes.append(max(least, min(sizes[-1] - 1, round(_STEP * sizes[-1]))))
    return sizes


def _beside(face: Box, width: int, height: int, gap: int) -> NDArray[np.int64]:
    """(n, 4) corners of places around a face, the best first: above, below, right, left; on its
    left edge first.
    """
    left, top, right, bottom = _corners(face)
    across = left + np.round(_PLACES * (face.width - width)).astype(np.int64)
    # Beyond its corners too, until the label and the face share nothing of their edge any more.
    wide = left - width + np.round(_PLACES * (face.width + width)).astype(np.int64)
    down = top - height + np.round(_PLACES * (face.height + height)).astype(np.int64)
    rows = [(x, y) for x in across for y in (top - gap - height, bottom + gap)]
    rows.sort(key=lambda place: place[1] > top)  # all above before all below
    rows += [(x, y) for y in (top - gap - height, bottom + gap) for x in wide]
    rows += [(x, y) for x in (right + gap, left - gap - width) for y in down]
    return _rectangles(rows, width, height)


def _within(face: Box, width: int, height: int, gap: int) -> NDArray[np.int64]:
    """The same within the face: at its lower edge, then at its upper one."""
    left, top, _, bottom = _corners(face)
    across = left + np.round(_PLACES * (face.width - width)).astype(np.int64)
    rows = [(x, y) for y in (bottom - height, top) for x in across]
    # Of a face that is cut off, within what is seen; the frame's corner is tried last.
    return _rectangles([*rows, (max(left, 0), max(top, 0))], width, height)


def _rectangles(rows: Sequence[tuple[int, int]], width: int, height: int) -> NDArray[np.int64]:
    at = np.array(rows, np.int64)
    return np.concatenate([at, at + np.array((width, height))], axis=1)


def _is_free(
    corners: NDArray[np.int64], others: NDArray[np.int64], frame: tuple[int, int]
) -> NDArray[np.bool_]:
    """Which of (n, 4) rectangles lie in the frame and meet none of (m, 4) others."""
    inside = (corners[:, :2] >= 0).all(axis=1) & (corners[:, 2:] <= np.array(frame)).all(axis=1)
    apart = (corners[:, np.newaxis, 2:] <= others[:, :2]) | (
        corners[:, np.newaxis, :2] >= others[:, 2:]
    )
    return np.asarray(inside & np.all(apart.any(axis=2), axis=1), np.bool_)


def _corners(box: Box) -> tuple[int, int, int, int]:
    """Left, top, and the first pixels beyond right and bottom."""
    return box.x, box.y, box.x + box.width, box.y + box.height
