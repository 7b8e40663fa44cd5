"""Cameras that are programs.

GStreamer's for real, the Raspberry Pi's in the shape of a stand-in that keeps its protocol.
"""

import itertools
import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeemo.cameras import Frame
from edgeemo.cameras.common.pipe import FrameProgram, PipeCamera
from edgeemo.cameras.gstreamer import GStreamer, is_live, jetson_pipeline
from edgeemo.cameras.rpicam import RpiCam, i420_to_rgb
from edgeemo.errors import CameraError, InvalidInput, MissingDependency
from tests import support
from tests.edgeemo.cameras.camera_helpers import (
    Reader,
    assert_red,
    nothing_is_left,
    red_video,
    rest,
    stand_in,
    until,
)

needs_gstreamer = pytest.mark.skipif(
    shutil.which("gst-launch-1.0") is None,
    reason="needs gst-launch-1.0 (apt install gstreamer1.0-tools …-plugins-good)",
)
SIZE = (4, 2)
FRAME = 4 * 2 * 3


def camera_of(code: str, *, live: bool = True) -> PipeCamera:
    """A camera whose program is Python code."""
    return PipeCamera(
        FrameProgram(
            [sys.executable, "-S", "-c", code], FRAME, lambda raw: raw.reshape(2, 4, 3), "not here"
        ),
        name="stand-in",
        live=live,
        fps=10,
    )


FOREVER = f"""
import sys
while True:
    sys.stdout.buffer.write(bytes([255, 0, 0]) * {FRAME // 3})
    sys.stdout.buffer.flush()
"""
THREE = f"import sys; sys.stdout.buffer.write(bytes([255, 0, 0]) * {FRAME})"
ONE_THEN_SILENT = f"""
import sys, time
sys.stdout.buffer.write(bytes([255, 0, 0]) * {FRAME // 3}); sys.stdout.buffer.flush()
time.sleep(1000)
"""


def test_frames_of_a_program_are_what_it_wrote() -> None:
    camera = camera_of(FOREVER)
    with pytest.raises(CameraError, match="stand-in is not open"):
        camera.read()
    camera.open()
    frames = [assert_red(camera.read(), SIZE) for _ in range(100)]
    assert all(earlier.time <= later.time for earlier, later in itertools.pairwise(frames))
    assert len({frame.pixels.ctypes.data for frame in frames}) == 100  # each its own memory
    camera.close()
    camera.close()


def test_frames_that_come_in_pieces_are_put_together() -> None:
    code = f"""
import os, time
for byte in bytes(range({FRAME})) * 2:
    os.write(1, bytes([byte]))
"""
    camera = camera_of(code, live=False)
    camera.open()
    first, second = rest(camera)
    assert first.pixels.tobytes() == second.pixels.tobytes() == bytes(range(FRAME))
    camera.close()


def test_a_recording_ends_with_none_and_its_times_are_counted() -> None:
    camera = camera_of(THREE, live=False)
    for _ in range(2):
        camera.open()
        assert [assert_red(frame, SIZE).time for frame in rest(camera)] == [0.0, 0.1, 0.2]
        assert camera.read() is None
        camera.close()


def test_a_live_program_that_ends_is_an_error_with_its_exit_code() -> None:
    camera = camera_of(THREE)
    camera.open()
    for _ in range(3):
        assert_red(camera.read(), SIZE)
    with pytest.raises(CameraError, match=r"stand-in: python\S* ended with exit code 0"):
        camera.read()
    camera.close()


@pytest.mark.parametrize("live", [True, False])
def test_a_program_that_fails_is_an_error_with_its_last_words(live: bool) -> None:
    code = (
        "import sys; print('lots of talk\\n' * 9999 + 'no cameras available', file=sys.stderr); "
        "sys.exit(3)"
    )
    with pytest.raises(
        CameraError, match=r"stand-in: python\S* ended with exit code 3: no cameras available$"
    ):
        camera_of(code, live=live).open()


