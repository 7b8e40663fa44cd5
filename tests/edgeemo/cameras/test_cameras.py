"""Which camera a word means, why another was taken, and what all cameras stand on."""

import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeemo.cameras import Camera, CameraOptions, camera_for, choose_camera, open_camera
from edgeemo.cameras.common.attempts import Attempt, FirstThatOpens
from edgeemo.cameras.common.shared import SharedResource
from edgeemo.cameras.common.timestamps import captured_at
from edgeemo.cameras.common.v4l2 import video_devices
from edgeemo.cameras.csi import csi_attempts, machine, machine_of
from edgeemo.cameras.fake import FakeCamera
from edgeemo.cameras.files import Pictures, Video
from edgeemo.cameras.gstreamer import GStreamer
from edgeemo.cameras.network import NetworkCamera
from edgeemo.cameras.select import closed, forms
from edgeemo.cameras.usb import UsbCamera
from edgeemo.data.pictures import write_picture
from edgeemo.errors import (
    BrokenDependency,
    CameraError,
    InvalidInput,
    MissingDependency,
    MissingFile,
)
from tests.edgeemo.cameras.camera_helpers import RED, assert_red, red_video, stand_in
from tests.edgeemo.cameras.test_cameras_pipe import RPICAM

no_cameras_here = pytest.mark.skipif(
    bool(video_devices() or machine()), reason="this machine has cameras of its own"
)


class Refusing(FakeCamera):
    """Cannot be opened."""

    def __init__(self, error: Exception) -> None:
        super().__init__([])
        self.error = error

    def open(self) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("source", "kind", "name", "live"),
    [
        ("0", UsbCamera, "/dev/video0", True),
        ("12", UsbCamera, "/dev/video12", True),
        ("/dev/video3", UsbCamera, "/dev/video3", True),
        ("/dev/null", UsbCamera, "/dev/null", True),
        ("rtsp://bob:pw@host/live", NetworkCamera, "rtsp://***@host/live", True),
        ("RTSPS://host/live", NetworkCamera, "RTSPS://host/live", True),
        ("http://host:8080/mjpg", NetworkCamera, "http://host:8080/mjpg", True),
        ("gst:videotestsrc", GStreamer, "gst:videotestsrc", False),
        ("gst:rtspsrc location=rtsp://x/y", GStreamer, "gst:rtspsrc location=rtsp://x/y", True),
    ],
)
def test_a_word_means_a_camera(source: str, kind: type, name: str, live: bool) -> None:
    camera = camera_for(source)
    assert isinstance(camera, kind)
    assert (camera.name, camera.live) == (name, live)


def test_a_path_means_a_video_a_folder_or_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    red_video(tmp_path / "red.avi")
    write_picture(tmp_path / "red.png", np.full((48, 64, 3), RED, np.uint8))
    for path, kind in (
        (tmp_path / "red.avi", Video),
        (tmp_path / "red.png", Pictures),
        (tmp_path, Pictures),
    ):
        camera, reason = choose_camera(str(path))
        assert isinstance(camera, kind)
        assert (camera.name, camera.live, reason) == (str(path), False, "asked for by name")
        assert_red(camera.read())
        camera.close()
    monkeypatch.chdir(tmp_path)
    camera = open_camera("red.avi")
    assert_red(camera.read())
    camera.close()


@pytest.mark.parametrize(
    "source", ["webcam", "holiday.mp4", "/no/such/folder/", "", "-1", "csi1", "gst", "²", "a\0b"]
)
def test_what_is_neither_a_form_nor_a_path_is_refused_with_the_forms(source: str) -> None:
    with pytest.raises(MissingFile) as caught:
        open_camera(source)
    assert str(caught.value) == f"{source!r}: no such camera or file; expected {forms()}"


