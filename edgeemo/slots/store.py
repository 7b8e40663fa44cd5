"""Models installed on a device: never more than two on the disk, and never none that runs."""

import contextlib
import fcntl
import logging
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from edgeemo.contract.bundle import Bundle
from edgeemo.contract.checked.files import make_folder, sync_folder, translated, written_beside
from edgeemo.contract.container import read_whole
from edgeemo.errors import BundleError, InvalidInput, MissingFile, StorageError
from edgeemo.proof.selftest_apart import TIME_LIMIT, run_selftest_apart
from edgeemo.slots import state as states
from edgeemo.slots.state import State, Trial, slot_file
from edgeemo.trust.reading import parse_emotions, read_bundle

SLOT = "slot"
"""The model's name that means whatever is installed."""
ENVIRONMENT = "EDGEEMO_SLOTS"
FOLDER = Path("/var/lib/edgeemo")
TRIAL_MINUTES = 10.0
MOST_STARTS = 3
"""Starts of a model on trial that may end badly; at the next one the old model runs."""

log = logging.getLogger("edgeemo.slots")


def slots_folder() -> Path:
    """Where models are installed: $EDGEEMO_SLOTS, by default FOLDER."""
    return Path(os.environ.get(ENVIRONMENT) or FOLDER)


class Slots:
    """The folder of installed models.

    Args:
        folder: where they lie; by default `slots_folder()`. Made at the first `install`.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self.folder = Path(folder) if folder is not None else slots_folder()

    def state(self) -> State:
        """What the pointer says now. Raises MissingFile where nothing is installed."""
        with translated(self.folder, "--slots"):
            state = states.load(self.folder)
        if state is None:
            raise MissingFile(
                f"{self.folder}: no model is installed; run: edgeemo install X.edgeemo"
            )
        return state

    def read(self, name: str) -> Bundle:
        """The model of a slot, if it may run here. Raises MissingFile, BundleError."""
        return read_bundle(slot_file(self.folder, name))

    def current(self) -> Bundle:
        """The model that would run now; nothing is counted or changed.

        Raises MissingFile, BundleError.
        """
        state = self.state()
        try:
            return self.read(state.current)
        except (BundleError, MissingFile):
            with contextlib.suppress(BundleError, MissingFile):
                return self.read(state.other)
            raise

    def install(
        self,
        source: str | os.PathLike[str],
        *,
        keys: Sequence[str | os.PathLike[str]] | None = None,
        minutes: float = TRIAL_MINUTES,
        time_limit: float = TIME_LIMIT,
    ) -> State:
        """Put a bundle into the slot that does not run, and let it run from the next start on.

        It is verified, its self-test is run in a process of its own, and its bytes are on the disk
        before the pointer changes. It is on trial then, unless there is nothing to come back to. A
        model that was on trial itself makes place: what it was to replace stays.

        Args:
            source: a .edgeemo file.
            keys: see `edgeemo.trust.read_bundle`.
            minutes: healthy minutes of a sensor until it is kept.
            time_limit: see `run_selftest_apart`.

        Raises:
            InvalidInput: minutes that are none.
            MissingFile, BundleError, BackendError: it may not or does not run here; nothing has
                changed.
            StorageError: the folder cannot be written; the old model runs on.
        """
        if not 0 <= minutes <= 60 * 24 * 30:
            raise InvalidInput(f"expected a trial of 0 to 43200 minutes, received {minutes!r}")
        path = Path(source)
        data = read_whole(path)
        bundle = parse_emotions(data, path, keys)
        _check_selftest(bundle, time_limit)
        if read_whole(path) != data:
            raise BundleError(f"{path}: changed while it was tested; install it again")
        with translated(self.folder, "--slots"):
            make_folder(self.folder)
        with self._locked():
            return self._put(bundle, data, minutes)

    def rollback(self, reason: str = "asked for") -> State:
        """Let the other slot's model run from the next start on.

        Raises:
            MissingFile, BundleError: there is none that may run here; nothing has changed.
            StorageError: the folder cannot be written.
        """
        with self._locked():
            state = self.state()
            if not slot_file(self.folder, state.other).is_file():
                raise MissingFile(f"{self.folder}: there is no other model to go back to")
            self.read(state.other)
            return self.back(state, reason)

    def back(self, state: State, reason: str) -> State:
        """The pointer on the other slot, with the reason, written. Raises StorageError."""
        changed = replace(state, current=state.other, trial=None)
        changed = changed.told(f"back to slot {changed.current}: {reason}")
        states.save(self.folder, changed)
        return changed

    def begin(self) -> tuple[Bundle, str]:
        """The model to run now and its trial's id; a start is counted where it is on trial.

        After MOST_STARTS starts that have not ended well the old model comes back, as where the new
        one cannot be read. Where the disk takes no counting, nothing runs on trial: the old model
        runs, and the pointer stays.

        Raises:
            MissingFile: nothing is installed.
            BundleError: neither slot holds a model that may run here.
        """
        with self._locked(must=False):
            state = self.state()
            if state.trial and state.trial.starts >= MOST_STARTS:
                why = f"{state.trial.starts} starts of slot {state.current} did not end well"
                state = self._tried_back(state, why)
            state, bundle = self._readable(state)
            if state.trial is None:
                return bundle, ""
            counted = replace(state.trial, starts=state.trial.starts + 1)
            try:
                states.save(self.folder, replace(state, trial=counted))
            except StorageError as error:
                with contextlib.suppress(BundleError, MissingFile):
                    old = self.read(state.other)
                    log.warning("%s; the model on trial waits, slot %s runs", error, state.other)
                    return old, ""
            return bundle, counted.id

    def tell_health(self, trial_id: str, healthy_s: float) -> bool:
        """Write how many healthy seconds a trial has; False where it is over. Raises StorageError."""
        with self._locked():
            state = states.load(self.folder)
            if state is None or state.trial is None or state.trial.id != trial_id:
                return False
            trial = replace(state.trial, healthy_s=healthy_s)
            states.save(self.folder, replace(state, trial=trial))
            return True

    def uncount(self, trial_id: str) -> None:
        """Take one start back, which has ended well. Raises StorageError."""
        with self._locked():
            state = states.load(self.folder)
            if state and state.trial and state.trial.id == trial_id and state.trial.starts:
                trial = replace(state.trial, starts=state.trial.starts - 1)
                states.save(self.folder, replace(state, trial=trial))

    def end_trial(self, trial_id: str, reason: str, *, keep: bool) -> bool:
        """Keep the model on trial, or go back; False where the trial is over already.

        Raises StorageError.
        """
        with self._locked():
            state = states.load(self.folder)
            if state is None or state.trial is None or state.trial.id != trial_id:
                return False
            if keep:
                kept = replace(state, trial=None).told(f"slot {state.current} is kept: {reason}")
                states.save(self.folder, kept)
            else:
                self.back(state, reason)
            return True

    def _put(self, bundle: Bundle, data: bytes, minutes: float) -> State:
        state = states.load(self.folder)
        if state and state.trial:
            name = bundle.manifest.name
            state = self.back(state, f"{name} {bundle.manifest.version} is installed instead")
        target = state.other if state else states.NAMES[0]
        path = slot_file(self.folder, target)
        with translated(path, "--slots"):
            # Before the new one is written: there are never three, and the pointer is not on it.
            path.unlink(missing_ok=True)
            sync_folder(self.folder)
            with written_beside(path, own=True) as part:
                part.write_bytes(data)
        what = f"{bundle.manifest.name} {bundle.manifest.version} installed into slot {target}"
        if state is None or not minutes:
            kept = replace(state, current=target) if state else states.new_state(target)
            new = kept.told(f"{what}, kept")
        else:
            trial = Trial(secrets.token_hex(8), 60 * minutes)
            new = replace(state, current=target, trial=trial)
            new = new.told(f"{what}, on trial for {minutes:g} healthy minutes")
        states.save(self.folder, new)
        return new

    def _readable(self, state: State) -> tuple[State, Bundle]:
        """The pointer and its model, or the other slot's where that cannot be read."""
        try:
            return state, self.read(state.current)
        except (BundleError, MissingFile) as error:
            try:
                other = self.read(state.other)
            except (BundleError, MissingFile):
                raise error from None
            return self._tried_back(state, str(error)), other

    def _tried_back(self, state: State, reason: str) -> State:
        """`back`, also where it cannot be written; as it is where there is nothing to go back to."""
        try:
            self.read(state.other)
        except (BundleError, MissingFile):
            return replace(state, trial=None)
        log.warning("%s: back to slot %s: %s", self.folder, state.other, reason)
        try:
            return self.back(state, reason)
        except StorageError as error:
            log.warning("%s; slot %s runs", error, state.other)
            return replace(state, current=state.other, trial=None)

    @contextlib.contextmanager
    def _locked(self, *, must: bool = True) -> Iterator[None]:
        """One process at a time; without `must` also where the disk is read-only or the folder
        belongs to somebody else. Raises StorageError.
        """
        descriptor = None
        try:
            with translated(self.folder, "--slots"):
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                descriptor = os.open(self.folder / "lock", flags, 0o666)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        except StorageError:
            if must:
                if descriptor is not None:
                    os.close(descriptor)
                raise
        with translated(self.folder, "--slots"):  # what the disk says to reads and to `close` too
            try:
                yield
            finally:
                if descriptor is not None:
                    os.close(descriptor)


def _check_selftest(bundle: Bundle, time_limit: float) -> None:
    """Raise BundleError unless its models answer here as where it was built."""
    results = run_selftest_apart(bundle, time_limit=time_limit)
    for result in results:
        if result.passed is False:
            raise BundleError(
                f"{bundle.path}: its self-test fails here ({result.artifact}, {result.kernels} "
                f"kernels: {result.note or f'differs by {result.difference:g}'}); not installed"
            )
    if not any(result.passed for result in results):
        raise BundleError(
            f"{bundle.path}: none of its models can be tested here, because no runtime for them "
            "is installed; run: edgeemo doctor"
        )
