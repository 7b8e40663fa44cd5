"""The Cortex-M example with a camera's frames in QEMU: a face anywhere in a frame gets the boxes and
the logits of Python, bit for bit."""

import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray

from edgeemo.contract.bundle import read_bundle
from edgeemo.contract.detector_bundle import read_detector
from edgeemo.contract.preprocess import to_grey
from edgeemo.models import find_detector, find_model
from tests.export.firmware.test_find import in_python
from tests.firmware_examples.test_cortex_m import AS_IT_IS, EXAMPLE, MISSING, Board, numbers

sys.path.insert(0, str(EXAMPLE))
import frames as example

pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (./scripts/system-packages)"
)
DETECTOR = "face-nano"


def seen(rgb: NDArray[np.uint8], kind: str) -> NDArray[np.uint8]:
    """What Python's pipeline is given for a frame of that kind."""
    if kind != "rgb565":
        return to_grey(rgb)
    whole = example.packed(rgb, kind).view(">u2").astype(np.uint32)
    red, green, blue = whole >> 11, whole >> 5 & 63, whole & 31
    planes = [red << 3 | red >> 2, green << 2 | green >> 4, blue << 3 | blue >> 2]
    return np.stack(planes, axis=-1).astype(np.uint8)


def frames_with_a_face(count: int) -> list[NDArray[np.uint8]]:
    """NASA's portrait of an astronaut, its head at `count` places of frames of 320x240."""
    head = skimage.data.astronaut()[:256, 96:352]
    made = []
    for number in range(count):
        frame = np.full((240, 320, 3), 90, np.uint8)
        small = np.ascontiguousarray(head[:: 1 + number % 2, :: 1 + number % 2][:240])
        left = (320 - small.shape[1]) * (number % 3) // 2
        top = (240 - small.shape[0]) * (number % 4) // 3
        frame[top : top + small.shape[0], left : left + small.shape[1]] = small
        made.append(frame)
    return made


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    return Board(
        read_bundle(find_model("nano")),
        tmp_path_factory.mktemp("frames") / "cortex_m",
        read_detector(find_detector(DETECTOR)),
    )


def answers_are_pythons(board: Board, core: str, kinds: list[str]) -> dict[str, int]:
    """Run a frame of each kind; what was printed."""
    rgb = frames_with_a_face(len(kinds))
    packed = [example.frame_bytes(frame, kind) for frame, kind in zip(rgb, kinds, strict=True)]
    (board.folder / "frames.bin").write_bytes(b"".join(packed))
    done = board.make(f"run-{core}", "RAM=512K")
    assert done.returncode == 0, done.stdout
    labels = len(board.bundle.labels)
    found = example.answers((board.folder / "answers.bin").read_bytes(), labels)
    assert board.detector is not None
    views = [seen(frame, kind) for frame, kind in zip(rgb, kinds, strict=True)]
    expected = in_python(board.bundle, board.detector, views)
    assert [[[*place, *logits] for place, logits in faces] for faces in found] == expected
    assert sum(map(bool, expected)) >= 0.75 * len(expected), "hardly a face, so little was compared"
    return numbers(done.stdout)


def test_a_face_anywhere_in_a_frame_gets_pythons_boxes_and_logits(board: Board) -> None:
    printed = answers_are_pythons(board, "m4", ["rgb565"])
    assert (printed["frames"], printed["faces"]) == (1, 1)
    assert printed["arena bytes"] == board.firmware.arena_bytes
    statics = printed["RAM bytes in all"] - printed["stack bytes"]
    known = board.firmware.arena_bytes + printed["frame bytes"] + 2304 + 8 * 7
    assert 0 <= statics - known < 16


@pytest.mark.slow
@pytest.mark.parametrize("core", ["m4", "m7", "m55"])
def test_every_kind_of_frame_on_every_core(board: Board, core: str) -> None:
    answers_are_pythons(board, core, ["grey", "rgb565", "yuyv", "rgb888"] * 3)


def test_frames_that_are_cut_off_or_too_large_are_errors(board: Board) -> None:
    assert board.make("build/m4.elf", "RAM=1M").returncode == 0
    frame = example.frame_bytes(frames_with_a_face(1)[0], "grey")
    for data, words in (
        (frame[:-1], "ends in the middle"),
        (frame[:10], "ends in the middle"),
        (np.array([2000, 2000, 0, 2000], "<i4").tobytes(), "more than FRAME_BYTES"),
        (np.array([320, -5, 0, 320], "<i4").tobytes(), "more than FRAME_BYTES"),
    ):
        (board.folder / "frames.bin").write_bytes(data)
        assert words in board.refuse(*AS_IT_IS)


def test_a_picture_is_packed_whole_into_the_frames_middle(tmp_path: Path) -> None:
    picture = np.full((100, 50, 3), 200, np.uint8)
    frame = example.fitted(picture, 320, 240)
    assert frame.shape == (240, 320, 3)
    assert (frame[:, 100:220] == 200).all()
    assert (frame[:, :100] == 0).all()
    assert (frame[:, 220:] == 0).all()
    assert example.packed(frame, "yuyv").shape == (240, 640)
    assert np.array_equal(example.packed(frame, "yuyv")[:, ::2], to_grey(frame))
