"""Which camera a word such as "auto", "csi:1" or "rtsp://…" means: the one table of its forms."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from edgeemo.cameras import Camera, CameraOptions, missing_parts
from edgeemo.cameras.common.attempts import FirstThatOpens
from edgeemo.errors import BrokenDependency, InvalidInput
from edgeemo.registry import Registry

Opener = Callable[[str, CameraOptions], Camera]
"""Makes the closed camera of a word's argument."""


@dataclass(frozen=True)
class Form:
    """A form that the word for a camera can have."""

    name: str
    """Of its opener in CAMERAS."""
    shown: str
    """How help and messages show it."""
    pattern: str
    """Regular expression of the whole word; its one group is what the opener gets."""
    opener: str
    """Where it is: "module:attribute"."""


FORMS = (
    Form("auto", "auto", "(auto)", "edgeemo.cameras.auto:of_word"),
    Form("usb", "0 (for /dev/video0), /dev/videoN", "([0-9]+)", "edgeemo.cameras.usb:of_word"),
    Form("csi", "csi or csi:1", "(csi|csi:.*)", "edgeemo.cameras.csi:of_word"),
    Form(
        "network",
        "rtsp://… or http://…",
        "((?i:rtsp|rtsps|http|https)://.*)",
        "edgeemo.cameras.network:of_word",
    ),
    Form("gst", "gst:PIPELINE", "gst:(.*)", "edgeemo.cameras.gstreamer:of_word"),
)
_PATH = Form(
    "path",
    "the path of a video, a folder of pictures or a picture",
    "(.*)",
    "edgeemo.cameras.path:of_word",
)
"""What every other word is."""

CAMERAS: Registry[Opener] = Registry(
    "camera", "edgeemo.cameras", {form.name: form.opener for form in (*FORMS, _PATH)}
)
"""Cameras by name. A package from outside adds one with an entry point:

    [project.entry-points."edgeemo.cameras"]
    mine = "my_package.camera:open_mine"

Then the words `mine` and `mine:ARGUMENT` call `open_mine(ARGUMENT, CameraOptions(...))`,
which gives a closed camera: any object with the protocol of edgeemo.cameras.Camera.
"""


def forms() -> str:
    """The forms of a word for a camera, as help and messages list them; other packages' too."""
    shown = [form.shown for form in FORMS] + [f"{name} or {name}:…" for name in _from_outside()]
    return f"{', '.join(shown)}, or {_PATH.shown}"


def closed(source: str, options: CameraOptions) -> Camera:
    """The closed camera that `source` names.

    Raises:
        InvalidInput: `source` has none of the forms.
        MissingFile: it looks like a path, and nothing is there.
        BrokenDependency: another package's entry cannot be imported, or makes no camera.
    """
    name, argument = _parsed(source)
    camera = CAMERAS.get(name)(argument, options)
    if missing := missing_parts(camera):
        raise BrokenDependency(
            f"the camera {name}: expected an object with name, live, open, read and close; "
            f"{type(camera).__name__} has no {missing}; update that package"
        )
    return camera


def choose(source: str, options: CameraOptions) -> tuple[Camera, str]:
    """The opened camera that `source` names, and the reason for the choice in words."""
    camera = closed(source, options)
    camera.open()
    if isinstance(camera, FirstThatOpens) and camera.chosen:
        return camera.chosen, camera.reason
    return camera, "asked for by name"


def _parsed(source: str) -> tuple[str, str]:
    """The name in CAMERAS and the argument of a word. Raises InvalidInput for an unknown URL."""
    for form in FORMS:
        match = re.fullmatch(form.pattern, source, re.DOTALL)
        if match:
            return form.name, match[1]
    name, _, argument = source.partition(":")
    if name in _from_outside():
        return name, argument
    if "://" in source:
        from edgeemo.cameras.common.redact import redacted

        raise InvalidInput(f"expected a camera of the form {forms()}; received {redacted(source)}")
    return _PATH.name, source


def _from_outside() -> list[str]:
    ours = {form.name for form in (*FORMS, _PATH)}
    return [name for name in CAMERAS if name not in ours]
