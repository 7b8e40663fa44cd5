"""One frame's step of the sensor, without its thread: detect or follow, recognize, smooth."""

import math
import time
from collections import deque
from functools import partial
from itertools import islice

from edgeemo.contract.manifest import Smoothing
from edgeemo.data.view import AS_IT_IS, View
from edgeemo.live.failures import Failures
from edgeemo.live.feed.feed import Taken
from edgeemo.live.smoothing import Smoothed, Smoother
from edgeemo.live.tracking import MOST_FACES, Track, Tracker
from edgeemo.recognizer import Recognizer
from edgeemo.results import Reading

_BUSY = 0.85  # share of the time between two frames that may be spent; the rest is for others
_LONGEST_BLIND = 0.5  # seconds between two looks of the detector; a new face waits no longer
_RATE_FRAMES = 31  # over which the frame rate is averaged


class Cadence:
    """How often the detector looks.

    As often as the frame rate allows, or at every `every`-th frame.

    With d the time of a look, o that of all else and t the time between two frames, looking at
    every k-th frame takes d / k + o of each t.
    """

    def __init__(self, every: int | None = None) -> None:
        self.every = every or 1
        self.fixed = every is not None
        self._detection = self._other = 0.0
        self._since = math.inf

    def due(self) -> bool:
        """Whether the detector looks at the next frame."""
        return self._since >= self.every

    def look(self) -> None:
        """Let the detector look at the next frame."""
        self._since = math.inf

    def spent(self, detection: float | None, other: float, interval: float) -> None:
        """Take in the seconds that a frame took.

        Args:
            detection: of the detector; None if it did not look.
            other: of all else.
            interval: seconds between two frames.
        """
        self._since = self._since + 1 if detection is None else 1
        if detection is not None:
            self._detection = _averaged(self._detection, detection)
        self._other = _averaged(self._other, other)
        if not self.fixed:
            free = max(_BUSY * interval - self._other, 0.05 * interval)
            most = max(1, int(_LONGEST_BLIND / interval))
            self.every = min(max(1, math.ceil(self._detection / free)), most)


class FrameReader:
    """Makes readings of frames; `failures` counts those that fail.

    Args:
        recognizer: opened; stays the caller's.
        smoothing: of each face.
        faces: "largest" or "all".
        detect_every: the detector looks at every so many frames; None lets the frame rate decide.
        view: its region is where faces are looked for; frames stand as they should already.
        stills: each frame is a picture of its own: its faces are new ones, and nothing is
            followed.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        smoothing: Smoothing,
        *,
        faces: str = "largest",
        detect_every: int | None = None,
        view: View = AS_IT_IS,
        stills: bool = False,
    ) -> None:
        self.cadence = Cadence(1 if stills else detect_every)
        self._view, self._stills = view, stills
        self.looked_at = self.detections = self.inferences = 0
        self.fps = self.latency_ms = 0.0
        self.read_at: float | None = None  # seconds of time.monotonic(): the last reading
        self.failures = Failures()
        self._recognizer, self._smoothing, self._faces = recognizer, smoothing, faces
        self._tracker = Tracker()
        self._smoothers: dict[int, Smoother] = {}
        self._looked: deque[float] = deque(maxlen=_RATE_FRAMES)

    def read(
        self, taken: Taken, *, interval: float, dropped: int, wall_time: float
    ) -> list[Reading]:
        """The readings of a frame: one a face, largest first, or one without a face.

        None where the frame fails, whatever detector, network or a face in it raised.

        Args:
            interval: seconds between two frames of the camera.
            dropped: frames dropped so far.
            wall_time: what the readings say as their time.

        Raises:
            Exception: what failed, once nothing else has come for seconds (see `Failures`).
        """
        start = time.perf_counter()
        self.looked_at += 1
        if self._stills:
            self._forget_faces()
        try:
            tracks, detection = self._locate(taken)
            smoothed = self._recognized(taken, tracks)
        except Exception as error:
            self.cadence.look()  # where the faces are is not certain any more
            self.failures.whole(taken.number, error)
            return []
        self.failures.good()
        self._count(taken, len(tracks))
        self.cadence.spent(detection, time.perf_counter() - start - (detection or 0.0), interval)
        return self._readings(taken, smoothed, dropped=dropped, wall_time=wall_time)

    def alive(self) -> None:
        """Readings have come: a model on trial is told. Raises BackendError where that has failed."""
        if self._recognizer.trial:
            self._recognizer.trial.alive()

    def _readings(
        self,
        taken: Taken,
        smoothed: list[tuple[Track, Smoothed]],
        *,
        dropped: int,
        wall_time: float,
    ) -> list[Reading]:
        reading = partial(
            Reading,
            wall_time,
            taken.number,
            latency_ms=self.latency_ms,
            fps=self.fps,
            dropped=dropped,
            monotonic=taken.captured,
        )
        if not smoothed:
            return [reading()]
        return [
            reading(
                face_id=track.face_id,
                emotion=answer.emotion,
                confidence=answer.confidence,
                scores=answer.scores,
                box=track.box,
            )
            for track, answer in smoothed
        ]

    def forget(self) -> None:
        """The camera was gone: whoever is seen next is somebody new, and is looked for at once."""
        self._forget_faces()
        self._looked.clear()

    def _forget_faces(self) -> None:
        self._tracker.forget()
        self._smoothers.clear()
        self.cadence.look()

    def _recognized(self, taken: Taken, tracks: list[Track]) -> list[tuple[Track, Smoothed]]:
        """The faces with their answers. Raises what the last one raised, where each failed."""
        smoothed, failed = [], None
        for track in tracks:
            try:
                (face,) = self._recognizer.classify(taken.frame.pixels, [track.box])
                smoother = self._smoothers.setdefault(track.face_id, Smoother(self._smoothing))
                smoothed.append((track, smoother.update(face.scores, taken.frame.time)))
            except Exception as error:
                failed = error
        if failed and not smoothed:
            raise failed
        if failed:
            self.failures.in_part(taken.number, failed)
        return smoothed

    def _locate(self, taken: Taken) -> tuple[list[Track], float | None]:
        """The faces to recognize, largest first, and the seconds of the detector, if it looked."""
        pixels, detection = taken.frame.pixels, None
        if self.cadence.due():
            start = time.perf_counter()
            seen = (
                box
                for box in self._recognizer.detect(pixels, self._view)
                if self._recognizer.sees(pixels, box)
            )
            boxes = list(islice(seen, MOST_FACES))  # the largest come first
            detection = time.perf_counter() - start
            self.detections += 1
            tracks = self._tracker.detected(boxes, taken.frame.time, pixels)
            self._smoothers = {
                key: self._smoothers[key] for key in self._smoothers.keys() & self._tracker.known()
            }
        else:
            tracks = self._tracker.carried(pixels)
        if self._faces != "all":
            largest = self._tracker.largest()
            tracks = [largest] if largest else []
        # A bundle's crop may look beside the face, and so out of the frame before the face leaves.
        return [track for track in tracks if self._recognizer.sees(pixels, track.box)], detection

    def _count(self, taken: Taken, faces: int) -> None:
        self.read_at = now = time.monotonic()
        self.inferences += faces
        self.latency_ms = 1000 * (now - taken.captured)
        self._looked.append(now)
        passed = now - self._looked[0]
        self.fps = (len(self._looked) - 1) / passed if passed > 0 else 0.0


def _averaged(mean: float, value: float) -> float:
    return value if mean == 0 else mean + 0.2 * (value - mean)