@pytest.mark.parametrize(
    "source", ["ftp://bob:sekrit@host/x", "rtmp://host/live", "file:///etc/passwd"]
)
def test_a_url_of_another_kind_is_refused_with_the_forms(source: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_camera(source)
    assert forms() in str(caught.value)
    assert "sekrit" not in str(caught.value)


@pytest.mark.parametrize("source", ["csi:", "csi:x", "csi:-1", "csi:0:1"])
def test_a_csi_camera_is_named_by_its_number(source: str) -> None:
    with pytest.raises(InvalidInput, match="expected csi, or csi:N with the number of the camera"):
        open_camera(source)


@pytest.mark.parametrize("source", ["auto", "csi", "csi:1"])
def test_what_is_decided_while_opening_is_no_closed_camera(source: str) -> None:
    with pytest.raises(InvalidInput, match="decided while opening; call open_camera"):
        camera_for(source)


@pytest.mark.parametrize("source", ["0", "auto", "csi", "gst:videotestsrc"])
def test_sizes_and_rates_out_of_range_are_refused(source: str) -> None:
    with pytest.raises(
        InvalidInput, match="expected a size of width and height, from 16 to 16384 pixels"
    ):
        open_camera(source, size=(0, 480))
    with pytest.raises(InvalidInput, match="expected fps above 0 and up to 1000; received nan"):
        open_camera(source, fps=float("nan"))


def test_a_pipe_is_no_camera(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(
        InvalidInput, match="fifo: neither a file, a folder nor a device; expected auto, 0"
    ):
        open_camera(str(tmp_path / "fifo"))


@no_cameras_here
def test_auto_without_any_camera_says_what_was_looked_for_and_which_forms_there_are() -> None:
    with pytest.raises(CameraError) as caught:
        open_camera()
    assert (
        str(caught.value)
        == f"no camera works here; name one: {forms()}. Tried: CSI: neither a Raspberry Pi"
        " nor a "
        "Jetson; "
        "USB: no /dev/video* is there"
    )


@no_cameras_here
def test_csi_without_picamera2_takes_rpicam_vid_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path / "rpicam-vid", RPICAM)
    monkeypatch.setenv("PATH", str(tmp_path))
    camera, reason = choose_camera("csi", size=(256, 144))
    assert camera.name == "csi:0 (rpicam-vid)"
    assert reason.startswith(
        "the first that works; picamera2 is needed for CSI cameras and is not installed; on "
        "Raspberry"
    )
    assert_red(camera.read(), (256, 144))
    camera.close()


@no_cameras_here
def test_csi_where_nothing_works_says_why_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CameraError) as caught:
        open_camera("csi:1")
    message = str(caught.value)
    assert message.startswith(
        "no CSI camera works here (csi:1). Tried: picamera2 is needed for CSI cameras and is not "
        "installed"
    )
    assert "; rpicam-vid or libcamera-vid is needed" in message
    with pytest.raises(CameraError, match="; rpicam-vid: expected a width in multiples of 128"):
        open_camera("csi", size=(320, 240))


def test_a_jetsons_csi_camera_is_nvidias_pipeline() -> None:
    ((name, make),) = csi_attempts("jetson", 1, CameraOptions())
    camera = make()
    assert isinstance(camera, GStreamer)
    assert (name, camera.name, camera.live) == (
        "nvarguscamerasrc",
        "csi:1 (nvarguscamerasrc)",
        True,
    )
    assert "sensor-id=1" in camera._program.command
    assert [name for name, _ in csi_attempts("pi", 0, CameraOptions())] == [
        "picamera2",
        "rpicam-vid",
    ]


def test_the_first_that_opens_is_taken_and_the_others_are_explained(
    caplog: pytest.LogCaptureFixture,
) -> None:
    good, never = FakeCamera([], name="good"), FakeCamera([])

    def not_called() -> Camera:
        raise AssertionError

    attempts: list[Attempt] = [
        (
            "picamera2",
            lambda: Refusing(BrokenDependency("picamera2 is installed but does not import")),
        ),
        ("rpicam-vid", lambda: Refusing(MissingDependency("rpicam-vid is not installed"))),
        ("/dev/video0", lambda: Refusing(CameraError("held by cheese (process 7)"))),
        ("/dev/video2", lambda: good),
        ("/dev/video4", not_called),
    ]
    with caplog.at_level(logging.INFO, "edgeemo.camera"):
        first = FirstThatOpens("auto", attempts, "no camera works here")
        first.open()
    assert first.chosen is good
    assert first.name == "good"
    assert (good.opened, never.opened) == (1, 0)
    assert (
        first.reason
        == "the first that works; picamera2 is installed but does not import; rpicam-vid is not "
        "installed; "
        "/dev/video0: held by cheese (process 7)"
    )
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "INFO", "INFO"]
    assert caplog.records[-1].getMessage() == f"good taken: {first.reason}"


