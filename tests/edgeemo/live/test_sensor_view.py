"""What a sensor looks at: turned frames, a region, stills, pictures that do not change."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeemo import EmotionSensor, FakeBackend, FakeCamera, Recognizer
from edgeemo.cameras import Camera, Frame, open_camera
from edgeemo.cameras.files import Paced, Pictures
from edgeemo.cameras.turned import Turned
from edgeemo.data.pictures import write_picture
from edgeemo.data.view import View
from edgeemo.errors import InvalidInput
from edgeemo.live.options import SensorOptions
from edgeemo.results import Box, Reading


class Spot:
    """Finds the one bright spot, as a box, and keeps the sizes of what it saw."""

    name = "spot"

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def detect(self, frame_rgb: NDArray[np.uint8]) -> list[Box]:
        self.sizes.append((frame_rgb.shape[1], frame_rgb.shape[0]))
        rows, columns = np.nonzero(frame_rgb[..., 0] > 200)
        if not rows.size:
            return []
        x, y = columns.min(), rows.min()
        return [Box(x, y, columns.max() + 1 - x, rows.max() + 1 - y)]


def spotted(x: int, y: int) -> NDArray[np.uint8]:
    """A dark frame of 64x48 with a bright spot of 6x4 pixels there."""
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[y : y + 4, x : x + 6] = 255
    return frame


class Own:
    """A camera of somebody else: no base of ours, nothing but the protocol."""

    name, live = "own", False

    def open(self) -> None:
        self.left = [spotted(8, 10), spotted(8, 10)]

    def read(self) -> Frame | None:
        return Frame(self.left.pop(), 0.0) if self.left else None

    def close(self) -> None:
        self.left = []


def readings(
    camera: str | Camera, detector: Any, *answers: dict[str, float], **options: Any
) -> list[Reading]:
    backend = FakeBackend.script(list(answers)) if answers else FakeBackend(happy=0.9)
    recognizer = Recognizer(detector=detector, backend=backend)
    with EmotionSensor(camera, recognizer=recognizer, options=SensorOptions(**options)) as sensor:
        return list(sensor)


@pytest.mark.parametrize(
    ("view", "box"),
    [
        (View(), (8, 10, 6, 4)),
        (View(90), (48 - 10 - 4, 8, 4, 6)),
        (View(180), (64 - 8 - 6, 48 - 10 - 4, 6, 4)),
        (View(270), (10, 64 - 8 - 6, 4, 6)),
        (View(flip=True), (8, 48 - 10 - 4, 6, 4)),
        (View(mirror=True), (64 - 8 - 6, 10, 6, 4)),
    ],
)
@pytest.mark.parametrize("kind", ["own", "fake", "file"])
def test_frames_of_every_camera_are_turned(
    view: View, box: tuple[int, ...], kind: str, tmp_path: Path
) -> None:
    write_picture(tmp_path / "spot.png", spotted(8, 10))
    camera: Any = {
        "own": Own(),
        "fake": FakeCamera([spotted(8, 10)]),
        "file": str(tmp_path / "spot.png"),
    }[kind]
    seen = readings(camera, Spot(), view=view)[0]
    assert seen.box is not None
    assert seen.box.as_tuple() == box
    if kind == "file":
        opened = open_camera(camera, view=view)
        frame = opened.read()
        assert frame is not None
        assert Spot().detect(frame.pixels)[0].as_tuple() == box
        faces = Recognizer(detector=Spot(), backend=FakeBackend()).predict(camera, view)
        assert [face.box.as_tuple() for face in faces] == [box]


def test_a_region_is_all_that_the_detector_sees_and_boxes_are_the_frames() -> None:
    spot = Spot()
    view = View(region=(0.5, 0.25, 0.5, 0.5))
    camera = FakeCamera([spotted(40, 20), spotted(8, 20)], fps=1)
    inside, outside = readings(camera, spot, view=view, smoothing=False)
    assert spot.sizes == [(32, 24)] * 2
    assert inside.box is not None
    assert inside.box.as_tuple() == (40, 20, 6, 4)
    assert outside.box is None


def test_a_region_is_one_of_the_turned_frame() -> None:
    spot = Spot()
    (seen,) = readings(FakeCamera([spotted(8, 10)]), spot, view=View(90, region=(0.5, 0, 0.5, 0.5)))
    assert spot.sizes == [(24, 32)]
    assert seen.box is not None
    assert seen.box.as_tuple() == (34, 8, 4, 6)


def folder_of(folder: Path, count: int) -> Path:
    """Pictures 1 to `count`, each a spot that is further to the right."""
    for number in range(1, count + 1):
        write_picture(folder / f"img{number}.png", spotted(2 * number, 10))
    return folder


def test_a_folder_is_a_list_of_stills_in_natural_order(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 12)
    answers = [{"happy": 0.9}, {"sad": 0.9}] * 6
    seen = readings(str(folder), Spot(), *answers)
    assert [reading.box.x for reading in seen if reading.box] == [2 * i for i in range(1, 13)]
    assert [reading.emotion for reading in seen] == ["happy", "sad"] * 6
    assert {round(reading.confidence, 4) for reading in seen} == {0.9}
    assert [reading.face_id for reading in seen] == list(range(1, 13))


def test_stills_are_looked_at_one_by_one_whatever_detect_every_says(tmp_path: Path) -> None:
    spot = Spot()
    seen = readings(str(folder_of(tmp_path, 5)), spot, detect_every=10)
    assert len(spot.sizes) == 5
    assert [reading.box.x for reading in seen if reading.box] == [2, 4, 6, 8, 10]


@pytest.mark.parametrize("turn", [0, 180])
def test_fps_makes_a_folder_a_sequence(tmp_path: Path, turn: int) -> None:
    folder = folder_of(tmp_path, 12)
    answers = [{"happy": 0.9}] * 6 + [{"sad": 0.9}] * 6
    seen = readings(str(folder), Spot(), *answers, fps=10, view=View(turn))
    assert {reading.face_id for reading in seen} == {1}
    assert {reading.emotion for reading in seen} == {"happy"}  # sad lasts for less than its hold
    assert [reading.time for reading in seen] == pytest.approx([i / 10 for i in range(12)])
    still = readings(str(folder), Spot(), *answers, view=View(turn))
    assert len({reading.face_id for reading in still}) == 12


def test_a_folder_of_stills_given_as_an_object_takes_no_fps(tmp_path: Path) -> None:
    camera = Pictures(folder_of(tmp_path, 2))
    assert camera.stills
    assert not Pictures(tmp_path, fps=5).stills
    assert Turned(camera, View(90)).stills
    assert not hasattr(Paced(camera), "stills")
    with pytest.raises(InvalidInput, match="expected a live camera with fps"):
        readings(camera, Spot(), fps=5)


def test_patience_is_stall_or_the_time_of_two_frames() -> None:
    assert SensorOptions().patience == 3
    assert SensorOptions(stall=7.5, fps=5).patience == 7.5
    assert SensorOptions(fps=0.1).patience == 20


@pytest.mark.parametrize("frozen", [0.0, -1.0, 3601.0, float("nan")])
def test_frozen_out_of_range_is_refused(frozen: float) -> None:
    with pytest.raises(InvalidInput, match="expected frozen of 0.1 to 3600 seconds"):
        SensorOptions(frozen=frozen)


def test_a_picture_that_stands_still_is_a_fault_only_where_that_is_asked_for() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8)
    for frozen in (None, 0.2):
        camera = FakeCamera([picture] * 40, live=True, fps=100)
        recognizer = Recognizer(detector=Spot(), backend=FakeBackend())
        options = SensorOptions(frozen=frozen)
        with EmotionSensor(camera, recognizer=recognizer, options=options) as sensor:
            sensor.wait(10)
            assert bool(sensor.health().losses) == bool(frozen)