def test_a_recording_that_fails_behind_its_frames_is_an_error() -> None:
    camera = camera_of(THREE + "; sys.exit('disk on fire')", live=False)
    camera.open()
    for _ in range(3):
        camera.read()
    with pytest.raises(CameraError, match="exit code 1: disk on fire"):
        camera.read()
    camera.close()


def test_a_program_that_prints_something_else_is_an_error() -> None:
    with pytest.raises(
        CameraError, match=rf"ended within a frame \(6 of {FRAME} bytes\) with exit code 0"
    ):
        camera_of("print('hello')", live=False).open()


def test_a_recording_without_frames_is_an_error() -> None:
    with pytest.raises(CameraError, match="stand-in: gives no frame; is it empty"):
        camera_of("", live=False).open()


def test_a_program_that_is_killed_is_an_error_with_the_signal() -> None:
    code = (
        f"import os, sys; sys.stdout.buffer.write(bytes({FRAME})); sys.stdout.flush(); "
        "os.kill(os.getpid(), 9)"
    )
    camera = camera_of(code)
    camera.open()
    camera.read()
    with pytest.raises(CameraError, match="ended with exit code -9"):
        camera.read()
    camera.close()


@pytest.mark.parametrize(
    "script",
    [
        "echo waiting for the sensor >&2; sleep 1000",
        "while :; do echo waiting for the sensor >&2; done",
    ],
)
def test_a_program_that_hangs_or_only_talks_is_reported_with_its_last_words(script: str) -> None:
    camera = PipeCamera(
        FrameProgram(["sh", "-c", script], 1, lambda raw: raw, ""), name="x", live=True, patience=2
    )
    with (
        nothing_is_left(),
        pytest.raises(CameraError, match="x: no frame for 2 s: waiting for the sensor"),
    ):
        camera.open()


def test_closing_ends_a_read_that_waits_and_the_program() -> None:
    with nothing_is_left():
        camera = camera_of(ONE_THEN_SILENT)
        camera.open()
        assert_red(camera.read(), SIZE)
        reader = Reader(camera)
        until(lambda: camera._resource is not None and camera._resource._users == 1)
        camera.close()
        outcome = reader.outcome()
        assert isinstance(outcome, CameraError)
        assert str(outcome) == "stand-in was closed"


def test_closing_kills_a_program_that_ignores_signals_and_what_it_started() -> None:
    code = f"""
import os, signal, subprocess, sys, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "1000"])
sys.stdout.buffer.write(child.pid.to_bytes({FRAME}, "little")); sys.stdout.flush()
time.sleep(1000)
"""
    with nothing_is_left():
        camera = camera_of(code)
        camera.open()
        frame = camera.read()
        assert frame is not None
        grandchild = Path("/proc", str(int.from_bytes(frame.pixels.tobytes(), "little")), "stat")
        assert grandchild.exists()
        camera.close()
        # Whoever adopted it may take a moment to reap it.
        until(
            lambda: (
                not grandchild.exists()
                or grandchild.read_text().rpartition(")")[2].split()[0] == "Z"
            )
        )


def test_a_program_that_ends_takes_along_what_it_started() -> None:
    code = f"""
import subprocess, sys
child = subprocess.Popen(["sleep", "1000"], stdout=subprocess.DEVNULL)
sys.stdout.buffer.write(child.pid.to_bytes({FRAME}, "little"))
"""
    camera = camera_of(code, live=False)
    camera.open()
    (frame,) = rest(camera)
    grandchild = Path("/proc", str(int.from_bytes(frame.pixels.tobytes(), "little")), "stat")
    until(
        lambda: (
            not grandchild.exists() or grandchild.read_text().rpartition(")")[2].split()[0] == "Z"
        )
    )
    camera.close()


def test_a_program_that_is_not_installed_says_what_to_do() -> None:
    camera = PipeCamera(
        FrameProgram(["edgeemo-no-such-program"], 1, lambda raw: raw, "install it"),
        name="x",
        live=True,
    )
    with pytest.raises(MissingDependency, match="install it"):
        camera.open()


