"""When which handler is called: readings in, events out. Pure: time comes with each reading's frame."""

import inspect
from collections.abc import Callable
from typing import Any

from edgeemo.contract.labels import parse_label
from edgeemo.errors import InvalidInput
from edgeemo.results import Reading

Handler = Callable[[], Any] | Callable[[Reading], Any]
CHANGED, NO_FACE = "changed", "no face"


class Events:
    """Handlers for what happens, one for each event: a label, CHANGED or NO_FACE.

    The first reading sets the state and calls nobody. A face that comes or goes counts after `hold_time` seconds without
    a break (a face's emotion is held by its smoothing already), and so does a camera that is gone, which is no face.
    """

    def __init__(self, hold_time: float) -> None:
        self._hold = hold_time
        self._handlers: dict[str, Callable[[Reading], Any]] = {}
        self._state: Reading | None = None
        self._coming: int | None = None
        self._held = 0.0
        self._time = 0.0
        self.entered: dict[str, Reading] = {}  # the last reading that brought each label

    def set(self, event: str, handler: Handler | None) -> None:
        """Set the handler of a label (an alias is as good), CHANGED or NO_FACE; None takes it away.

        Raises:
            UnknownLabel: another word.
            InvalidInput: a handler that takes neither nothing nor one Reading.
        """
        key = event if event in (CHANGED, NO_FACE) else parse_label(event)
        if handler is None:
            self._handlers.pop(key, None)
        else:
            self._handlers[key] = _callable(handler)

    @property
    def emotion(self) -> str | None:
        """The emotion that counts now."""
        return self._state.emotion if self._state else None

    def update(self, reading: Reading, time: float) -> None:
        """Take in the reading of the largest face (or of none) at `time` seconds, and call whom it concerns."""
        before = self._state
        if before is None:
            self._state, self._coming, self._time = reading, reading.face_id, time
            self._enter(reading)
            return
        passed, self._time = max(0.0, time - self._time), time
        if reading.face_id != before.face_id:
            self._held = self._held + passed if reading.face_id == self._coming else 0.0
            self._coming = reading.face_id
            if self._held < self._hold:
                return
        self._held = 0.0
        self._state, self._coming = reading, reading.face_id
        if reading.face_id is None and before.face_id is not None:
            self._call(NO_FACE, reading)
        if reading.emotion != before.emotion:
            self._enter(reading)
            self._call(CHANGED, reading)
            if reading.emotion is not None:
                self._call(reading.emotion, reading)

    def _enter(self, reading: Reading) -> None:
        if reading.emotion is not None:
            self.entered[reading.emotion] = reading

    def _call(self, event: str, reading: Reading) -> None:
        if event in self._handlers:
            self._handlers[event](reading)


def _callable(handler: Handler) -> Callable[[Reading], Any]:
    """The handler as one that takes the reading. Raises InvalidInput."""
    if not callable(handler):
        raise InvalidInput(
            f"expected a handler that can be called, received {handler!r}; leave its parentheses out"
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
        f"expected a handler without arguments or with one, the reading; received {handler!r}, which takes {signature}"
    )


def _binds(signature: inspect.Signature, *arguments: Any) -> bool:
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True
