"""What the kernel knows of a V4L2 device node, and why a node is no USB camera that we can use."""

import errno
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from edgeemo.errors import worded

_QUERYCAP = (
    0x80685600  # VIDIOC_QUERYCAP, _IOR('V', 0, struct v4l2_capability), whose size is 104 bytes
)
_CAPTURE = 0x1 | 0x1000  # V4L2_CAP_VIDEO_CAPTURE, V4L2_CAP_VIDEO_CAPTURE_MPLANE
_CONVERTER = 0x4000 | 0x8000  # V4L2_CAP_VIDEO_M2M_MPLANE, V4L2_CAP_VIDEO_M2M
_METADATA = 0x00800000  # V4L2_CAP_META_CAPTURE: the second node of a UVC camera
# V4L2_CAP_DEVICE_CAPS: device_caps speaks for this node, capabilities for the whole device.
_DEVICE_CAPS = 0x80000000

# Names of drivers, as the beginning of /sys/class/video4linux/videoN/name: a camera's raw sensor;
# codecs and image processors.
_RAW = ("unicam", "rp1-cfe", "vi-output", "tegra-video")
_CODECS = (
    "bcm2835-codec",
    "bcm2835-isp",
    "rpivid",
    "pispbe",
    "rpi-hevc-dec",
    "hevc",
    "tegra-vpu",
    "nvvideo",
)


@dataclass(frozen=True)
class Node:
    """A device node."""

    path: str
    """/dev/videoN."""
    trouble: int = 0
    """errno of opening it; 0 when it could be opened."""
    group: str = "video"
    """Name of the group that owns it."""
    label: str = ""
    """The driver's name of it."""
    caps: int | None = _CAPTURE
    """V4L2's capability bits; None where it is no V4L2 device."""


def video_devices() -> list[str]:
    """The /dev/videoN that are there, by number."""
    paths = [str(path) for path in Path("/dev").glob("video*") if path.name[5:].isdigit()]
    return sorted(paths, key=lambda path: int(path.removeprefix("/dev/video")))


def look_at(path: str) -> Node:
    """Ask the kernel about a node; opening it disturbs nobody who captures from it."""
    real = os.path.realpath(path)
    label = _text(f"/sys/class/video4linux/{os.path.basename(real)}/name")
    try:
        about = os.stat(real)
        group = _group(about.st_gid)
        if not stat.S_ISCHR(about.st_mode):
            return Node(path, errno.ENOTTY, group, label, None)
        device = os.open(real, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return Node(
            path,
            error.errno or errno.EIO,
            "video" if error.errno == errno.ENOENT else _owner(real),
            label,
            None,
        )
    try:
        return Node(path, 0, group, label, _capabilities(device))
    finally:
        os.close(device)


def is_camera(node: Node) -> bool | None:
    """Whether it is a camera, and no codec or raw sensor; None when it may not be asked."""
    if node.label.startswith(_RAW + _CODECS):
        return False
    if node.trouble:
        return None
    return bool(node.caps is not None and node.caps & _CAPTURE and not node.caps & _CONVERTER)


def why_not(node: Node, there: list[str]) -> str:
    """Why a node cannot be used, and what to do; "" where nothing speaks against it.

    `there` are the /dev/videoN of this machine.
    """
    path, csi = node.path, worded("--camera csi", '"csi"')
    if node.trouble in (errno.ENOENT, errno.ENOTDIR):
        others = (
            f"there is {', '.join(there)}"
            if there
            else "there is no /dev/video* at all: plug a camera in"
        )
        return f"{path}: no such device; {others}"
    if node.label.startswith(_RAW):
        return f"{path} ({node.label}) is a CSI sensor's raw data, not pictures; use {csi}"
    if node.label.startswith(_CODECS):
        return (
            f"{path} ({node.label}) is a codec or image processor, no camera; use another number, "
            f"{csi}, or auto"
        )
    if node.trouble in (errno.EACCES, errno.EPERM):
        return (
            f"{path}: permission denied, it belongs to the group {node.group}; run: sudo usermod "
            f"-aG {node.group} $USER, then log in again (in a container: pass the device in, and "
            "--group-add)"
        )
    if node.trouble in (errno.ENODEV, errno.ENXIO):
        return f"{path}: the device behind it has gone; unplug the camera and plug it in again"
    if node.trouble and node.trouble != errno.EBUSY:
        reason = os.strerror(node.trouble)
        return f"{path}: cannot be opened as a camera ({reason}); name a video device"
    return "" if node.trouble else _why_not_by_caps(node)


def _why_not_by_caps(node: Node) -> str:
    if node.caps is None:
        return f"{node.path} is no V4L2 device; name a /dev/videoN"
    if node.caps & _METADATA and not node.caps & _CAPTURE:
        return (
            f"{node.path} ({node.label}) is a camera's metadata; its pictures come from the number "
            "before it"
        )
    if node.caps & _CONVERTER or not node.caps & _CAPTURE:
        return f"{node.path} ({node.label}) does not capture; use another number, or auto"
    return ""


def holders(path: str) -> list[str]:
    """Who holds a file or device open, as far as we may see it: "cheese (process 4711)"."""
    programs = []
    try:
        wanted = os.stat(path)
    except OSError:
        return []
    for process in Path("/proc").glob("[0-9]*"):
        if any(_same(wanted, descriptor) for descriptor in _descriptors(process)):
            own = " (this program)" if int(process.name) == os.getpid() else ""
            programs.append(
                f"{_text(str(process / 'comm')) or 'a program'} (process {process.name}){own}"
            )
    return programs


def _descriptors(process: Path) -> list[Path]:
    try:
        return list((process / "fd").iterdir())
    except OSError:  # another user's, or it has ended
        return []


def _same(wanted: os.stat_result, descriptor: Path) -> bool:
    try:
        opened = descriptor.stat()
    except OSError:
        return False
    # A container's /dev is another file system with the same devices.
    if stat.S_ISCHR(wanted.st_mode):
        return stat.S_ISCHR(opened.st_mode) and opened.st_rdev == wanted.st_rdev
    return (opened.st_dev, opened.st_ino) == (wanted.st_dev, wanted.st_ino)


def _capabilities(device: int) -> int | None:
    import fcntl  # not on Windows, where edgeemo still looks at pictures and videos

    try:
        answer = fcntl.ioctl(device, _QUERYCAP, bytes(104))
    except OSError:
        return None
    # Behind driver, card, bus_info and version.
    whole, own = struct.unpack_from("II", answer, 16 + 32 + 32 + 4)
    return int(own if whole & _DEVICE_CAPS else whole)


def _owner(path: str) -> str:
    try:
        return _group(os.stat(path).st_gid)
    except OSError:
        return "video"


def _group(number: int) -> str:
    try:
        import grp

        return grp.getgrgid(number).gr_name
    except (ImportError, KeyError):
        return str(number)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