def test_a_program_that_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    program = tmp_path / "broken"
    program.write_bytes(b"\x7fELF nonsense")
    program.chmod(0o755)
    camera = PipeCamera(FrameProgram([str(program)], 1, lambda raw: raw, ""), name="x", live=True)
    with nothing_is_left(), pytest.raises(CameraError, match="broken cannot be started"):
        camera.open()


def test_opening_and_closing_200_times_leaves_nothing() -> None:
    camera = PipeCamera(
        FrameProgram(
            ["sh", "-c", "printf aaa; exec sleep 1000"], 3, lambda raw: raw.reshape(1, 1, 3), ""
        ),
        name="x",
        live=True,
    )
    camera.open()
    camera.close()
    with nothing_is_left():
        for _ in range(200):
            camera.open()
            camera.read()
            camera.close()


def test_an_opened_camera_that_is_opened_again_starts_anew() -> None:
    with nothing_is_left():
        camera = camera_of(THREE, live=False)
        camera.open()
        camera.read()
        camera.open()
        assert [frame.time for frame in rest(camera)] == [0.0, 0.1, 0.2]
        camera.close()


# GStreamer


@needs_gstreamer
@pytest.mark.parametrize("size", [(64, 48), (33, 20), (17, 31), (641, 479)])
def test_gstreamer_gives_red_at_any_width(size: tuple[int, int]) -> None:
    camera = GStreamer("videotestsrc pattern=red num-buffers=3", size=size, fps=30)
    assert not camera.live
    camera.open()
    frames = [assert_red(frame, size) for frame in rest(camera)]
    assert [round(frame.time, 4) for frame in frames] == [0.0, 0.0333, 0.0667]
    camera.close()


@needs_gstreamer
def test_a_live_pipeline_gives_the_newest_frame_and_its_end_is_an_error() -> None:
    camera = GStreamer("videotestsrc is-live=true pattern=red num-buffers=10", size=(64, 48))
    assert camera.live
    camera.open()
    assert_red(camera.read())
    with pytest.raises(CameraError, match="gst-launch-1.0 ended with exit code 0"):
        rest(camera)
    camera.close()


@needs_gstreamer
def test_a_recording_of_another_rate_is_brought_to_ours(tmp_path: Path) -> None:
    path = red_video(tmp_path / "red film.avi", frames=10, fps=10)
    camera = GStreamer(f'filesrc location="{path}" ! avidemux ! jpegdec', size=(64, 48), fps=20)
    camera.open()
    times = [assert_red(frame).time for frame in rest(camera)]
    camera.close()
    assert len(times) in (19, 20)  # a second; what follows the last frame is a matter of taste
    assert times[10] == 0.5


@needs_gstreamer
def test_a_picture_of_another_shape_gets_black_bars_and_keeps_its_own() -> None:
    camera = GStreamer(
        "videotestsrc pattern=red num-buffers=1 ! video/x-raw,width=100,height=50", size=(100, 100)
    )
    camera.open()
    frame = camera.read()
    camera.close()
    assert frame is not None
    assert_red(Frame(frame.pixels[27:73], 0), (100, 46))
    assert frame.pixels[:22].max() < 40
    assert frame.pixels[78:].max() < 40


@needs_gstreamer
@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("filesrc location=/no/such ! decodebin", 'Resource not found. No such file "/no/such"'),
        ("nosuchelement", 'erroneous pipeline: no element "nosuchelement"'),
        (
            "v4l2src device=/dev/video250",
            "Cannot identify device '/dev/video250'. system error: No such file",
        ),
        ("videotestsrc ! video/x-raw,format=NOPE", "could not link"),
    ],
)
def test_a_pipeline_that_fails_says_why(pipeline: str, message: str) -> None:
    with nothing_is_left(), pytest.raises(CameraError) as caught:
        GStreamer(pipeline).open()
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"gst:{pipeline}: gst-launch-1.0 ended with exit code ")
    assert "\n" not in str(caught.value)


