"""Our own detectors: faces where they are, at all sizes and shapes of frames, and none where none
is."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage
from numpy.typing import NDArray

from edgeemo.data.pictures import read_picture
from edgeemo.faces import DetectorOptions, open_detector
from edgeemo.faces.own import OwnDetector, open_face
from edgeemo.models import find_detector
from edgeemo.results import Box
from edgeemo.trust import read_detector
from tests import support
from tests.edgeemo.faces.test_faces import ASTRONAUT_FACE, JUSTIN_FACE, overlap


@pytest.fixture(scope="module")
def astronaut() -> NDArray[np.uint8]:
    """uint8 (512, 512, 3) RGB with one face."""
    return read_picture(Path(skimage.__file__).parent / "data" / "astronaut.png")


@pytest.mark.parametrize("name", ["face", "face-nano"])
def test_the_face_is_found_where_yunet_and_haar_find_it(
    astronaut: NDArray[np.uint8], name: str
) -> None:
    detector = open_detector(name)
    assert detector.name == name
    (box,) = detector.detect(astronaut)
    assert overlap(box, ASTRONAUT_FACE) > 0.5
    justin = read_picture(support.shared("media", "justin.jpg"))
    (box,) = detector.detect(justin)
    assert overlap(box, JUSTIN_FACE) > 0.5


def test_boxes_that_have_nothing_of_the_frame_in_them_are_left_out(
    astronaut: NDArray[np.uint8],
) -> None:
    """A hostile manifest: its grids are eight times as wide as the input."""
    bundle = read_detector(find_detector("face-nano"))
    rows = bundle.manifest.rows
    wide = tuple(replace(grid, stride=128) for grid in rows.grids)
    hostile = replace(rows, grids=wide, threshold=-20.0, sure=-20.0, certain=-20.0)
    detector = OwnDetector(replace(bundle, manifest=replace(bundle.manifest, rows=hostile)))
    height, width = astronaut.shape[:2]
    places = [face.place for face in detector._looker.faces(astronaut)]
    assert any(x >= width or y >= height for x, y, _, _ in places)
    boxes = detector.detect(astronaut)
    assert boxes
    assert all(-b.width < b.x < width and -b.height < b.y < height for b in boxes)


def test_there_is_no_face_where_none_is() -> None:
    picture = read_picture(support.shared("media", "no-faces.jpg"))
    assert open_detector("face").detect(picture) == []


@pytest.mark.parametrize("shape", [(1, 1), (2, 900), (900, 2), (48, 48), (300, 20)])
def test_frames_of_any_shape_are_looked_at(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    assert all(isinstance(box, Box) for box in open_face(DetectorOptions()).detect(noise))


def test_a_mirrored_frame_has_its_box_mirrored(astronaut: NDArray[np.uint8]) -> None:
    opened = open_detector("face")
    (box,) = opened.detect(astronaut)
    (other,) = opened.detect(np.ascontiguousarray(astronaut[:, ::-1]))
    back = Box(512 - other.x - other.width, other.y, other.width, other.height)
    assert overlap(box, back) > 0.75


def test_a_smaller_frame_has_its_box_smaller(astronaut: NDArray[np.uint8]) -> None:
    opened = open_detector("face")
    (box,) = opened.detect(astronaut)
    (half,) = opened.detect(np.ascontiguousarray(astronaut[::2, ::2]))
    twice = Box(2 * half.x, 2 * half.y, 2 * half.width, 2 * half.height)
    assert overlap(box, twice) > 0.75


def test_threads_may_share_one(astronaut: NDArray[np.uint8]) -> None:
    opened = open_detector("face")
    frames = [np.ascontiguousarray(f) for f in (astronaut, astronaut[:400], astronaut[::2, ::2])]
    expected = [opened.detect(frame) for frame in frames]
    wrong: list[object] = []

    def look(first: int) -> None:
        for number in range(first, first + 6):
            boxes = opened.detect(frames[number % 3])
            if boxes != expected[number % 3]:
                wrong.append(boxes)

    threads = [threading.Thread(target=look, args=(first,)) for first in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert all(expected)
