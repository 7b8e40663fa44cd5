"""Frames that fail: counted, logged now and then, and the sensor's end where no other comes."""

import logging
import math
import time

FAILING = 10.0  # seconds of failing frames, and no good one, that end a sensor
_LOG_EVERY = 10.0  # seconds between two warnings

log = logging.getLogger("edgeemo.live.sensor")


class Failures:
    """What went wrong with single frames or faces. One of them ends nothing.

    Args:
        limit: seconds of frames that failed whole, and no good one, after which the fault counts
            as one that stays.
    """

    def __init__(self, limit: float = FAILING) -> None:
        self.frames = 0
        self.last: str | None = None
        """The last failure in words, while no frame has been read since."""
        self._limit = limit
        self._since: float | None = (
            None  # when the first frame failed whole, with no good one since
        )
        self._none_good = True
        self._error: Exception | None = None
        self._logged_at, self._logged_frames = -math.inf, 0

    def in_part(self, number: int, error: Exception) -> None:
        """A face of frame `number` failed, and others did not."""
        self._count(number, error, "a face in it is left out")

    def whole(self, number: int, error: Exception) -> None:
        """Nothing could be read from frame `number`.

        Raises:
            Exception: `error`, when so it has been for `limit` seconds.
        """
        self._count(number, error, "it is skipped")
        now = time.monotonic()
        self.last = _words(error)
        self._error = error.with_traceback(None)  # it would keep the frame alive
        if self._since is None:
            self._since = now
        elif now - self._since >= self._limit:
            log.error("no frame could be read for %.0f s (%s)", now - self._since, self.last)
            raise error

    def good(self) -> None:
        """A frame was read."""
        self._none_good, self._since, self.last, self._error = False, None, None, None

    def at_the_end(self) -> None:
        """Of a recording. Raises the last failure where not one frame could be read."""
        if self._none_good and self._error:
            raise self._error

    def _count(self, number: int, error: Exception, what: str) -> None:
        self.frames += 1
        now = time.monotonic()
        if now - self._logged_at < _LOG_EVERY:
            return
        unsaid = self.frames - 1 - self._logged_frames
        self._logged_at, self._logged_frames = now, self.frames
        log.warning(
            "frame %d fails, %s (%s)%s",
            number,
            what,
            _words(error),
            f"; {unsaid} more have failed since the last warning" if unsaid else "",
            exc_info=error if log.isEnabledFor(logging.DEBUG) else None,
        )


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
