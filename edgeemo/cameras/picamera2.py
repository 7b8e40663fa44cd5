"""CSI cameras of a Raspberry Pi through picamera2, which comes with Raspberry Pi OS."""

import importlib
import logging
import threading
import time
from concurrent.futures import CancelledError
from typing import Any

import numpy as np

from edgeemo.cameras import FPS, SIZE, STALL, Frame
from edgeemo.cameras.common.source import Source
from edgeemo.cameras.common.timestamps import captured_at
from edgeemo.errors import BrokenDependency, CameraError, MissingDependency
from edgeemo.optional import IMPORTING, is_installed

_PATIENCE = 10.0  # seconds without a frame; a camera that starts takes about one
_CLOSING = 5.0  # seconds that closing may take before it is left to itself
_INSTALL = (
    "on Raspberry Pi OS run: sudo apt install python3-picamera2; a virtual environment sees it "
    "only "
    "when made with: python3 -m venv --system-site-packages"
)

log = logging.getLogger("edgeemo.camera")


class PiCamera2(Source[Any]):
    """A camera that libcamera knows, USB cameras aside; live. Closing it ends a `read` that waits.

    Args:
        number: of the CSI camera, from 0.
        size: width and height in pixels; picamera2 may give another that the camera can.
        fps: frames a second.
        stall: seconds without a frame that reading waits, at least 10.
    """

    def __init__(
        self,
        number: int = 0,
        *,
        size: tuple[int, int] = SIZE,
        fps: float = FPS,
        stall: float = STALL,
    ) -> None:
        super().__init__(f"csi:{number} (picamera2)", size=size, fps=fps)
        self._number = number
        self._patience, self._closing = max(_PATIENCE, stall), _CLOSING

    def _start(self) -> Any:
        picamera2 = _picamera2()
        try:
            return picamera2.Picamera2(self._among(picamera2.Picamera2.global_camera_info()))
        except (RuntimeError, IndexError) as error:
            raise self._failure("cannot be opened; does another program hold it?", error) from None

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
            f"{self.name}: no such camera; libcamera sees {there}; check the ribbon cable, then: "
            "rpicam-hello --list-cameras"
        )

    def _prepare(self, camera: Any) -> None:
        try:
            # BGR888 is libcamera's name, by significance, for bytes in the order R, G, B. Without a
            # queue, a frame is never one that has waited for us.
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

    def _take(self, camera: Any) -> Frame:
        job = camera.capture_request(wait=False)
        try:
            request = camera.wait(job, timeout=self._patience)
        except (TimeoutError, CancelledError):
            camera.cancel_all_and_flush()
            raise CameraError(
                f"{self.name}: no frame for {self._patience:g} s; check the ribbon cable"
            ) from None
        except RuntimeError as error:
            raise self._failure("gives no frame any more", error) from None
        try:
            pixels = request.make_array("main")
            stamp = request.get_metadata().get("SensorTimestamp")
        finally:
            request.release()
        if pixels is None or pixels.size == 0:
            raise CameraError(f"{self.name}: gave an empty frame")
        timestamp = captured_at(stamp / 1e9) if stamp else time.monotonic()
        return Frame(np.ascontiguousarray(pixels[..., :3], dtype=np.uint8), timestamp)

    def _interrupt(self, camera: Any) -> None:
        camera.cancel_all_and_flush()

    def _release(self, camera: Any) -> None:
        _close(camera, self.name, self._closing)

    def _failure(self, what: str, error: Exception) -> CameraError:
        return CameraError(f"{self.name}: {what} ({str(error).strip() or type(error).__name__})")


def _picamera2() -> Any:
    if not is_installed("picamera2"):
        raise MissingDependency(
            f"picamera2 is needed for CSI cameras and is not installed; {_INSTALL}"
        )
    try:
        with IMPORTING:
            return importlib.import_module("picamera2")
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "")
        raise BrokenDependency(
            f"picamera2 is installed but does not import ({type(error).__name__}: {reason}); "
            f"{_INSTALL}, and pip must not replace the system's numpy in it"
        ) from error


def _close(camera: Any, name: str, patience: float) -> None:
    """Close it in a thread of its own: a driver that hangs would keep us for ever."""

    def close() -> None:
        try:
            # A job that never ends would keep `close` waiting behind it.
            camera.cancel_all_and_flush()
            camera.close()
        except Exception as error:
            log.warning("%s: picamera2 cannot close it (%s)", name, error)

    closing = threading.Thread(target=close, name="edgeemo-close", daemon=True)
    closing.start()
    closing.join(patience)
    if closing.is_alive():
        log.warning("%s: hangs while it is closed; left to itself", name)