@needs_gstreamer
def test_no_shell_sees_a_pipeline(tmp_path: Path) -> None:
    with pytest.raises(CameraError):
        GStreamer(f"videotestsrc num-buffers=1 ; touch {tmp_path}/owned").open()
    with pytest.raises(CameraError):
        GStreamer(f"videotestsrc name=$(touch {tmp_path}/owned) ! nope").open()
    assert list(tmp_path.iterdir()) == []


@needs_gstreamer
def test_closing_ends_a_gstreamer_read_that_waits() -> None:
    with nothing_is_left():
        camera = GStreamer(
            "videotestsrc is-live=true pattern=red ! video/x-raw,framerate=1/100", size=(64, 48)
        )
        camera.open()
        assert_red(camera.read())
        reader = Reader(camera)
        until(lambda: camera._resource is not None and camera._resource._users == 1)
        camera.close()
        assert isinstance(reader.outcome(), CameraError)


@needs_gstreamer
def test_gstreamer_opened_and_closed_many_times_leaves_nothing() -> None:
    camera = GStreamer("videotestsrc is-live=true pattern=red", size=(64, 48))
    camera.open()
    camera.close()
    with nothing_is_left():
        for _ in range(200):
            camera.open()
            camera.close()


@needs_gstreamer
def test_a_pipeline_made_for_opencv_works_without_its_sink() -> None:
    camera = GStreamer(
        "videotestsrc pattern=red num-buffers=1 ! videoconvert ! video/x-raw, format=BGR ! appsink "
        "drop=true",
        size=(64, 48),
    )
    camera.open()
    assert_red(camera.read())
    camera.close()


@needs_gstreamer
def test_a_real_video_through_gstreamer_shows_the_same_colours_as_through_opencv(
    tmp_path: Path,
) -> None:
    # The decoder for H.264 is in another Debian package, so its first frames are written as Motion
    # JPEG.
    capture = cv2.VideoCapture(str(support.shared("media", "test.mp4")))
    writer = cv2.VideoWriter(
        str(tmp_path / "v.avi"), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"MJPG"), 30, (320, 240)
    )
    sent = [cv2.resize(capture.read()[1], (320, 240)) for _ in range(5)]
    for frame in sent:
        writer.write(frame)
    writer.release()
    camera = GStreamer(f"filesrc location={tmp_path}/v.avi ! decodebin", size=(320, 240))
    camera.open()
    received = camera.read()
    camera.close()
    assert received is not None
    difference = received.pixels.astype(int) - sent[0][..., ::-1]
    assert abs(difference).mean() < 6
    assert abs(difference.mean(axis=(0, 1))).max() < 4


@pytest.mark.parametrize(
    ("pipeline", "live"),
    [
        ("v4l2src device=/dev/video0 ! jpegdec", True),
        ("libcamerasrc ! video/x-raw,width=640", True),
        ("nvarguscamerasrc sensor-id=0 ! nvvidconv", True),
        ("nvv4l2camerasrc", True),
        ("rtspsrc location=rtsp://x/y latency=0 ! decodebin", True),
        ("udpsrc port=5000 ! application/x-rtp ! rtpjpegdepay ! jpegdec", True),
        ("videotestsrc is-live=true", True),
        ("videotestsrc is-live = TRUE", True),
        ("souphttpsrc location=http://x is-live=(boolean)true ! jpegdec", True),
        ("uridecodebin uri=rtsp://x/y", True),
        ("playbin3 uri=rtsps://x/y", True),
        ("videotestsrc", False),
        ("videotestsrc is-live=false", False),
        ("filesrc location=v4l2.mp4 ! decodebin", False),
        ("multifilesrc location=frame-%05d.jpg ! jpegdec", False),
        ("uridecodebin uri=file:///tmp/x.mp4", False),
    ],
)
def test_whether_a_pipeline_is_live_is_seen_from_its_elements(pipeline: str, live: bool) -> None:
    assert is_live(pipeline) is live
    assert GStreamer(pipeline).live is live


