"""What a sensor can be asked for beside its camera, recognizer, faces and hold time."""

from dataclasses import dataclass, replace
from numbers import Integral, Real

from edgeemo.cameras import SIZE, STALL, CameraOptions
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.manifest import Smoothing
from edgeemo.data.view import AS_IT_IS, View
from edgeemo.errors import InvalidInput
from edgeemo.live.smoothing import OFF, check


@dataclass(frozen=True)
class SensorOptions:
    """Settings of an EmotionSensor that few need.

    Raises:
        InvalidInput: a value out of range.
    """

    smoothing: bool = True
    """False gives the network's answer on each frame."""
    window: float | None = None
    """Seconds over which scores are averaged; None: the bundle's."""
    floor: float | None = None
    """Probability 0..1 below which the emotion is None; None: the bundle's."""
    detect_every: int | None = None
    """The detector looks at every so many frames, 1 to 1000, and faces are followed between.
    None: at each frame of a recording, and of a live camera as often as its frame rate allows."""
    fps: float | None = None
    """Frames a second to look at, 0.01 to 1000; None: all. Of a recording so many a second of its
    own time; it makes a folder of pictures a sequence."""
    size: tuple[int, int] = SIZE
    """Width and height in pixels that a camera is asked for."""
    realtime: bool = False
    """Play a recording at its own pace, as if it were a live camera."""
    stall: float = STALL
    """Seconds without a frame, 0.1 to 3600, after which a live camera counts as gone; at `fps`
    below one a second at least the time of two frames."""
    frozen: float | None = None
    """Seconds of the very same picture, 0.1 to 3600, after which a live camera counts as gone;
    None: it may stand still, as a drawn or a denoised picture does."""
    view: View = AS_IT_IS
    """How frames are turned, and where in them faces are looked for."""

    def __post_init__(self) -> None:
        every, fps = self.detect_every, self.fps
        if every is not None and not (_is_number(every, 1, 1000) and isinstance(every, Integral)):
            raise InvalidInput(f"expected detect_every of 1 to 1000 frames, received {every!r}")
        if fps is not None and not _is_number(fps, 0.01, 1000):
            raise InvalidInput(f"expected fps of 0.01 to 1000 frames a second, received {fps!r}")
        if not _is_number(self.stall, 0.1, 3600):
            raise InvalidInput(f"expected a stall of 0.1 to 3600 seconds, received {self.stall!r}")
        if self.frozen is not None and not _is_number(self.frozen, 0.1, 3600):
            raise InvalidInput(f"expected frozen of 0.1 to 3600 seconds, received {self.frozen!r}")
        CameraOptions(self.size)  # raises
        if not isinstance(self.view, View):
            raise InvalidInput(f"expected a view of View, received {self.view!r}")

    @property
    def patience(self) -> float:
        """Seconds that a live camera may take for a frame: one that is asked for a frame in ten
        seconds gives none in three.
        """
        return max(self.stall, 2 / self.fps if self.fps else 0.0)

    def smoothing_of(
        self, bundle: Bundle | None, hold_time: float | None, *, stills: bool = False
    ) -> Smoothing:
        """The bundle's smoothing, or none, with what was asked for in its place.

        Args:
            bundle: None where a backend of its own answers: then Smoothing's defaults count.
            hold_time: seconds that another answer must last; None: the bundle's.
            stills: pictures that have nothing to do with each other, which time does not smooth.

        Raises:
            InvalidInput: seconds or a floor out of range.
        """
        own = bundle.manifest.smoothing if bundle else Smoothing()
        base = own if self.smoothing and not stills else OFF
        over_time = {} if stills else {"window": self.window, "hold_time": hold_time}
        asked = {**over_time, "floor": self.floor}
        smoothing = replace(base, **{key: x for key, x in asked.items() if x is not None})
        check(smoothing)
        return smoothing


def _is_number(value: object, least: float, most: float) -> bool:
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    return bool(value <= most) and not value < least  # NaN is neither
