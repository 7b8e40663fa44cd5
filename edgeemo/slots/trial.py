"""A model on trial while it runs: healthy minutes keep it, one and the same answer sends it back."""

import logging
import time
from collections.abc import Iterable

from edgeemo.contract.bundle import Bundle
from edgeemo.errors import BackendError, StorageError
from edgeemo.slots.state import Trial
from edgeemo.slots.store import Slots

_LONGEST_GAP = 5.0  # seconds between two signs of life that count as healthy
_WRITE_EVERY = 30.0  # seconds between two writes of how far it is
_ENOUGH_ANSWERS = 200  # of one label, after which nothing else is expected any more

log = logging.getLogger("edgeemo.slots")


class RunningTrial:
    """What a sensor tells of the model that it runs on trial.

    Args:
        slots: where it is installed.
        trial: what the pointer says of it.
    """

    def __init__(self, slots: Slots, trial: Trial) -> None:
        self._slots, self._id = slots, trial.id
        self._needed, self._healthy = trial.needed_s, trial.healthy_s
        self._last: float | None = None
        self._written = time.monotonic()
        self._answers: dict[str, int] = {}
        self._over = self._bad = False

    def answered(self, labels: Iterable[str]) -> None:
        """The network has given these labels."""
        for label in labels:
            self._answers[label] = self._answers.get(label, 0) + 1

    def failed(self) -> None:
        """The model failed, so this start does not end well, whatever comes."""
        self._bad = True

    def alive(self, now: float | None = None) -> None:
        """A frame was read, at `now` of time.monotonic().

        Raises:
            BackendError: the trial has failed; the next start runs the old model.
        """
        if self._over:
            return
        now = time.monotonic() if now is None else now
        if self._last is not None:
            self._healthy += min(max(now - self._last, 0.0), _LONGEST_GAP)
        self._last = now
        if self._healthy >= self._needed and self._answers:
            self._judge()
        elif now - self._written >= _WRITE_EVERY:
            self._written = now
            self._write()

    def ended(self) -> None:
        """The recognizer was closed, as processes that end well do it."""
        if self._over or self._bad:
            return
        self._over = True
        try:
            self._slots.tell_health(self._id, self._healthy)
            self._slots.uncount(self._id)
        except StorageError as error:
            log.warning("%s; this start counts as one that did not end well", error)

    def _write(self) -> None:
        try:
            self._over = not self._slots.tell_health(self._id, self._healthy)
        except StorageError as error:
            log.warning("%s; the trial goes on", error)

    def _judge(self) -> None:
        count = sum(self._answers.values())
        one_label = len(self._answers) == 1
        if one_label and count < _ENOUGH_ANSWERS:
            return  # nobody else has come yet
        minutes = f"{self._healthy / 60:.1f} healthy minutes"
        try:
            if not one_label:
                self._slots.end_trial(self._id, minutes, keep=True)
                self._over = True
                return
            (label,) = self._answers
            why = f"answered nothing but {label}, {count} times in {minutes}"
            self._bad = self._over = True
            self._slots.end_trial(self._id, why, keep=False)
        except StorageError as error:
            log.warning("%s; the trial goes on", error)
            self._healthy = max(0.0, self._needed - _WRITE_EVERY)  # tried again in a while
            self._over = False
            return
        raise BackendError(f"the model on trial {why}; the next start runs the old one")


def begin(slots: Slots) -> tuple[Bundle, RunningTrial | None]:
    """The installed model to run now, and its trial where it is on one; a start is counted.

    Raises MissingFile, BundleError.
    """
    bundle, trial_id = slots.begin()
    if not trial_id:
        return bundle, None
    trial = slots.state().trial
    return bundle, RunningTrial(slots, trial) if trial and trial.id == trial_id else None
