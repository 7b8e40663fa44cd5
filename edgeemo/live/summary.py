"""Emotion over time: how long each emotion of each face lasted, and its share of each second.

Nothing of a picture is kept, and memory has a bound: of a run of days the seconds are put together,
and of many faces the later ones count among all faces alone.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from edgeemo.results import Reading

MOST_STEPS = 7_200
"""Steps of time that are told apart; a run of two hours has steps of a second."""
MOST_FACES = 1_000
"""Faces that are told apart."""
_LONGEST_GAP = 1.0  # seconds that an emotion is taken to last without a frame that shows it

UNSURE = None
"""What stands for a label while no emotion is sure enough."""

Emotion = str | None
"""A label, or UNSURE."""


@dataclass
class Lasted:
    """How long an emotion lasted."""

    seconds: float = 0.0
    """In all."""
    times: int = 0
    """How often it began."""
    longest: float = 0.0
    """Seconds of its longest stretch."""


@dataclass
class Seen:
    """A face, or all of them, over time."""

    first: float
    """When it was first seen, seconds."""
    last: float
    """When it was last seen, seconds."""
    lasted: dict[Emotion, Lasted] = field(default_factory=lambda: defaultdict(Lasted))
    """Each emotion that it had."""
    steps: dict[int, dict[Emotion, float]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(float))
    )
    """Seconds of each emotion in each step of time in which it was seen, by the step's number."""

    @property
    def seconds(self) -> float:
        """How long it was seen; of all faces together, the sum of theirs."""
        return sum(lasted.seconds for lasted in self.lasted.values())


@dataclass(frozen=True)
class Summary:
    """Emotion over time, of a whole run."""

    labels: tuple[str, ...]
    """The bundle's."""
    begin: float
    """Time of the first frame, seconds: a recording's own, or of `time.monotonic()`."""
    end: float
    """Time at which the last frame's emotions ended, seconds."""
    step: float
    """Seconds of a step of time."""
    frames: int
    """Frames that were looked at."""
    everyone: Seen
    """All faces together."""
    faces: Mapping[int, Seen]
    """Each face by its number, in the order in which they came."""

    @property
    def emotions(self) -> tuple[Emotion, ...]:
        """The labels, and UNSURE."""
        return (*self.labels, UNSURE)

    @property
    def seconds(self) -> float:
        """From the first frame to the end of the last."""
        return self.end - self.begin

    def shares(self, seen: Seen) -> Iterator[tuple[float, float, dict[Emotion, float]]]:
        """Each step in which it was seen: begin and end in seconds from `begin`, and the share 0..1
        of each emotion in the time that it was seen in it.
        """
        for number in sorted(seen.steps):
            seconds = seen.steps[number]
            whole = sum(seconds.values())
            if whole > 0:
                shares = {emotion: seconds.get(emotion, 0.0) / whole for emotion in self.emotions}
                end = min((number + 1) * self.step, self.seconds)
                yield number * self.step, end, shares


class SummaryWriter:
    """Takes readings in, frame by frame.

    An emotion lasts from the frame that shows it to the next one, or for as long as a usual frame
    where none follows soon.

    Args:
        labels: the bundle's.
        live: whether the readings are of a live camera, whose `time` jumps: `monotonic` counts.
        longest_gap: seconds between two frames beyond which nothing is known of the time between.
    """

    def __init__(
        self, labels: Sequence[str], *, live: bool = False, longest_gap: float = _LONGEST_GAP
    ) -> None:
        self._labels, self._live = tuple(labels), live
        self._gap = max(_LONGEST_GAP, longest_gap)
        self._step, self._frames = 1.0, 0
        self._begin: float | None = None
        self._at = self._usual = 0.0
        self._now: dict[int, Emotion] = {}  # what each face shows since the last frame
        self._since: dict[int, float] = {}  # seconds that its stretch has lasted
        self._faces: dict[int, Seen] = {}
        self._everyone = Seen(0.0, 0.0)

    def add(self, readings: Sequence[Reading]) -> None:
        """The readings of a frame: one a face, or one without a face."""
        at = readings[0].monotonic if self._live else readings[0].time
        if self._begin is None:
            self._begin = self._at = at
        passed = at - self._at
        self._pass(passed if 0 <= passed <= self._gap else self._usual)
        if 0 < passed <= self._gap:
            self._usual = passed
        elif passed:
            self._show({})  # what comes now begins anew
        self._at = max(at, self._at)
        gone = any(not reading.camera_ok for reading in readings)
        self._frames += not gone
        self._show(
            {} if gone else {r.face_id: r.emotion for r in readings if r.face_id is not None}
        )

    def finish(self) -> Summary | None:
        """All that was taken in; None where there was no frame."""
        if self._begin is None:
            return None
        self._pass(self._usual)
        end = self._at + self._usual
        self._show({})
        return Summary(
            self._labels, self._begin, end, self._step, self._frames, self._everyone, self._faces
        )

    def _show(self, emotions: dict[int, Emotion]) -> None:
        """From now on faces show these."""
        for face, emotion in emotions.items():
            if face not in self._now or self._now[face] != emotion:
                self._since[face] = 0.0
                for seen in self._seen(face):
                    seen.lasted[emotion].times += 1
        self._since = {face: self._since[face] for face in emotions}
        self._now = emotions

    def _pass(self, seconds: float) -> None:
        """Let the time pass in which faces show what they show."""
        begin = self._at - (self._begin or 0.0)
        for face, emotion in self._now.items():
            self._since[face] += seconds
            for seen in self._seen(face):
                seen.last = begin + seconds
                lasted = seen.lasted[emotion]
                lasted.seconds += seconds
                lasted.longest = max(lasted.longest, self._since[face])
                for number, part in self._in_steps(begin, seconds):
                    seen.steps[number][emotion] += part

    def _seen(self, face: int) -> Iterator[Seen]:
        """What a face counts for."""
        yield self._everyone
        if face not in self._faces and len(self._faces) < MOST_FACES:
            at = self._at - (self._begin or 0.0)
            self._faces[face] = Seen(at, at)
        if face in self._faces:
            yield self._faces[face]

    def _in_steps(self, begin: float, seconds: float) -> Iterator[tuple[int, float]]:
        """The steps that a stretch of time lies in, and its seconds in each."""
        while int((begin + seconds) / self._step) >= MOST_STEPS:
            self._double()
        end = begin + seconds
        number = int(begin / self._step)
        while begin < end:
            until = min(end, (number + 1) * self._step)
            yield number, until - begin
            begin, number = until, number + 1

    def _double(self) -> None:
        """Steps of twice as many seconds."""
        self._step *= 2
        for seen in (self._everyone, *self._faces.values()):
            before, seen.steps = seen.steps, defaultdict(lambda: defaultdict(float))
            for number, seconds in before.items():
                for emotion, part in seconds.items():
                    seen.steps[number // 2][emotion] += part
