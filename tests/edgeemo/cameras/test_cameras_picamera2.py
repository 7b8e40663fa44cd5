"""picamera2 against a stand-in module that keeps its documented behaviour.

Names of formats, jobs, and what closing does.
"""

import importlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from edgeemo.cameras.picamera2 import PiCamera2
from edgeemo.errors import BrokenDependency, CameraError, MissingDependency
from tests.edgeemo.cameras.camera_helpers import Reader, assert_red, nothing_is_left

STAND_IN = """
import threading, time
from concurrent.futures import CancelledError, Future
import numpy as np

CSI = {"Model": "imx708", "Id": "/base/axi/pcie@120000/rp1/i2c@88000/imx708@1a", "Num": 0}
USB = {
    "Model": "HD Webcam",
    "Id": "/base/scb/pcie@7d500000/pci@0,0/usb@0,0-1.2:1.0-046d:0825",
    "Num": 1,
}
CAMERAS = [CSI, USB]
SCENE = (255, 0, 0)  # RGB
OPENED = []
SILENT = BUSY = REFUSES = STUCK = False
PADDING = 0  # bytes behind each row, as on some sizes
CLOCK = 0.0  # seconds that the sensor's clock is off


class Request:
    def __init__(self, camera):
        self.camera = camera
        camera.out += 1

    def make_array(self, name):
        assert name == "main" and not self.camera.closed
        main = self.camera.config["main"]
        width, height = main["size"]
        # RGB888 is B, G, R in memory, BGR888 is R, G, B: libcamera names by significance in a
        # little-endian word.
        colour = {"BGR888": SCENE, "RGB888": SCENE[::-1]}[main["format"]]
        padded = np.full((height, width + PADDING, 3), 77, np.uint8)
        padded[:, :width] = colour
        return padded[:, :width]

    def get_metadata(self):
        return {"SensorTimestamp": time.monotonic_ns() + int(CLOCK * 1e9), "ExposureTime": 9999}

    def release(self):
        self.camera.out -= 1


class Picamera2:
    @staticmethod
    def global_camera_info():
        return CAMERAS

    def __init__(self, camera_num=0):
        if BUSY:
            raise RuntimeError("Camera __init__ sequence did not complete.")
        self.num, self.out, self.closed, self.jobs = camera_num, 0, False, []
        self.lock = threading.Lock()
        OPENED.append(self)

    def create_video_configuration(self, main, controls, queue):
        return {"main": main, "controls": controls, "queue": queue}

    def configure(self, config):
        if REFUSES:
            raise RuntimeError("Invalid camera configuration")
        self.config = config

    def start(self):
        self.running = True
        self.thread = threading.Thread(target=self.loop, daemon=True)
        self.thread.start()

    def loop(self):
        while self.running:
            time.sleep(0.005)
            with self.lock:
                jobs, self.jobs = ([], self.jobs) if SILENT else (self.jobs, [])
            for job in jobs:
                job.set_result(Request(self))

    def capture_request(self, wait=None, signal_function=None, flush=None):
        job = Future()
        with self.lock:
            self.jobs.append(job)
        return job.result() if wait is None else job

    def wait(self, job, timeout=None):
        return job.result(timeout)

    def cancel_all_and_flush(self):
        with self.lock:
            jobs, self.jobs = self.jobs, []
        for job in jobs:
            job.set_exception(CancelledError())

    def close(self):
        while STUCK:
            time.sleep(0.01)
        with self.lock:
            assert not self.jobs, "close would wait for ever behind this job"
        assert not self.out, "a request was not given back"
        self.running = False
        if hasattr(self, "thread"):
            self.thread.join()
        self.closed = True
"""


@pytest.fixture
def picamera2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / "picamera2.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    module = importlib.import_module("picamera2")
    yield module
    assert all(camera.closed for camera in module.OPENED)
    del sys.modules["picamera2"]


def test_red_arrives_as_red_with_the_sensors_time(picamera2: ModuleType) -> None:
    camera = PiCamera2(size=(64, 48), fps=25)
    assert camera.live
    assert camera.name == "csi:0 (picamera2)"
    with pytest.raises(CameraError, match="is not open"):
        camera.read()
    for _ in range(2):
        begin = time.monotonic()
        camera.open()
        times = [assert_red(camera.read()).time for _ in range(5)]
        camera.close()
        camera.close()
        assert begin <= times[0]
        assert times == sorted(times)
        assert times[-1] <= time.monotonic()
    assert picamera2.OPENED[-1].config == {
        "main": {"size": (64, 48), "format": "BGR888"},
        "controls": {"FrameRate": 25},
        "queue": False,
    }


