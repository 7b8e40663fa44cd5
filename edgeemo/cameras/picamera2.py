"""CSI cameras of a Raspberry Pi through picamera2, which comes with Raspberry Pi OS."""

import contextlib
import importlib
import logging
import threading
import time
from concurrent.futures import CancelledError
from typing import Any

import numpy as np

from edgeemo.cameras import FPS, SIZE, Frame
from edgeemo.cameras.shared import Held, not_open
from edgeemo.cameras.timestamps import captured_at
from edgeemo.errors import BrokenDependency, CameraError, MissingDependency
from edgeemo.optional import is_installed

_PATIENCE = 10.0  # seconds without a frame; a camera that starts takes about one
_CLOSING = 5.0  # seconds that closing may take before it is left to itself
_INSTALL = (
    "on Raspberry Pi OS run: sudo apt install python3-picamera2; a virtual environment sees it only when made with: "
    "python3 -m venv --system-site-packages"
)

log = logging.getLogger("edgeemo.camera")


class PiCamera2:
    """A camera that libcamera knows, USB cameras aside; live.

    Args:
        number: of the CSI camera, from 0.
        size: width and height in pixels; picamera2 may give another that the camera can.
        fps: frames a second.
    """

    live = True

    def __init__(self, number: int = 0, *, size: tuple[int, int] = SIZE, fps: float = FPS) -> None:
        self.name = f"csi:{number} (picamera2)"
        self._number, self._size, self._fps = number, size, fps
        self._patience, self._closing = _PATIENCE, _CLOSING
        self._camera: Held[Any] | None = None
        self._first: Frame | None = None

    def open(self) -> None:
        """Start the camera, and wait for a first frame, which `read` will give.

        Raises:
            MissingDependency: picamera2 is not installed.
            BrokenDependency: it is, and does not import.
            CameraError: no such camera, held by another program, or no frame within 10 s.
        """
        self.close()
        picamera2 = _picamera2()
        try:
            camera = picamera2.Picamera2(self._among(picamera2.Picamera2.global_camera_info()))
        except (RuntimeError, IndexError) as error:
            raise self._failure("cannot be opened; does another program hold it?", error) from None
        self._camera = Held(
            camera, lambda thing: _let_go(thing, self.name, self._closing), self.name
        )
        try:
            self._start(camera)
            self._first = self.read()
        except CameraError:
            self.close()
            raise

    def read(self) -> Frame | None:
        """The next frame. Raises CameraError when none comes for 10 s, or the camera was closed."""
        held = self._camera
        if held is None:
            raise not_open(self.name)
        first, self._first = self._first, None
        if first:
            return first
        with held.use() as camera:
            frame = self._take(camera, held)
        if held.closed:
            raise CameraError(f"{self.name} was closed")
        return frame

    def close(self) -> None:
        """Stop the camera; ends a `read` that waits. Does no harm twice."""
        held, self._camera, self._first = self._camera, None, None
        if held:
            with contextlib.suppress(CameraError), held.use() as camera:
                held.close()  # before the job ends, so that nobody takes its end for a failure
                camera.cancel_all_and_flush()

    def _among(self, cameras: list[dict[str, Any]]) -> int:
        """The number that picamera2 gives our CSI camera; libcamera lists USB cameras too."""
        csi = [
            i for i, about in enumerate(cameras) if "usb" not in str(about.get("Id", "")).lower()
        ]
        if self._number < len(csi):
            return csi[self._number]
        there = (
            ", ".join(f"csi:{i} {cameras[number].get('Model', '')}" for i, number in enumerate(csi))
            or "none"
        )
        raise CameraError(
            f"{self.name}: no such camera; libcamera sees {there}; check the ribbon cable, then: rpicam-hello --list-cameras"
        )

    def _start(self, camera: Any) -> None:
        try:
            # BGR888 is libcamera's name, by significance, for bytes in the order R, G, B. Without a queue, a frame is never
            # one that has waited for us.
            main = {"size": self._size, "format": "BGR888"}
            camera.configure(
                camera.create_video_configuration(
                    main=main, controls={"FrameRate": self._fps}, queue=False
                )
            )
            camera.start()
        except (RuntimeError, ValueError, OSError) as error:
            raise self._failure(
                f"does not start with {self._size[0]}x{self._size[1]}; ask for another size", error
            ) from None

    def _take(self, camera: Any, held: Held[Any]) -> Frame:
        job = camera.capture_request(wait=False)
        try:
            request = camera.wait(job, timeout=self._patience)
        except (TimeoutError, CancelledError):
            camera.cancel_all_and_flush()
            what = (
                " was closed"
                if held.closed
                else f": no frame for {self._patience:g} s; check the ribbon cable"
            )
            raise CameraError(f"{self.name}{what}") from None
        except RuntimeError as error:
            raise self._failure("gives no frame any more", error) from None
        try:
            pixels = request.make_array("main")
            stamp = request.get_metadata().get("SensorTimestamp")
        finally:
            request.release()
        if pixels is None or pixels.size == 0:
            raise CameraError(f"{self.name}: gave an empty frame")
        moment = captured_at(stamp / 1e9) if stamp else time.monotonic()
        return Frame(np.ascontiguousarray(pixels[..., :3], dtype=np.uint8), moment)

    def _failure(self, what: str, error: Exception) -> CameraError:
        return CameraError(f"{self.name}: {what} ({str(error).strip() or type(error).__name__})")


def _picamera2() -> Any:
    if not is_installed("picamera2"):
        raise MissingDependency(
            f"picamera2 is needed for CSI cameras and is not installed; {_INSTALL}"
        )
    try:
        return importlib.import_module("picamera2")
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "")
        raise BrokenDependency(
            f"picamera2 is installed but does not import ({type(error).__name__}: {reason}); {_INSTALL}, and pip must not "
            "replace the system's numpy in it"
        ) from error


def _let_go(camera: Any, name: str, patience: float) -> None:
    """Close it in a thread of its own: a driver that hangs would keep us for ever."""

    def close() -> None:
        try:
            camera.cancel_all_and_flush()  # a job that never ends would keep `close` waiting behind it
            camera.close()
        except Exception as error:
            log.warning("%s: picamera2 cannot close it (%s)", name, error)

    closing = threading.Thread(target=close, name="edgeemo-close", daemon=True)
    closing.start()
    closing.join(patience)
    if closing.is_alive():
        log.warning("%s: hangs while it is closed; left to itself", name)
