"""The pointer: which slot counts, whether its model is on trial, and what has happened.

One file, replaced in one step. Where it is missing or damaged, the slots themselves say what runs.
"""

import logging
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from edgeemo.contract.checked import strict
from edgeemo.contract.checked.files import translated, written_beside
from edgeemo.contract.checked.reading import read_regular
from edgeemo.contract.checked.text import printable

FILE = "state.json"
NAMES = ("a", "b")
_VERSION = 1
_MAX_BYTES = 64 * 1024
_MAX_EVENTS = 32
_MAX_TEXT = 400

log = logging.getLogger("edgeemo.slots")


@dataclass(frozen=True)
class Trial:
    """How far a model is that has to prove itself."""

    id: str
    """Of this trial alone, so that a process of an older one does not count for it."""
    needed_s: float
    """Healthy seconds of a sensor until it is kept."""
    healthy_s: float = 0.0
    """Those that have passed, over all starts."""
    starts: int = 0
    """Starts that have not ended well: those that run, crashed or were killed."""


@dataclass(frozen=True)
class Event:
    """Something that has changed what runs."""

    time: float
    """Seconds since 1970."""
    text: str
    """What, in words."""


@dataclass(frozen=True)
class State:
    """What the pointer says."""

    version: int
    """_VERSION."""
    current: str
    """The slot that runs, of NAMES."""
    trial: Trial | None
    """Of the current slot's model; None: it is kept."""
    events: tuple[Event, ...]
    """What has happened lately, the oldest first."""

    @property
    def other(self) -> str:
        """The slot that does not run."""
        return NAMES[1 - NAMES.index(self.current)]

    def told(self, text: str) -> "State":
        """The same with one event more."""
        event = Event(round(time.time(), 1), printable(text)[:_MAX_TEXT])
        return replace(self, events=(*self.events, event)[-_MAX_EVENTS:])


def new_state(current: str) -> State:
    """A pointer to a slot whose model is kept."""
    return State(_VERSION, current, None, ())


def slot_file(folder: Path, name: str) -> Path:
    """Where a slot's model lies."""
    return folder / f"{name}.edgeemo"


def filled(folder: Path) -> list[str]:
    """The slots that hold a file, the one that was written first before the other."""
    there = [name for name in NAMES if slot_file(folder, name).is_file()]
    return sorted(there, key=lambda name: slot_file(folder, name).stat().st_mtime_ns)


def load(folder: Path) -> State | None:
    """The pointer, or what the slots say where it is missing, damaged or leads nowhere; None where
    no slot holds a file.

    Of two files that nothing points to, the older one counts: it was there before the last change.
    """
    there = filled(folder)
    if not there:
        return None
    try:
        raw = strict.loads(read_regular(folder / FILE, _MAX_BYTES))
        state = strict.from_dict(State, raw, FILE)
        if state.version != _VERSION or state.current not in NAMES:
            raise ValueError(f"version {state.version}, slot {state.current[:20]!r}")
    except (OSError, ValueError, UnicodeDecodeError) as error:
        text = f"{FILE} was missing or damaged ({error}); slot {there[0]} runs"
        log.warning("%s: %s", folder, text)
        return new_state(there[0]).told(text)
    if state.current not in there:
        text = f"the model of slot {state.current} is gone; slot {there[0]} runs"
        log.warning("%s: %s", folder, text)
        return replace(state, current=there[0], trial=None).told(text)
    return state


def save(folder: Path, state: State) -> None:
    """Replace the pointer in one step. Raises StorageError."""
    path = folder / FILE
    text = strict.dumps(asdict(state)).encode()
    with translated(path, "--slots"), written_beside(path, own=True) as part:
        part.write_bytes(text)
