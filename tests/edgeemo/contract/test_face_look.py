"""A detector's looks, with a network of which each answer is known."""

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.face_look import Looker, Place
from edgeemo.contract.face_rows import FaceRows, Grid
from edgeemo.contract.input_spec import InputSpec

SPEC = InputSpec(height=64, width=64)
GRID = Grid(8, 8, 8)
FAR, NEAR = 40, 60  # logits of the first look and of the second


def row_of(place: Place, logit: int) -> tuple[int, list[int]]:
    """The cell at a place's middle, and its row, in pixels of 1/8 of a stride."""
    x, y, width, height = place
    column, row = (x + width // 2) // 8, (y + height // 2) // 8
    middle_x, middle_y = 8 * column + 4, 8 * row + 4
    away = [middle_x - x, middle_y - y, x + width - middle_x, y + height - middle_y]
    return row * 8 + column, [logit, *away]


class Network:
    """Sees `places` in the whole frame, and whatever fills the middle of each closer look."""

    def __init__(self, places: list[Place]) -> None:
        self.places, self.looks = places, 0

    def rows(self, pixels: NDArray[np.uint8]) -> NDArray[np.int8]:
        rows = np.full((64, 5), -100, np.int8)
        first = self.looks == 0
        self.looks += 1
        seen = self.places if first else [(21, 21, 22, 22)]  # a 2.93th of 64 pixels
        for number, place in enumerate(seen):
            cell, row = row_of(place, (FAR if first else NEAR) - number)
            rows[cell] = row
        return rows


def found(places: list[Place], *, every: bool = False, **limits: float) -> tuple[list[Place], int]:
    network = Network(places)
    looker = Looker(network.rows, SPEC, FaceRows((GRID,), 0.5, **limits), 1 / 8, 0)
    frame = np.zeros((64, 64), np.uint8)
    faces = looker.all_faces(frame) if every else looker.faces(frame)
    return [face.place for face in faces], network.looks


def test_a_part_of_a_face_gets_no_look_of_its_own() -> None:
    whole, eye, other = (6, 6, 20, 20), (8, 8, 8, 8), (48, 48, 12, 12)
    faces, looks = found([whole, eye, other])
    assert looks == 3, "the frame, the face, the other face"
    assert len(faces) == 2
    assert all(place[2] >= 12 for place in faces)


def test_a_part_that_is_surer_than_its_face_is_looked_at_and_the_face_too() -> None:
    whole, eye = (6, 6, 20, 20), (8, 8, 8, 8)
    faces, looks = found([eye, whole])
    assert (len(faces), looks) == (2, 3)


def test_all_faces_holds_parts_of_faces_too() -> None:
    faces, looks = found([(6, 6, 20, 20), (8, 8, 8, 8)], every=True)
    assert (len(faces), looks) == (2, 3)


def test_a_candidate_from_certain_on_is_a_face_at_the_first_look() -> None:
    faces, looks = found([(6, 6, 16, 16), (40, 40, 16, 16)], certain=FAR / 8)
    assert looks == 2, "the frame, and the second candidate, whose logit is one lower"
    assert len(faces) == 2
    assert (6, 6, 16, 16) in faces
    assert found([(6, 6, 16, 16)], certain=FAR / 8 + 0.1)[1] == 2


def test_a_face_that_fills_the_frame_needs_no_look_from_nearer() -> None:
    """Its region would be 2.93 times its side, and is as wide as the frame from 22 of 64 pixels."""
    at_once = {"large_at_once": True}
    assert found([(20, 20, 22, 22)], sure=FAR / 8, **at_once) == ([(20, 20, 22, 22)], 1)
    assert found([(20, 20, 21, 21)], sure=FAR / 8, **at_once)[1] == 2
    assert found([(20, 20, 22, 22)], sure=FAR / 8 + 0.1, **at_once)[1] == 2
    assert found([(20, 20, 22, 22)], sure=FAR / 8)[1] == 2, "not where the bundle does not say so"
