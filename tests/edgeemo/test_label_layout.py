"""Labels stand inside the picture, over no other label and no other face, and each where there is
room."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeemo.label_layout import Label, least_size, placed, text_size
from edgeemo.results import Box


def measure(text: str, size: int) -> tuple[int, int]:
    return round(0.6 * size * len(text)) + 4, size + 4


def meet(a: Box, b: Box) -> bool:
    across = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    down = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    return across > 0 and down > 0


def labels_of(faces: list[Box], frame: tuple[int, int]) -> list[Label | None]:
    return placed(faces, [("surprise 100%", "surprise")] * len(faces), measure, frame)


def check(faces: list[Box], labels: list[Label | None], frame: tuple[int, int]) -> None:
    drawn = [(i, label.box) for i, label in enumerate(labels) if label]
    for i, box in drawn:
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width <= frame[0]
        assert box.y + box.height <= frame[1]
        assert not any(meet(box, face) for j, face in enumerate(faces) if j != i)
    assert not any(meet(a, b) for (_, a), (_, b) in itertools.combinations(drawn, 2))


BOX = st.builds(
    Box, st.integers(-100, 700), st.integers(-100, 500), st.integers(1, 600), st.integers(1, 600)
)


@settings(max_examples=150, deadline=None)
@given(st.lists(BOX, max_size=8), st.sampled_from([(640, 480), (320, 240), (100, 30), (9, 9)]))
def test_no_label_covers_another_nor_another_face_nor_leaves_the_picture(
    faces: list[Box], frame: tuple[int, int]
) -> None:
    check(faces, labels_of(faces, frame), frame)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([(320, 240), (1280, 720), (3840, 2160)]))
def test_every_face_with_room_around_it_has_its_label_beside_it(
    data: st.DataObject, frame: tuple[int, int]
) -> None:
    # One face in each cell of a grid, with room for a label between two.
    across, down = frame[0] // 3, frame[1] // 3
    faces = []
    for column, row in itertools.product(range(3), range(3)):
        height = data.draw(st.integers(20, down // 2))
        x = column * across + data.draw(st.integers(0, across - height))
        y = row * down + data.draw(st.integers(0, down - height - (least_size(frame) + 8)))
        faces.append(Box(x, y, height, height))
    labels = labels_of(faces, frame)
    check(faces, labels, frame)
    for face, label in zip(faces, labels, strict=True):
        assert label is not None
        assert not meet(face, label.box)
        near = Box(face.x - 3, face.y - 3, face.width + 6, face.height + 6)
        assert meet(near, label.box)


@pytest.mark.parametrize(
    ("frame", "face", "size"),
    [
        ((320, 240), 60, 11),
        ((320, 240), 240, 15),
        ((640, 480), 120, 20),
        ((3840, 2160), 60, 24),
        ((3840, 2160), 600, 100),
        ((3840, 2160), 2100, 135),
    ],
)
def test_text_follows_the_face_and_is_read_at_320_pixels_and_at_4k(
    frame: tuple[int, int], face: int, size: int
) -> None:
    assert text_size(Box(0, 0, face, face), frame) == size


def test_in_a_row_without_room_beside_texts_become_smaller_shorter_then_stay_within_their_face() -> (
    None
):
    alone = labels_of([Box(100, 100, 60, 60)], (640, 480))[0]
    assert alone == Label("surprise 100%", 11, Box(100, 83, 90, 15))
    crowd = [Box(60 * i, 60 * j, 60, 60) for i in range(5) for j in range(4)]
    labels = labels_of(crowd, (300, 240))
    check(crowd, labels, (300, 240))
    assert {label.text for label in labels if label} == {"surprise"}
    assert all(label and meet(label.box, face) for face, label in zip(crowd, labels, strict=True))


def test_a_face_without_any_room_has_no_label() -> None:
    faces = [Box(0, 0, 20, 20), Box(10, 0, 20, 20), Box(5, 5, 20, 20)]
    assert labels_of(faces, (30, 25)) == [None, None, None]
