"""What a sensor can be asked for beside its camera, recognizer, faces and hold time."""

from dataclasses import dataclass, replace

from edgeemo.cameras import SIZE
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.manifest import Smoothing
from edgeemo.errors import InvalidInput
from edgeemo.live.feed import STALL
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
    """Frames a second to look at, 0.01 to 1000; None: all that a live camera gives. A recording
    needs `realtime` with it."""
    size: tuple[int, int] = SIZE
    """Width and height in pixels that a camera is asked for."""
    realtime: bool = False
    """Play a recording at its own pace, as if it were a live camera."""
    stall: float = STALL
    """Seconds without a frame, 0.1 to 3600, after which a live camera counts as gone."""

    def __post_init__(self) -> None:
        every, fps = self.detect_every, self.fps
        if every is not None and not 1 <= every <= 1000:
            raise InvalidInput(f"expected detect_every of 1 to 1000 frames, received {every}")
        if fps is not None and not 0.01 <= fps <= 1000:
            raise InvalidInput(f"expected fps of 0.01 to 1000 frames a second, received {fps}")
        if not 0.1 <= self.stall <= 3600:
            raise InvalidInput(f"expected a stall of 0.1 to 3600 seconds, received {self.stall}")

    def smoothing_of(self, bundle: Bundle | None, hold_time: float | None) -> Smoothing:
        """The bundle's smoothing, or none, with what was asked for in its place.

        Args:
            bundle: None where a backend of its own answers: then Smoothing's defaults count.
            hold_time: seconds that another answer must last; None: the bundle's.

        Raises:
            InvalidInput: seconds or a floor out of range.
        """
        base = (bundle.manifest.smoothing if bundle else Smoothing()) if self.smoothing else OFF
        asked = {"window": self.window, "hold_time": hold_time, "floor": self.floor}
        smoothing = replace(base, **{key: x for key, x in asked.items() if x is not None})
        check(smoothing)
        return smoothing