@pytest.mark.parametrize(
    "pipeline",
    ["", "   ", "videotestsrc !", 'filesrc location="unfinished', "videotestsrc ! ! appsink"],
)
def test_what_is_no_pipeline_is_refused(pipeline: str) -> None:
    with pytest.raises(InvalidInput, match="gst:.*: expected a pipeline"):
        GStreamer(pipeline)


def test_gstreamer_that_is_not_installed_names_its_packages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        MissingDependency, match="apt install gstreamer1.0-tools .*gstreamer1.0-plugins-good"
    ):
        GStreamer("videotestsrc").open()


@needs_gstreamer
def test_a_password_in_a_pipeline_is_in_no_message() -> None:
    pipeline = "rtspsrc location=rtsp://bob:sekrit@127.0.0.1:9/x user-id=bob user-pw=sekrit"
    camera = GStreamer(pipeline)
    with pytest.raises(CameraError) as caught:
        camera.open()
    assert "sekrit" not in camera.name + str(caught.value)
    assert "127.0.0.1:9/x" in camera.name


def test_a_jetsons_pipeline_lets_argus_capture_and_keeps_the_pictures_shape() -> None:
    assert (
        jetson_pipeline(1, size=(640, 480), fps=30, flip=2) == "nvarguscamerasrc sensor-id=1 ! "
        "video/x-raw(memory:NVMM),width=1280,height=720,framerate=30/1,format=NV12 ! "
        "nvvidconv flip-method=2 ! video/x-raw,width=640,height=360,format=BGRx"
    )
    assert "width=1920,height=1080,framerate=2997/100" in jetson_pipeline(
        size=(1920, 1080), fps=29.97
    )
    assert "video/x-raw,width=1280,height=720,format=BGRx" in jetson_pipeline(size=(1280, 960))
    assert "video/x-raw,width=360,height=640,format=BGRx" in jetson_pipeline(flip=1)
    assert is_live(jetson_pipeline())


@needs_gstreamer
def test_a_jetsons_pipeline_is_one_that_gstreamer_understands() -> None:
    """Without NVIDIA's elements.

    A test source and a converter in their places, and system memory.
    """
    pipeline = jetson_pipeline(size=(64, 48)).replace(
        "nvarguscamerasrc sensor-id=0", "videotestsrc is-live=true pattern=red"
    )
    pipeline = pipeline.replace("(memory:NVMM)", "").replace(
        "nvvidconv flip-method=0", "videoconvert ! videoscale"
    )
    camera = GStreamer(pipeline, size=(64, 48))
    camera.open()
    frame = camera.read()
    camera.close()
    assert frame is not None
    assert_red(Frame(frame.pixels[8:40], 0), (64, 32))


TALKING_GSTREAMER = """
import os, sys
number = next(word for word in sys.argv if word.startswith("fd=")).removeprefix("fd=")
print("GST_ARGUS: Creating output stream", flush=True)
print("CONSUMER: Waiting until producer is connected...", flush=True)
for _ in range(3):
    os.write(int(number), bytes([255, 0, 0]) * (64 * 48))
    print("GST_ARGUS: Setup Complete, Starting captures for 0 seconds", flush=True)
print("Error generated. gstnvarguscamerasrc.cpp, execute:740 No cameras available", flush=True)
print("Got EOS from element", flush=True)
"""


def test_what_elements_print_does_not_get_into_the_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path / "gst-launch-1.0", TALKING_GSTREAMER)
    monkeypatch.setenv("PATH", str(tmp_path))
    camera = GStreamer(jetson_pipeline(size=(64, 48)), size=(64, 48))
    camera.open()
    for _ in range(3):
        assert_red(camera.read())
    with pytest.raises(CameraError, match="exit code 0: Error generated. .* No cameras available$"):
        camera.read()
    camera.close()


# rpicam-vid