def test_rows_that_are_padded_arrive_without_padding(picamera2: ModuleType) -> None:
    picamera2.PADDING = 32
    camera = PiCamera2(size=(64, 48))
    camera.open()
    frame = assert_red(camera.read())
    assert frame.pixels.flags["C_CONTIGUOUS"]
    camera.close()


@pytest.mark.parametrize("off", [-86_400.0, 3600.0])
def test_a_sensors_clock_that_is_another_is_not_believed(picamera2: ModuleType, off: float) -> None:
    picamera2.CLOCK = off
    camera = PiCamera2(size=(64, 48))
    begin = time.monotonic()
    camera.open()
    frame = assert_red(camera.read())
    camera.close()
    assert begin <= frame.time <= time.monotonic()


def test_usb_cameras_are_not_counted(picamera2: ModuleType) -> None:
    picamera2.CAMERAS = [picamera2.USB, picamera2.CSI, {**picamera2.CSI, "Model": "imx219"}]
    camera = PiCamera2(1, size=(64, 48))
    camera.open()
    camera.close()
    assert picamera2.OPENED[-1].num == 2
    with pytest.raises(
        CameraError,
        match="csi:2 .*no such camera; libcamera sees csi:0 imx708, csi:1 imx219; check the ribbon",
    ):
        PiCamera2(2).open()
    picamera2.CAMERAS = [picamera2.USB]
    with pytest.raises(CameraError, match="libcamera sees none"):
        PiCamera2().open()


def test_a_camera_that_is_held_or_refuses_the_size_says_so(picamera2: ModuleType) -> None:
    picamera2.BUSY = True
    with pytest.raises(
        CameraError, match="cannot be opened; does another program hold it.*did not complete"
    ):
        PiCamera2().open()
    picamera2.BUSY, picamera2.REFUSES = False, True
    with pytest.raises(
        CameraError,
        match="does not start with 64x48; ask for another size .Invalid camera configuration",
    ):
        PiCamera2(size=(64, 48)).open()


def test_a_camera_that_hangs_does_not_hang_us(picamera2: ModuleType) -> None:
    camera = PiCamera2(size=(64, 48))
    camera.open()
    camera.read()
    picamera2.SILENT, camera._patience = True, 0.5
    with pytest.raises(CameraError, match="no frame for 0.5 s; check the ribbon cable"):
        camera.read()
    camera.close()
    with pytest.raises(CameraError, match="no frame for 0.5 s"):
        camera.open()


def test_a_camera_that_hangs_while_it_is_closed_is_left_to_itself(
    picamera2: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    camera = PiCamera2(size=(64, 48))
    camera._closing = 0.2
    camera.open()
    picamera2.STUCK = True
    camera.close()
    assert "hangs while it is closed; left to itself" in caplog.text
    picamera2.STUCK = False
    while not picamera2.OPENED[0].closed:
        time.sleep(0.01)


def test_closing_ends_a_read_that_waits(picamera2: ModuleType) -> None:
    camera = PiCamera2(size=(64, 48))
    camera.open()
    camera.read()
    picamera2.SILENT = True
    reader = Reader(camera)
    while not picamera2.OPENED[0].jobs:
        time.sleep(0.001)
    camera.close()
    outcome = reader.outcome()
    assert isinstance(outcome, CameraError)
    assert str(outcome) == "csi:0 (picamera2) was closed"


def test_opening_and_closing_leaves_nothing(picamera2: ModuleType) -> None:
    with nothing_is_left():
        camera = PiCamera2(size=(64, 48))
        for _ in range(50):
            camera.open()
            camera.close()


def test_picamera2_that_is_not_installed_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "picamera2", raising=False)
    with pytest.raises(
        MissingDependency,
        match=(
            "picamera2 is needed .*: sudo apt install python3-picamera2; .* python3 -m venv "
            "--system-site-packages"
        ),
    ):
        PiCamera2().open()


def test_picamera2_that_does_not_import_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "picamera2.py").write_text("raise ValueError('numpy.dtype size changed')")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    with pytest.raises(
        BrokenDependency, match=r"does not import \(ValueError: numpy.dtype size changed\)"
    ):
        PiCamera2().open()