def test_when_none_opens_each_reason_is_given() -> None:
    attempts: list[Attempt] = [
        (f"/dev/video{n}", lambda n=n: Refusing(CameraError(f"/dev/video{n}: reason {n}")))
        for n in range(2)
    ]
    with pytest.raises(CameraError) as caught:
        FirstThatOpens("auto", attempts, "no camera works here", ["CSI: none"]).open()
    assert (
        str(caught.value)
        == "no camera works here. Tried: CSI: none; /dev/video0: reason 0; /dev/video1: reason 1"
    )


@pytest.mark.parametrize(
    ("model", "tegra", "kind"),
    [
        ("Raspberry Pi 5 Model B Rev 1.0\0", False, "pi"),
        ("Raspberry Pi Compute Module 4 Rev 1.1\0", False, "pi"),
        ("NVIDIA Jetson Nano Developer Kit\0", False, "jetson"),
        ("NVIDIA Orin NX Developer Kit\0", False, "jetson"),
        ("", True, "jetson"),
        ("", False, ""),
        ("Radxa ROCK 5B\0", False, ""),
    ],
)
def test_a_pi_and_a_jetson_are_known_by_their_device_tree(
    model: str, tegra: bool, kind: str
) -> None:
    assert machine_of(model, tegra) == kind


def test_what_is_used_is_released_by_who_uses_it_and_once() -> None:
    released: list[tuple[str, int]] = []
    shared = SharedResource(
        "thing", lambda thing: released.append((thing, threading.get_ident())), "camera"
    )
    with shared.use() as thing:
        assert thing == "thing"
        closer = threading.Thread(target=shared.close)
        closer.start()
        closer.join()
        assert shared.closed
        assert released == []
        with pytest.raises(CameraError, match="camera was closed"), shared.use():
            pass
    assert released == [("thing", threading.get_ident())]
    shared.close()
    assert len(released) == 1


def test_what_is_not_used_is_released_by_who_closes_it_and_once() -> None:
    released: list[str] = []
    shared = SharedResource("thing", released.append, "camera")
    with shared.use():
        pass
    assert released == []
    shared.close()
    shared.close()
    assert released == ["thing"]


def test_who_closes_from_within_lets_go_at_the_end() -> None:
    released: list[str] = []
    shared = SharedResource("thing", released.append, "camera")
    with pytest.raises(ValueError, match="inside"), shared.use():
        shared.close()
        assert released == []
        raise ValueError("inside")
    assert released == ["thing"]


def test_many_readers_and_closers_released_once() -> None:
    for _ in range(10):
        released: list[str] = []
        shared = SharedResource("thing", released.append, "camera")

        def read(shared: SharedResource[str] = shared) -> None:
            try:
                while True:
                    with shared.use():
                        pass
            except CameraError:
                pass

        threads = [threading.Thread(target=read) for _ in range(3)] + [
            threading.Thread(target=shared.close) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert released == ["thing"]


def test_a_drivers_time_counts_where_it_can_be_one_of_our_clock() -> None:
    now = time.monotonic()
    assert captured_at(now - 0.05) == now - 0.05
    for claimed in (0.0, -1.0, now - 3600, now + 3600, time.time() + 1e6, float("nan")):
        assert now <= captured_at(claimed) <= time.monotonic()


@pytest.mark.parametrize("stall", [3.0, 20.0])
def test_reading_waits_as_long_as_stall_says_and_programs_ten_seconds(stall: float) -> None:
    options = CameraOptions(stall=stall)
    pipeline: Any = closed("gst:v4l2src", options)
    assert pipeline._patience == max(10, stall)
    for kind in ("pi", "jetson"):
        for _, make in csi_attempts(kind, 0, options):
            camera: Any = make()
            assert camera._patience == max(10, stall)
    for word in ("/dev/video9", "rtsp://127.0.0.1/x"):
        camera = closed(word, options)  # type: ignore[assignment]
        assert camera._stall == stall
    assert NetworkCamera("rtsp://127.0.0.1/x", stall=stall)._opening == max(5, 2 * stall)


@pytest.mark.parametrize("stall", [0.0, 3601.0, float("nan")])
def test_a_stall_out_of_range_is_refused(stall: float) -> None:
    with pytest.raises(InvalidInput, match="expected a stall of 0.1 to 3600 seconds"):
        open_camera("0", stall=stall)