RPICAM = """
import json, os, sys
arguments = sys.argv[1:]
with open(os.path.join(os.path.dirname(__file__), "arguments.json"), "w") as file:
    json.dump(arguments, file)
width, height = (int(arguments[arguments.index(option) + 1]) for option in ("--width", "--height"))
luma, blue, red = 76, 85, 255  # red, as JPEG has it
area = width * height
frame = bytes([luma]) * area + bytes([blue]) * (area // 4) + bytes([red]) * (area // 4)
try:
    while True:
        sys.stdout.buffer.write(frame)
        sys.stdout.buffer.flush()
except (BrokenPipeError, KeyboardInterrupt):
    os._exit(0)
"""


@pytest.mark.parametrize("program", ["rpicam-vid", "libcamera-vid"])
def test_rpicam_vid_is_called_as_its_manual_says_and_red_arrives_as_red(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path / program, RPICAM)
    monkeypatch.setenv("PATH", str(tmp_path))
    camera = RpiCam(1, size=(256, 144), fps=25)
    assert camera.live
    assert camera.name == f"csi:1 ({program})"
    with nothing_is_left():
        camera.open()
        for _ in range(5):
            assert_red(camera.read(), (256, 144))
        camera.close()
    assert json.loads((tmp_path / "arguments.json").read_text()) == [
        "--camera", "1", "--codec", "yuv420", "--width", "256", "--height", "144",
        "--framerate", "25",
        "--timeout", "0", "--nopreview", "--flush", "--verbose", "0", "--output", "-",
    ]  # fmt: skip


def test_the_first_camera_is_not_named_to_rpicam_vid_since_old_ones_know_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path / "rpicam-vid", RPICAM)
    stand_in(tmp_path / "libcamera-vid", "raise SystemExit('the old one')")
    monkeypatch.setenv("PATH", str(tmp_path))
    camera = RpiCam()
    camera.open()
    assert_red(camera.read(), (640, 480))
    camera.close()
    assert "--camera" not in json.loads((tmp_path / "arguments.json").read_text())


def test_rpicam_vid_without_a_camera_says_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path / "rpicam-vid", "import sys; sys.exit('ERROR: *** no cameras available ***')")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        CameraError,
        match=r"csi:0 \(rpicam-vid\): rpicam-vid ended .*: ERROR: \*\*\* no cameras available",
    ):
        RpiCam().open()


def test_rpicam_vid_that_is_not_installed_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        MissingDependency,
        match="rpicam-vid or libcamera-vid is needed .* sudo apt install rpicam-apps",
    ):
        RpiCam().open()


@pytest.mark.parametrize(
    ("size", "others"), [((320, 240), "256x240 or 384x240"), ((640, 481), "640x480 or 768x480")]
)
def test_widths_that_rpicam_vid_would_pad_are_refused(size: tuple[int, int], others: str) -> None:
    with pytest.raises(
        InvalidInput, match=f"multiples of 128 .* received {size[0]}x{size[1]}; ask for {others}"
    ):
        RpiCam(size=size)


def test_i420_in_the_full_range_is_converted_like_jpeg() -> None:
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    bgr = cv2.resize(blocks, (128, 96), interpolation=cv2.INTER_LINEAR)
    ycc = cv2.cvtColor(bgr, cv2.COLOR_BGR2YCrCb)
    red, blue = (
        cv2.resize(ycc[..., channel], (64, 48), interpolation=cv2.INTER_AREA) for channel in (1, 2)
    )
    raw = np.concatenate([plane.reshape(-1) for plane in (ycc[..., 0], blue, red)])
    rgb = i420_to_rgb(raw, (128, 96))
    assert rgb.shape == (96, 128, 3)
    assert abs(rgb[..., ::-1].astype(int) - bgr).mean() < 3
    assert abs(rgb[..., ::-1].astype(int) - bgr).max() < 40


@pytest.mark.parametrize("size", [(2, 2), (128, 96), (256, 34)])
def test_i420_is_converted_to_the_same_bytes_with_opencv_and_without(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    raw = np.random.default_rng(4).integers(0, 256, size[0] * size[1] * 3 // 2, np.uint8)
    with_opencv = i420_to_rgb(raw, size)
    monkeypatch.delitem(sys.modules, "cv2")
    assert np.array_equal(i420_to_rgb(raw, size), with_opencv)
