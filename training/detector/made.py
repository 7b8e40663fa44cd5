"""Frames to learn from, made of pictures with known faces: whole pictures, mosaics, and faces set
into scenes, turned, darkened, covered and cut off. Each comes from a seed of its own."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from workstation.frames.canvas import (
    Canvas,
    Grey,
    canvas_of,
    place,
    similarity,
    warp,
    warped_mask,
)
from workstation.frames.known import Known

_STYLES = (("whole", 0.15), ("mosaic", 0.2), ("pasted", 0.4), ("scene", 0.25))
_MOST_TURN = 32.0  # degrees


class Maker:
    """Makes frames of `size` (width, height) from photos of one face and from scenes."""

    def __init__(
        self, photos: Sequence[Known], scenes: Sequence[Known], size: tuple[int, int], least: float
    ) -> None:
        self.photos, self.size, self.least = photos, size, least
        self.faces = [scene for scene in scenes if len(scene.boxes)]
        self.empty = [scene for scene in scenes if not len(scene.boxes)]

    def make(self, seed: int, number: int) -> Canvas:
        """The frame of a number, the same on every machine."""
        draw = np.random.default_rng((seed, number))
        style = draw.choice(len(_STYLES), p=[share for _, share in _STYLES])
        canvas = getattr(self, f"_{_STYLES[style][0]}")(draw)
        return Canvas(_degraded(canvas.grey, draw), canvas.boxes, canvas.sure)

    def _whole(self, draw: np.random.Generator) -> Canvas:
        """A photo that fills the frame, as the input rule fits it in, now and then a bit off."""
        photo = self.photos[int(draw.integers(len(self.photos)))]
        height, width = photo.grey.shape
        fit = min(self.size[0] / width, self.size[1] / height)
        if draw.random() < 0.7:
            fit *= draw.uniform(0.75, 1.35)
        target = np.array(self.size) / 2 + draw.normal(0, 0.06, 2) * self.size
        matrix = similarity(
            (width / 2, height / 2), fit, _turn(draw), tuple(target), draw.random() < 0.5
        )
        canvas = canvas_of(photo).transformed(matrix, self.size)
        if draw.random() < 0.5:
            canvas.grey = _around(canvas.grey, photo.grey.shape, matrix, self._backdrop(draw))
        return canvas

    def _mosaic(self, draw: np.random.Generator) -> Canvas:
        """Photos side by side in cells of one size, a few cells left to the backdrop."""
        width, height = self.size
        side = int(np.exp(draw.uniform(np.log(self.least * 1.1), np.log(height * 0.75))))
        canvas = Canvas(self._backdrop(draw), [], [])
        gap = int(draw.integers(0, max(2, side // 3)))
        for top in range(int(draw.integers(-side, 1)), height, side + gap):
            for left in range(int(draw.integers(-side, 1)), width, side + gap):
                if draw.random() < 0.75:
                    self._put(canvas, draw, side, (left + side / 2, top + side / 2), soft=False)
        return canvas

    def _pasted(self, draw: np.random.Generator) -> Canvas:
        """One to six faces of any size set into a scene; they may reach beyond the frame."""
        width, height = self.size
        canvas = Canvas(self._backdrop(draw), [], [])
        for _ in range(1 + min(5, int(draw.geometric(0.45)) - 1)):
            side = float(np.exp(draw.uniform(np.log(self.least), np.log(height * 0.9))))
            middle = (draw.uniform(-0.02, 1.02) * width, draw.uniform(-0.02, 1.02) * height)
            if all(
                abs(middle[0] - (x + w / 2)) > 0.6 * (w + side)
                or abs(middle[1] - (y + h / 2)) > 0.6 * (h + side)
                for x, y, w, h in canvas.boxes
            ):
                self._put(canvas, draw, side, middle, soft=draw.random() < 0.6)
        return canvas

    def _scene(self, draw: np.random.Generator) -> Canvas:
        """A scene as it is, zoomed and shifted, with its own faces or without any."""
        if self.faces and draw.random() < 0.3:
            scene = self.faces[draw.integers(len(self.faces))]
        else:
            scene = self.empty[draw.integers(len(self.empty))]
        return canvas_of(scene).transformed(self._view(scene.grey, draw), self.size)

    def _view(self, grey: Grey, draw: np.random.Generator) -> NDArray[np.float64]:
        height, width = grey.shape
        fit = min(self.size[0] / width, self.size[1] / height)
        fit *= float(np.exp(draw.uniform(-0.1, 1.0)))
        inside = (draw.uniform(0.25, 0.75) * width, draw.uniform(0.25, 0.75) * height)
        if draw.random() < 0.3:
            inside = (width / 2, height / 2)
        target = (self.size[0] / 2, self.size[1] / 2)
        return similarity(inside, fit, draw.normal(0, 6), target, draw.random() < 0.5)

    def _backdrop(self, draw: np.random.Generator) -> Grey:
        """A scene without a face, cut-up pieces of faces, a gradient or one grey."""
        kind = draw.random()
        if kind < 0.7:
            scene = self.empty[draw.integers(len(self.empty))]
            return warp(scene.grey, self._view(scene.grey, draw), self.size)
        if kind < 0.8:
            return self._pieces(draw)
        width, height = self.size
        ends = draw.uniform(0, 255, 2)
        slope = np.linspace(ends[0], ends[1], width + height)
        grey = slope[np.add.outer(np.arange(height), np.arange(width))]
        return grey.astype(np.uint8)

    def _pieces(self, draw: np.random.Generator) -> Grey:
        """Cells of photos, each a quarter of a face or less: what looks like faces and is none."""
        width, height = self.size
        side = int(draw.integers(max(8, int(self.least) // 2), height // 3))
        grey = np.zeros((height, width), np.uint8)
        for top in range(0, height, side):
            for left in range(0, width, side):
                photo = self.photos[int(draw.integers(len(self.photos)))].grey
                part = max(4, int(min(photo.shape) * 0.33))
                y, x = (int(draw.integers(0, length - part + 1)) for length in photo.shape)
                cell = cv2.resize(
                    photo[y : y + part, x : x + part], (side, side), interpolation=cv2.INTER_LINEAR
                )
                room = grey[top : top + side, left : left + side]
                room[:] = np.rot90(cell, int(draw.integers(4)))[: room.shape[0], : room.shape[1]]
        return grey

    def _put(
        self,
        canvas: Canvas,
        draw: np.random.Generator,
        side: float,
        middle: tuple[float, float],
        *,
        soft: bool,
    ) -> None:
        """Set a photo's face of `side` pixels into the canvas, as a rectangle or as a head."""
        photo = self.photos[int(draw.integers(len(self.photos)))]
        if not len(photo.boxes):
            return
        x, y, width, height = photo.boxes[0]
        scale = side / max(width, height)
        centre = (float(x + width / 2), float(y + height / 2))
        matrix = similarity(centre, scale, _turn(draw), middle, draw.random() < 0.5)
        mask = np.full(photo.grey.shape, 255, np.uint8)
        if soft:
            mask[:] = 0
            axes = (int(width * draw.uniform(0.52, 0.62)), int(height * draw.uniform(0.52, 0.62)))
            cv2.ellipse(mask, (int(centre[0]), int(centre[1])), axes, 0, 0, 360, 255, -1)
            mask = cv2.GaussianBlur(mask, (0, 0), max(1.0, 0.04 * float(width)))
        place(canvas, photo, matrix, mask)


