"""Which camera a word such as "auto", "csi:1" or "rtsp://…" means."""

import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path

from edgeemo.cameras import Camera
from edgeemo.errors import (
    BrokenDependency,
    CameraError,
    EdgeemoError,
    InvalidInput,
    MissingDependency,
    MissingFile,
)

FORMS = (
    "auto, 0 (for /dev/video0), /dev/videoN, csi or csi:1, rtsp://… or http://…, gst:PIPELINE, or the path of a video, a folder "
    "of pictures or a picture"
)
_TEGRA = "/etc/nv_tegra_release"
_MODEL = "/proc/device-tree/model"

log = logging.getLogger("edgeemo.camera")

Attempt = tuple[str, Callable[[], Camera]]  # what messages call it, and what makes it


def choose(source: str, size: tuple[int, int], fps: float) -> tuple[Camera, str]:
    """What `edgeemo.cameras.choose_camera` does."""
    if source == "auto":
        return _choose(size, fps)
    if source == "csi" or source.startswith("csi:"):
        _check(size, fps)
        return _first_that_opens(
            _csi(machine(), _csi_number(source), size, fps), f"no CSI camera works here ({source})"
        )
    camera = closed(source, size, fps)
    camera.open()
    return camera, "asked for by name"


def closed(source: str, size: tuple[int, int], fps: float) -> Camera:
    """What `edgeemo.cameras.camera_for` does."""
    _check(size, fps)
    if source.isdecimal() and source.isascii():
        return _usb(int(source), size, fps)
    if source.startswith("gst:"):
        from edgeemo.cameras.gstreamer import GStreamer

        return GStreamer(source.removeprefix("gst:"), size=size, fps=fps)
    if "://" in source:
        return _network(source)
    return _at_path(source, size, fps)


def machine() -> str:
    """ "jetson" or "pi" where this machine is one, else ""."""
    try:
        model = Path(_MODEL).read_text(encoding="utf-8", errors="replace")
    except OSError:
        model = ""
    return machine_of(model, Path(_TEGRA).exists())


def machine_of(model: str, tegra: bool) -> str:
    """Like `machine`, from the device tree's model and whether NVIDIA's release file is there (not in every container)."""
    if tegra or "jetson" in model.lower() or model.lower().startswith("nvidia orin"):
        return "jetson"
    return "pi" if model.startswith("Raspberry Pi") else ""


def _choose(size: tuple[int, int], fps: float) -> tuple[Camera, str]:
    """The CSI camera where the machine has a connector, then each USB camera."""
    from edgeemo.cameras.v4l2 import is_camera, look_at, nodes

    _check(size, fps)
    kind = machine()
    attempts = _csi(kind, 0, size, fps) if kind else []
    there = nodes()
    usb = [path for path in there if is_camera(look_at(path)) is not False]
    attempts += [(path, lambda path=path: _usb(path, size, fps)) for path in usb]  # type: ignore[misc]
    known = []
    if not kind:
        known.append("CSI: neither a Raspberry Pi nor a Jetson")
    if not usb:
        known.append(
            f"USB: none of the {len(there)} /dev/video* is a camera"
            if there
            else "USB: no /dev/video* is there"
        )
    return _first_that_opens(attempts, f"no camera works here; --camera takes {FORMS}", known)


def _first_that_opens(
    attempts: list[Attempt], sorry: str, known: list[str] | None = None
) -> tuple[Camera, str]:
    refused = list(known or [])
    for name, make in attempts:
        try:
            camera = make()
            camera.open()
        except (CameraError, MissingDependency, BrokenDependency, InvalidInput) as error:
            # Broken is no reason to stop here: pip's numpy breaks the system's picamera2, and rpicam-vid still works.
            log.log(
                logging.WARNING if isinstance(error, BrokenDependency) else logging.INFO,
                "not taken: %s",
                error,
            )
            refused.append(_told(name, error))
            continue
        reason = "; ".join(["the first that works", *refused])
        log.info("%s taken: %s", camera.name, reason)
        return camera, reason
    raise CameraError(f"{sorry}. Tried: {'; '.join(refused)}")


def _told(name: str, error: EdgeemoError) -> str:
    return str(error) if str(error).startswith(name) else f"{name}: {error}"


def _csi(kind: str, number: int, size: tuple[int, int], fps: float) -> list[Attempt]:
    """The ways to a CSI camera on this kind of machine, best first."""

    def argus() -> Camera:
        from edgeemo.cameras.gstreamer import GStreamer, jetson_pipeline

        camera = GStreamer(jetson_pipeline(number, size=size, fps=fps), size=size)
        camera.name = f"csi:{number} (nvarguscamerasrc)"
        return camera

    def picamera2() -> Camera:
        from edgeemo.cameras.picamera2 import PiCamera2

        return PiCamera2(number, size=size, fps=fps)

    def rpicam() -> Camera:
        from edgeemo.cameras.rpicam import RpiCam

        return RpiCam(number, size=size, fps=fps)

    if kind == "jetson":
        return [("nvarguscamerasrc", argus)]
    return [("picamera2", picamera2), ("rpicam-vid", rpicam)]


def _usb(device: int | str, size: tuple[int, int], fps: float) -> Camera:
    from edgeemo.cameras.usb import UsbCamera

    return UsbCamera(device, size=size, fps=fps)


def _network(source: str) -> Camera:
    from edgeemo.cameras.network import SCHEMES, NetworkCamera
    from edgeemo.cameras.redact import masked

    if source.partition("://")[0].lower() not in SCHEMES:
        raise InvalidInput(f"expected a camera of the form {FORMS}; received {masked(source)}")
    return NetworkCamera(source)


def _at_path(source: str, size: tuple[int, int], fps: float) -> Camera:
    from edgeemo.cameras.files import Pictures, Video
    from edgeemo.data.pictures import SUFFIXES

    try:
        mode = os.stat(source).st_mode
    except (OSError, ValueError) as error:
        if source.startswith("/dev/"):
            return _usb(source, size, fps)  # says which there are
        if isinstance(error, PermissionError):
            raise CameraError(
                f"{source}: cannot be read ({error.strerror}); check its permissions"
            ) from None
        if source in ("auto", "csi") or source.startswith("csi:"):
            raise InvalidInput(
                f"{source!r} is decided while opening; call open_camera({source!r})"
            ) from None
        raise MissingFile(f"{source!r}: no such camera or file; expected {FORMS}") from None
    if stat.S_ISDIR(mode):
        return Pictures(source, fps=fps)
    if stat.S_ISCHR(mode):
        return _usb(source, size, fps)
    if not stat.S_ISREG(mode):
        raise InvalidInput(f"{source}: neither a file, a folder nor a device; expected {FORMS}")
    return Pictures(source, fps=fps) if Path(source).suffix.lower() in SUFFIXES else Video(source)


def _csi_number(source: str) -> int:
    number = source.partition(":")[2] or "0"
    if source == "csi:" or not (number.isdecimal() and number.isascii()):
        raise InvalidInput(
            f"expected csi, or csi:N with the number of the camera; received {source!r}"
        )
    return int(number)


def _check(size: tuple[int, int], fps: float) -> None:
    if len(size) != 2 or min(size) < 16 or max(size) > 16_384:
        raise InvalidInput(
            f"expected a size of width and height, from 16 to 16384 pixels; received {size!r}"
        )
    if not 0 < fps <= 1000:
        raise InvalidInput(f"expected fps above 0 and up to 1000; received {fps!r}")
