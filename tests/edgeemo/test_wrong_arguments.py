"""What Python's callers pass by mistake is answered with what to pass instead; and what is printed
of a bundle is one line.
"""

from typing import Any

import pytest

import edgeemo
from edgeemo.errors import InvalidInput


@pytest.mark.parametrize("picture", [None, b"x", 7, ["a.png"]])
def test_what_is_no_picture_is_told_what_is(picture: Any) -> None:
    says = f"expected a picture's path or a frame .* received {type(picture).__name__}"
    with pytest.raises(InvalidInput, match=says):
        edgeemo.predict(picture)


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
