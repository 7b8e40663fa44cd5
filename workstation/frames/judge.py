"""How well a detector finds the faces that its teacher found, on pictures it has not learned from.

Photos as they are; the photos' faces set into scenes at shares of the frame's shorter side,
upright, turned by 25 degrees and darkened to a fifth; scenes with their own faces; and how many
faces it sees in scenes without any.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workstation.frames.canvas import Canvas, canvas_of, place, similarity, warp
from workstation.frames.known import SURE, Known

Find = Callable[[NDArray[np.uint8]], Sequence[tuple[int, int, int, int]]]
"""uint8 (H, W) grey in, (x, y, width, height) of each face out."""
FRAME = (640, 480)
OVERLAP = 0.5
WITHOUT = "scenes without a face"
SHARES = (1 / 10, 1 / 8, 1 / 6, 1 / 4, 1 / 3, 1 / 2)


@dataclass(frozen=True)
class Count:
    """What was found in one kind of frames."""

    hits: tuple[bool, ...]
    """Of each face that is there, whether it was found with IoU of at least OVERLAP."""
    false: int
    """Boxes that are no face."""
    frames: int
    """Frames looked at."""

    @property
    def faces(self) -> int:
        """Faces that are there."""
        return len(self.hits)

    @property
    def found(self) -> int:
        """Faces that were found."""
        return sum(self.hits)

    @property
    def recall(self) -> float:
        """Share of the faces that was found."""
        return self.found / self.faces if self.faces else float("nan")

    def to_dict(self) -> dict[str, int]:
        """Plain counts."""
        return {
            "faces": self.faces,
            "found": self.found,
            "false": self.false,
            "frames": self.frames,
        }


def judge(find: Find, frames: Mapping[str, Sequence[Canvas]]) -> dict[str, Count]:
    """Counts by kind of frames."""
    return {kind: count(find, of_kind) for kind, of_kind in frames.items()}


def frames_to_judge(
    photos: Sequence[Known], scenes: Sequence[Known], smallest: float, most: int = 300
) -> dict[str, list[Canvas]]:
    """Frames by kind, of photos and scenes kept apart; at most `most` of each kind, and no face
    smaller than `smallest` of the frame's shorter side where one is set in."""
    empty = [s for s in scenes if not len(s.boxes)]
    sure = [p for p in photos if len(p.boxes) == 1 and p.scores[0] >= SURE][:most]
    frames = {"photos as they are": [canvas_of(p) for p in sure]}
    for share in (share for share in SHARES if share >= smallest):
        frames[f"1/{round(1 / share)} of the side"] = _set_into(sure, empty, share, 0.0, 1.0)
    for kind, turn, light in (("turned 25 degrees", 25.0, 1.0), ("darkened to 20 %", 0.0, 0.2)):
        for share in (share for share in (1 / 6, 1 / 4, 1 / 2) if share >= smallest):
            of_kind = _set_into(sure, empty, share, turn, light)
            frames[f"{kind}, 1/{round(1 / share)}"] = of_kind
    frames["scenes with faces"] = [_large(s) for s in scenes if len(s.boxes)]
    frames[WITHOUT] = [canvas_of(s) for s in empty]
    return frames


def count(find: Find, frames: Sequence[Canvas]) -> Count:
    """Greedy matching, each box with the face that it overlaps most.

    A box on a face that does not count is neither right nor wrong.
    """
    hits: list[bool] = []
    false = 0
    for frame in frames:
        left = dict(enumerate(frame.boxes))
        for box in find(frame.grey):
            best = max(left, key=lambda i: iou(box, left[i]), default=None)
            if best is None or iou(box, left[best]) < OVERLAP:
                false += not any(iou(box, other) >= 0.3 for other in frame.boxes)
                continue
            del left[best]
        hits += [i not in left for i, sure in enumerate(frame.sure) if sure]
    return Count(tuple(hits), false, len(frames))


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Common area over the union of two boxes (x, y, width, height)."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    common = max(width, 0.0) * max(height, 0.0)
    return common / (a[2] * a[3] + b[2] * b[3] - common)


def _set_into(
    photos: Sequence[Known], empty: Sequence[Known], share: float, turn: float, light: float
) -> list[Canvas]:
    """Each photo's face, its longer side `share` of the frame's shorter one, in a scene."""
    draw = np.random.default_rng((round(1 / share), round(turn)))
    frames = []
    for number, photo in enumerate(photos):
        back = empty[number % len(empty)].grey
        fill = max(FRAME[0] / back.shape[1], FRAME[1] / back.shape[0])
        middle = (back.shape[1] / 2, back.shape[0] / 2)
        around = similarity(middle, fill, 0, (FRAME[0] / 2, FRAME[1] / 2), False)
        canvas = Canvas(warp(back, around, FRAME), [], [])
        x, y, width, height = (float(v) for v in photo.boxes[0])
        side = share * FRAME[1]
        half = min(side * 0.7, FRAME[1] / 2 - 1)
        to = (draw.uniform(half, FRAME[0] - half), draw.uniform(half, FRAME[1] - half))
        angle = turn if number % 2 else -turn
        matrix = similarity(
            (x + width / 2, y + height / 2), side / max(width, height), angle, to, False
        )
        place(canvas, photo, matrix, np.full(photo.grey.shape, 255, np.uint8))
        canvas.grey = (canvas.grey * light).astype(np.uint8)
        frames.append(canvas)
    return frames


def _large(known: Known) -> Canvas:
    """Faces below a tenth of the shorter side are neither asked for nor false."""
    canvas = canvas_of(known)
    least = min(known.grey.shape) / 10
    canvas.sure = [
        s and max(b[2:]) >= least for s, b in zip(canvas.sure, canvas.boxes, strict=True)
    ]
    return canvas
