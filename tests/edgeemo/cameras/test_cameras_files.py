"""Recordings.

Colours and times as they are in the file, each frame in turn, and clear words for what is no
recording.
"""

import itertools
import logging
import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeemo.cameras import FPS, Frame
from edgeemo.cameras.common.playback import Clock
from edgeemo.cameras.fake import FakeCamera
from edgeemo.cameras.files import Paced, Pictures, Video
from edgeemo.data.pictures import write_picture
from edgeemo.errors import CameraError, MissingFile, PictureError
from tests import support
from tests.edgeemo.cameras.camera_helpers import (
    BLUE,
    RED,
    Reader,
    assert_red,
    nothing_is_left,
    red_video,
    rest,
)


@pytest.mark.parametrize(
    ("codec", "suffix"), [("MJPG", ".avi"), ("FFV1", ".avi"), ("mp4v", ".mp4"), ("mp4v", ".mkv")]
)
def test_a_red_video_is_red_and_its_times_are_the_containers(
    tmp_path: Path, codec: str, suffix: str
) -> None:
    camera = Video(red_video(tmp_path / f"red{suffix}", codec=codec, frames=5, fps=10))
    camera.open()
    frames = [assert_red(frame) for frame in rest(camera)]
    assert [round(frame.time, 3) for frame in frames] == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert camera.read() is None
    assert not camera.live
    camera.close()


def test_a_real_video_gives_as_many_frames_as_it_has_with_rising_times() -> None:
    path = support.shared("media", "test.mp4")
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.read()[0]:
        count += 1
    camera = Video(path)
    camera.open()
    times = [frame.time for frame in rest(camera)]
    camera.close()
    assert len(times) == count > 10
    assert times[0] == 0
    assert all(earlier < later for earlier, later in itertools.pairwise(times))


def test_a_video_begins_again_after_close_and_open(tmp_path: Path) -> None:
    camera = Video(red_video(tmp_path / "red.avi"))
    with pytest.raises(CameraError, match=r"red\.avi is not open; call open\(\) first"):
        camera.read()
    for _ in range(2):
        camera.open()
        assert assert_red(camera.read()).time == 0
        assert assert_red(camera.read()).time == 0.1
        camera.close()
        camera.close()
    camera.open()
    camera.open()
    assert len(rest(camera)) == 5
    camera.close()


def test_a_loop_has_no_end_and_its_time_runs_on(tmp_path: Path) -> None:
    camera = Video(red_video(tmp_path / "red.avi", frames=3, fps=10), loop=True)
    camera.open()
    times = [round(assert_red(camera.read()).time, 3) for _ in range(8)]
    assert times == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    camera.close()


def test_a_loop_whose_file_is_gone_says_so(tmp_path: Path) -> None:
    path = red_video(tmp_path / "red.avi", frames=1)
    camera = Video(path, loop=True)
    camera.open()
    assert_red(camera.read())
    path.write_bytes(b"\0" * 1000)
    with pytest.raises(CameraError, match=r"red\.avi: "):
        camera.read()
    camera.close()


def test_a_path_that_looks_like_a_url_or_a_pattern_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("http:", "red %03d.avi", "rote Bilder ä.avi"):
        red_video(tmp_path / "red.avi").rename(name)
        camera = Video(name)
        camera.open()
        assert_red(camera.read())
        camera.close()


