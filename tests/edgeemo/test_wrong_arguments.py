"""What Python's callers pass by mistake is answered with what to pass instead; and what is printed
of a bundle is one line.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeemo
from edgeemo.data.pictures import read_picture, write_picture
from edgeemo.errors import InvalidInput, PictureError
from edgeemo.results import Box, Face

ALONE = Face(Box(0, 0, 4, 4), "happy", 0.75, {"happy": 0.75, "sad": 0.25})


@pytest.mark.parametrize("picture", [None, b"x", 7, ["a.png"]])
def test_what_is_no_picture_is_told_what_is(picture: Any) -> None:
    says = f"expected a picture's path or a frame .* received {type(picture).__name__}"
    with pytest.raises(InvalidInput, match=says):
        edgeemo.predict(picture)


def test_an_address_and_a_video_are_told_what_reads_them(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"^https://x/a\.jpg: nothing is fetched .* download it"):
        edgeemo.predict("https://x/a.jpg")
    (tmp_path / "visit.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(64))
    with pytest.raises(
        PictureError, match=r"visit\.mp4: a video, not .* an EmotionSensor reads it"
    ):
        edgeemo.predict(tmp_path / "visit.mp4")
    with pytest.raises(InvalidInput, match="expected a picture's path, received an empty text"):
        edgeemo.predict("")
    # A picture is one whatever its file is called.
    write_picture(tmp_path / "drawn.png", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "drawn.png").rename(tmp_path / "drawn.mp4")
    assert read_picture(tmp_path / "drawn.mp4").shape == (8, 8, 3)


@pytest.mark.parametrize("frame", [None, "a.png", np.zeros((9, 9)), np.zeros((9, 9), np.uint8)])
def test_what_is_no_frame_is_told_what_can_be_drawn_on(frame: Any) -> None:
    with pytest.raises(
        InvalidInput, match=r"^expected a frame of uint8, \(H, W, 3\) RGB; received"
    ):
        edgeemo.annotate(frame, [])


@pytest.mark.parametrize("faces", [None, 3, [1], ["happy"], "happy", [Box(0, 0, 4, 4)], ALONE])
def test_what_are_no_faces_is_told_what_are(faces: Any) -> None:
    with pytest.raises(InvalidInput, match=r"expected a list of faces, .* received \w+$"):
        edgeemo.annotate(np.zeros((9, 9, 3), np.uint8), faces)


@pytest.mark.parametrize("model", [None, b"small", 5])
def test_what_is_no_model_is_told_which_there_are(model: Any) -> None:
    for call in (edgeemo.load_bundle, edgeemo.Recognizer):
        with pytest.raises(InvalidInput, match=r"expected a shipped model's name \(base, nano"):
            call(model)


def test_a_cameras_number_is_written_as_text() -> None:
    with pytest.raises(InvalidInput, match=r'written as text: EmotionSensor\("0"\)'):
        edgeemo.EmotionSensor(0)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput) as caught:
        edgeemo.EmotionSensor(3.5)  # type: ignore[arg-type]
    assert "written as text" not in str(caught.value)


def test_a_bundle_prints_as_one_line() -> None:
    shown = repr(edgeemo.load_bundle("nano"))
    assert shown.startswith("<Bundle nano 0.")
    assert "7 labels, 48x48-grey, " in shown
    assert "int8.tflite" in shown
    assert len(shown) < 250
    assert "\n" not in shown
