"""When which handler is called: readings in, events out. Pure: time comes with each frame."""

import enum
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from edgeemo.contract.labels import match_label
from edgeemo.errors import InvalidInput
from edgeemo.results import Reading

Handler = Callable[[], Any] | Callable[[Reading], Any]


class Happening(enum.Enum):
    """What happens beside labels. No string, so that a bundle may call a label as it likes."""

    CHANGED = enum.auto()
    """The emotion is another one, or None."""
    NO_FACE = enum.auto()
    """The last face has gone, or the camera."""


Event = str | Happening


class Events:
    """Handlers for what happens, one for each event: a label, CHANGED or NO_FACE.

    The first reading sets the state and calls nobody. A face that comes or goes counts after
    `hold_time` seconds without a break (a face's emotion waits in its smoothing already), and so
    does a camera that is gone, which is no face.

    Args:
        hold_time: seconds.
        labels: that readings can bring: the recognizer's.
    """

    def __init__(self, hold_time: float, labels: Sequence[str]) -> None:
        self._hold, self._labels = hold_time, tuple(labels)
        self._handlers: dict[Event, Callable[[Reading], Any]] = {}
        self._otherwise: dict[Event, Callable[[Reading], Any]] = {}  # when a label has been left
        self._state: Reading | None = None
        self._coming: int | None = None
        self._coming_for = 0.0  # seconds that `_coming` has been there
        self._time = 0.0
        self.entered: dict[str, Reading] = {}  # the last reading that brought each label

    def set(self, event: Event, handler: Handler | None, otherwise: Handler | None = None) -> None:
        """Set the handler of a label (an alias is as good) or a Happening, and the one for when the
        emotion is no longer that label; None takes one away.

        Raises:
            UnknownLabel: a word for none of the labels; the message lists them.
            InvalidInput: a handler that takes neither nothing nor one Reading.
        """
        key = event if isinstance(event, Happening) else match_label(event, self._labels)
        calls = [
            (handlers, None if one is None else _callable(one))
            for handlers, one in ((self._handlers, handler), (self._otherwise, otherwise))
        ]
        for handlers, call in calls:
            handlers.pop(key, None)
            if call is not None:
                handlers[key] = call

    @property
    def emotion(self) -> str | None:
        """The emotion that counts now."""
        return self._state.emotion if self._state else None

    def update(self, reading: Reading, time: float) -> None:
        """Take in the reading of the largest face (or of none) at `time` seconds; call handlers."""
        before = self._state
        if before is None:
            self._state, self._coming, self._time = reading, reading.face_id, time
            self._enter(reading)
            return
        passed, self._time = max(0.0, time - self._time), time
        if reading.face_id != before.face_id:
            same = reading.face_id == self._coming
            self._coming_for = self._coming_for + passed if same else 0.0
            self._coming = reading.face_id
            if self._coming_for < self._hold:
                return
        self._coming_for = 0.0
        self._state, self._coming = reading, reading.face_id
        if reading.face_id is None and before.face_id is not None:
            self._call(Happening.NO_FACE, reading)
        if reading.emotion != before.emotion:
            self._enter(reading)
            if before.emotion in self._otherwise:
                self._otherwise[before.emotion](reading)
            self._call(Happening.CHANGED, reading)
            if reading.emotion is not None:
                self._call(reading.emotion, reading)

    def _enter(self, reading: Reading) -> None:
        if reading.emotion is not None:
            self.entered[reading.emotion] = reading

    def _call(self, event: Event, reading: Reading) -> None:
        if event in self._handlers:
            self._handlers[event](reading)


def _callable(handler: Handler) -> Callable[[Reading], Any]:
    """The handler as one that takes the reading. Raises InvalidInput."""
    if not callable(handler):
        raise InvalidInput(
            f"expected a handler that can be called, received {handler!r}; "
            "leave its parentheses out"
        )
    try:
        signature = inspect.signature(handler)
    except (ValueError, TypeError):  # of some functions in C nothing is known
        return lambda _: handler()  # type: ignore[call-arg]
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values())
    if not takes_any and _binds(signature):
        return lambda _: handler()  # type: ignore[call-arg]
    if _binds(signature, None):
        return handler  # type: ignore[return-value]
    raise InvalidInput(
        "expected a handler without arguments or with one, the reading; "
        f"received {handler!r}, which takes {signature}"
    )


def _binds(signature: inspect.Signature, *arguments: Any) -> bool:
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True