def test_a_video_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"gone\.mp4: no such file; check the path"):
        Video(tmp_path / "gone.mp4").open()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty; copy it again"),
        (b"Dear diary,\n" * 99, "a text, not a video; name a video file"),
        (b"#EXTM3U\nhttp://127.0.0.1:9/other.ts\n", "a text, not a video"),
        (bytes(range(256)) * 40, "OpenCV .* cannot open it; it is no video, or damaged"),
    ],
)
def test_a_file_that_is_no_video_is_named_with_the_reason(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "holiday.mp4"
    path.write_bytes(content)
    with pytest.raises(CameraError, match=rf"holiday\.mp4: {message}"):
        Video(path).open()


def test_a_video_without_frames_is_named(tmp_path: Path) -> None:
    path = red_video(tmp_path / "empty.avi", frames=0)
    camera = Video(path)
    with pytest.raises(
        CameraError, match=r"empty\.avi: the video has no frames that can be decoded"
    ):
        camera.open()
    with pytest.raises(CameraError, match="not open"):
        camera.read()


def test_opening_and_closing_videos_leaves_nothing(tmp_path: Path) -> None:
    path = red_video(tmp_path / "red.avi")
    camera = Video(path)
    camera.open()
    camera.close()
    with nothing_is_left():
        for _ in range(50):
            camera.open()
            camera.read()
            camera.close()


@pytest.mark.parametrize(
    ("fps", "positions", "times"),
    [
        (25.0, [0, 0.04, 0.08], [0, 0.04, 0.08]),
        (10.0, [0, 0, 0], [0, 0.1, 0.2]),
        (10.0, [float("nan"), float("inf"), -1], [0, 0.1, 0.2]),
        (10.0, [0, 0.1, 0.05, 0.3], [0, 0.1, 0.2, 0.3]),
        (10.0, [0, 5.0, 0.2, 5.1], [0, 5.0, 5.0, 5.1]),
        (0.0, [-1, -1], [0, 1 / FPS]),
        (float("nan"), [-1, -1], [0, 1 / FPS]),
        (90_000.0, [-1, -1], [0, 1 / FPS]),
    ],
)
def test_times_are_the_containers_where_they_make_sense_and_never_run_backwards(
    fps: float, positions: list[float], times: list[float]
) -> None:
    clock = Clock(fps)
    assert [clock.time_of(position) for position in positions] == pytest.approx(times)


def test_a_folder_gives_its_pictures_by_name(tmp_path: Path) -> None:
    write_picture(tmp_path / "2.png", np.full((48, 64, 3), BLUE, np.uint8))
    write_picture(tmp_path / "1.jpg", np.full((48, 64, 3), RED, np.uint8))
    write_picture(tmp_path / "3.bmp", np.full((20, 30, 3), RED, np.uint8))
    (tmp_path / "notes.txt").write_text("none of these")
    (tmp_path / "sub.png").mkdir()
    camera = Pictures(tmp_path, fps=4)
    for _ in range(2):
        camera.open()
        first, second, third = rest(camera)
        assert_red(first)
        assert tuple(second.pixels[5, 5]) == BLUE
        assert_red(third, (30, 20))
        assert [frame.time for frame in (first, second, third)] == [0.0, 0.25, 0.5]
        assert camera.read() is None
        camera.close()
    assert not camera.live
    with pytest.raises(CameraError, match="is not open"):
        camera.read()


def test_pictures_that_cannot_be_read_are_skipped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    write_picture(tmp_path / "b.png", np.full((48, 64, 3), RED, np.uint8))
    (tmp_path / "c.jpg").write_bytes(b"")
    camera = Pictures(tmp_path)
    with caplog.at_level(logging.WARNING):
        camera.open()
        frames = rest(camera)
    assert [frame.time for frame in frames] == [0.0]
    assert_red(frames[0])
    assert [record.getMessage().split(": ")[1] for record in caplog.records] == [
        str(tmp_path / "a.png"),
        str(tmp_path / "c.jpg"),
    ]


def test_a_folder_without_a_usable_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="no pictures in it; expected .avif, .bmp, .gif"):
        Pictures(tmp_path).open()
    (tmp_path / "a.png").write_bytes(b"no picture")
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(CameraError, match="none of its 2 pictures can be read"):
        Pictures(tmp_path).open()


def test_one_picture_is_one_frame(tmp_path: Path) -> None:
    write_picture(tmp_path / "red.png", np.full((48, 64, 3), RED, np.uint8))
    camera = Pictures(tmp_path / "red.png")
    camera.open()
    (frame,) = rest(camera)
    assert assert_red(frame).time == 0
    camera.close()


def test_one_picture_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"bad\.png"):
        Pictures(tmp_path / "bad.png").open()
    with pytest.raises(MissingFile, match=r"gone\.png: no such file"):
        Pictures(tmp_path / "gone.png").open()


def test_a_paced_recording_is_live_and_its_frames_come_no_earlier_than_their_time() -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    camera = Paced(FakeCamera([Frame(pixels, at) for at in (3.0, 3.05, 3.2)], name="tape"))
    assert camera.live
    assert camera.name == "tape"
    camera.open()
    begin = time.monotonic()
    times = [frame.time for frame in rest(camera)]
    assert times[0] >= begin
    assert times[1] - times[0] >= 0.05 - 1e-6
    assert times[2] - times[0] >= 0.2 - 1e-6
    assert times[2] <= time.monotonic()
    assert camera.read() is None
    camera.close()


def test_closing_a_paced_recording_ends_a_read_that_waits() -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    recording = FakeCamera([Frame(pixels, 0.0), Frame(pixels, 3600.0)])
    camera = Paced(recording)
    camera.open()
    assert camera.read() is not None
    reader = Reader(camera)
    camera.close()
    outcome = reader.outcome()
    assert isinstance(outcome, CameraError)
    assert "closed" in str(outcome)
    assert recording.closed == 1


def test_a_paced_video_can_be_opened_again(tmp_path: Path) -> None:
    camera = Paced(Video(red_video(tmp_path / "red.avi", frames=3, fps=100)))
    for _ in range(2):
        camera.open()
        assert len([assert_red(frame) for frame in rest(camera)]) == 3
        camera.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_video_without_permission_says_so(tmp_path: Path) -> None:
    path = red_video(tmp_path / "red.avi")
    path.chmod(0)
    with pytest.raises(CameraError, match="cannot be read"):
        Video(path).open()
