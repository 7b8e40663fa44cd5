"""Pixels that are not square are stretched: a circle on the screen is a circle in the frame."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeemo.cameras.common.opencv import Capture, pixel_aspect, square_size
from edgeemo.cameras.files import Video

ASPECT_4_TO_3 = 2  # of MPEG-2's sequence header (ISO 13818-2, table 6-3): of the whole picture


def video_of_a_circle(path: Path, size: tuple[int, int], aspect: int) -> Path:
    """MPEG-2, as old camcorders and DVDs have it: a circle on a 4:3 screen, squeezed to `size`."""
    screen = cv2.circle(np.zeros((576, 768, 3), np.uint8), (384, 288), 200, (255, 255, 255), -1)
    codec = cv2.VideoWriter.fourcc(*"mp2v")
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, 25, size)
    for _ in range(3):
        writer.write(cv2.resize(screen, size, interpolation=cv2.INTER_AREA))
    writer.release()
    data = bytearray(path.read_bytes())
    at = -1
    while (at := data.find(b"\0\0\1\xb3", at + 1)) >= 0:  # each sequence header
        data[at + 7] = aspect << 4 | data[at + 7] & 0x0F
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("size", "shown"),
    [((352, 576), (768, 576)), ((720, 576), (768, 576)), ((720, 480), (720, 540))],
)
def test_a_circle_on_a_4_to_3_screen_is_a_circle_in_the_frame(
    tmp_path: Path, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    camera = Video(video_of_a_circle(tmp_path / "circle.mpg", size, ASPECT_4_TO_3))
    camera.open()
    frame = camera.read()
    camera.close()
    assert frame is not None
    height, width = frame.pixels.shape[:2]
    assert (width, height) == pytest.approx(shown, abs=1)
    bright = frame.pixels[..., 1] > 128
    across, down = bright.any(axis=0).sum(), bright.any(axis=1).sum()
    assert across == pytest.approx(400 * shown[0] / 768, abs=6)
    assert across / down == pytest.approx(1, abs=0.02)


def test_square_pixels_are_left_alone(tmp_path: Path) -> None:
    camera = Video(video_of_a_circle(tmp_path / "circle.mpg", (352, 576), 1))
    camera.open()
    frame = camera.read()
    camera.close()
    assert frame is not None
    assert frame.pixels.shape == (576, 352, 3)


def test_pixels_of_a_video_that_is_turned_by_its_container_are_turned_too(tmp_path: Path) -> None:
    path = video_of_a_circle(tmp_path / "circle.mpg", (352, 576), ASPECT_4_TO_3)

    class Turned(Capture):
        """OpenCV's answers for a telephone's video; none of its writers makes one."""

        def get(self, key: str) -> float:
            return 270.0 if key == "ORIENTATION_META" else super().get(key)

    capture = Turned("turned", str(path), "CAP_FFMPEG")
    taken = capture.read()
    capture.close()
    assert taken is not None
    assert taken[0].shape == (round(576 * 24 / 11), 352, 3)


@pytest.mark.parametrize(
    ("width", "height", "aspect"),
    [
        (24, 11, 24 / 11),
        (0, 1, 1),
        (1, 0, 1),
        (-1, 1, 1),
        (float("nan"), 1, 1),
        (float("inf"), 1, 1),
        (255, 1, 1),
        (1, 255, 1),
    ],
)
def test_an_aspect_that_cannot_be_is_none(width: float, height: float, aspect: float) -> None:
    assert pixel_aspect(width, height) == aspect


def test_sizes_grow_and_never_shrink() -> None:
    assert square_size(720, 480, 8 / 9) == (720, 540)
    assert square_size(352, 576, 24 / 11) == (768, 576)
    assert square_size(1920, 1080, 1.003) == (1920, 1080)