def _around(grey: Grey, shape: tuple[int, ...], matrix: NDArray[np.float64], back: Grey) -> Grey:
    inside = warped_mask(np.full(shape, 255, np.uint8), matrix, (grey.shape[1], grey.shape[0]))
    return np.where(inside > 127, grey, back)


def _turn(draw: np.random.Generator) -> float:
    """Degrees: mostly upright, a third anywhere up to _MOST_TURN."""
    if draw.random() < 0.35:
        return float(draw.uniform(-_MOST_TURN, _MOST_TURN))
    return float(draw.normal(0, 6))


def _degraded(grey: Grey, draw: np.random.Generator) -> Grey:
    """Light, contrast, shadow, noise, blur, covered parts: a camera's bad days."""
    values = grey.astype(np.float32)
    if draw.random() < 0.5:
        values = 255 * (values / 255) ** np.exp(draw.uniform(-0.7, 0.7))
    if draw.random() < 0.7:
        middle = draw.uniform(40, 200)
        values = (values - middle) * draw.uniform(0.5, 1.4) + middle + draw.normal(0, 15)
    if draw.random() < 0.25:
        values *= np.exp(draw.uniform(np.log(0.12), 0))
    if draw.random() < 0.2:
        height, width = grey.shape
        ends = draw.uniform(0.25, 1.2, 2)
        slope = np.linspace(ends[0], ends[1], width, dtype=np.float32)
        values *= slope if draw.random() < 0.6 else np.resize(slope, height)[:, np.newaxis]
    if draw.random() < 0.2:
        values = cv2.GaussianBlur(values, (0, 0), draw.uniform(0.4, 1.6))
    for _ in range(int(draw.integers(0, 4)) if draw.random() < 0.3 else 0):
        height, width = grey.shape
        y, x = int(draw.integers(height)), int(draw.integers(width))
        h, w = (int(draw.integers(4, height // 4)) for _ in range(2))
        values[y : y + h, x : x + w] = draw.uniform(0, 255)
    if draw.random() < 0.4:
        values += draw.normal(0, draw.uniform(1, 12), values.shape).astype(np.float32)
    return np.clip(values, 0, 255).astype(np.uint8)
