"""The options of the verbs that watch a camera, and the sensor that they ask for."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from edgeemo.cameras import STALL
from edgeemo.cameras.select import forms
from edgeemo.cli.options import (
    Decorator,
    artifact_option,
    detector_options,
    isolated_option,
    model_option,
    prior_option,
    threads_option,
    view_options,
)
from edgeemo.cli.shell import NumberRange
from edgeemo.contract.operating_point import Prior
from edgeemo.data.view import View
from edgeemo.faces import SMALLEST_FACE

if TYPE_CHECKING:
    from edgeemo.live.sensor import EmotionSensor
    from edgeemo.recognizer import Recognizer


def _size(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", value)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if not all(16 <= side <= 8192 for side in size):
        raise click.BadParameter(
            f"expected WIDTHxHEIGHT of 16 to 8192 pixels, such as 640x480; received {value!r}"
        )
    return size


@dataclass(frozen=True)
class Sensing:
    """A sensor as the command line asks for it."""

    camera: str | None
    """Its word; None: the first that works."""
    model: str
    """Name or path of the bundle."""
    artifact: str | None
    """Model file in it."""
    isolated: bool
    """Whether the network has a process of its own."""
    prior: Prior
    """How frequent each emotion is."""
    detector: str
    """One of DETECTORS."""
    detector_model: str | None
    """The detector's model file."""
    threads: int
    """Threads of one inference."""
    view: View
    """How frames are turned, and where faces are looked for."""
    faces: str
    """"largest" or "all"."""
    fps: float | None
    """Frames a second to look at."""
    stall: float
    """Seconds that a camera may give no frame."""
    frozen: float | None
    """Seconds that a camera may give the same picture; None: for ever."""
    smoothing: str
    """"on" or "off"."""
    hold_time: float | None
    """Seconds that another emotion must last; None: the bundle's."""
    floor: float | None
    """Confidence below which there is no emotion; None: the bundle's."""
    detect_every: int | None
    """The detector looks at every so many frames; None: as the frame rate allows."""
    smallest_face: float
    """Share of the frame's shorter side."""
    size: tuple[int, int]
    """Width and height that a camera is asked for."""

    def recognizer(self, *, of_pictures: bool = False) -> "Recognizer":
        """Its recognizer, opened; `of_pictures`: with a detector of small faces too, as `predict`
        has it."""
        from edgeemo.faces import open_detector
        from edgeemo.recognizer import Recognizer

        smallest = {} if of_pictures else {"smallest_face": self.smallest_face}
        detector = open_detector(self.detector, self.detector_model, **smallest)
        return Recognizer(
            self.model,
            detector=detector,
            artifact=self.artifact,
            threads=self.threads,
            prior=self.prior,
            isolated=self.isolated,
        )

    @contextmanager
    def open(self, camera: str = "auto", *, realtime: bool = False) -> "Iterator[EmotionSensor]":
        """The sensor and its recognizer, opened, and closed at the end.

        Args:
            camera: where the command line names none.
            realtime: play a recording at its own pace.
        """
        from edgeemo.live.options import SensorOptions
        from edgeemo.live.sensor import EmotionSensor

        options = SensorOptions(
            self.smoothing == "on",
            floor=self.floor,
            detect_every=self.detect_every,
            fps=self.fps,
            size=self.size,
            realtime=realtime,
            stall=self.stall,
            frozen=self.frozen,
            view=self.view,
        )
        with (
            self.recognizer() as recognizer,
            EmotionSensor(
                self.camera or camera,
                recognizer=recognizer,
                faces=self.faces,
                hold_time=self.hold_time,
                options=options,
            ) as sensor,
        ):
            yield sensor


_OWN: tuple[Decorator, ...] = (
    click.option(
        "--faces",
        type=click.Choice(["largest", "all"]),
        default="largest",
        help="Which faces to read.",
    ),
    click.option(
        "--fps",
        type=NumberRange(0.01, 1000),
        metavar="N",
        help=(
            "Look at no more than N frames a second, of a recording of its own time; ask an "
            "address that gives one picture so often; take a folder's pictures for a sequence of so many a "
            "second."
        ),
    ),
    click.option(
        "--stall",
        type=NumberRange(0.1, 3600),
        default=STALL,
        metavar="SECONDS",
        help="How long a camera may give no frame before it counts as gone.",
    ),
    click.option(
        "--frozen",
        type=NumberRange(0.1, 3600),
        metavar="SECONDS",
        help=(
            "Also take a camera for gone whose picture does not change at all for so long  "
            "[default: it may]"
        ),
    ),
    click.option(
        "--smoothing",
        type=click.Choice(["on", "off"]),
        default="on",
        help="off: the network's answer to each frame alone.",
    ),
    click.option(
        "--hold-time",
        type=NumberRange(0, 3600),
        metavar="SECONDS",
        help="How long another emotion must last before it is reported  [default: the bundle's]",
    ),
    click.option(
        "--floor",
        type=NumberRange(0, 1),
        metavar="SHARE",
        help="Confidence below which no emotion is reported  [default: the bundle's]",
    ),
    click.option(
        "--detect-every",
        type=click.IntRange(1, 1000),
        metavar="K",
        help=(
            "Let the detector look at every K-th frame and follow faces between  "
            "[default: each of a file; as the frame rate allows]"
        ),
    ),
    click.option(
        "--smallest-face",
        type=NumberRange(0, 1, min_open=True),
        default=SMALLEST_FACE,
        show_default=f"{SMALLEST_FACE:.2f}",
        metavar="SHARE",
        help=(
            "The smallest face to be found, as a share of the frame's shorter side; "
            "smaller takes longer."
        ),
    ),
    click.option(
        "--size",
        callback=_size,
        default="640x480",
        metavar="WxH",
        help="Frame size that a camera is asked for.",
    ),
)


def sensing_options() -> Decorator:
    """The options of Sensing, which the command gets as one `sensing`."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def with_sensing(**options: Any) -> Any:
            own = {field.name: options.pop(field.name) for field in fields(Sensing)}
            return command(sensing=Sensing(**own), **options)

        camera = click.option("--camera", metavar="CAMERA", help=f"{forms()}  [default: auto]")
        shared = (
            camera, model_option(), artifact_option(), isolated_option(), prior_option(),
            detector_options(), threads_option(), view_options(), *_OWN,
        )  # fmt: skip
        decorated: Any = with_sensing
        for option in reversed(shared):
            decorated = option(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate
