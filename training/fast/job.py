"""One network fitted epoch by epoch by compiled programs, with a checkpoint to go on from."""

import math
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked import strict
from edgeemo.contract.checked.files import make_folder, written_beside
from edgeemo.contract.checked.reading import read_regular
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import LABELS
from edgeemo.errors import RunError
from training.fast.engine import Programs
from training.fast.parcel import CHECKPOINT
from training.fast.xla import jax
from training.fit.diverged import Diverged
from training.machines.compute import computing_in, set_seed
from training.networks import NETWORKS
from training.networks.qat import simulated

# What NumPy raises of an .npz that is damaged, or of something else.
_UNREADABLE = (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile)
_MAKING = threading.RLock()
_LISTS = ("weights", "average", "first", "second", "others")


@dataclass(frozen=True)
class Lesson:
    """What a network is fitted to."""

    tables: list[Any]
    """float16 (slots, 7 * heads) targets on the device, one for each view; a single one for `fresh`
    views.
    """
    fresh: bool = False
    """Whether every epoch has a view of its own, of which nobody said anything."""

    def of(self, epoch: int) -> tuple[int, Any]:
        """The view that an epoch sees, and its targets."""
        if self.fresh:
            return epoch, self.tables[0]
        place = epoch % len(self.tables)
        return place, self.tables[place]


@dataclass(frozen=True)
class Job:
    """One training."""

    name: str
    """Of the network in tables and folders."""
    programs: Programs
    """Compiled for its network."""
    faces: dict[str, Any]
    """On the device."""
    lesson: Lesson
    """What it is fitted to."""
    numbers: dict[str, Any]
    """Its schedule."""
    epochs: int
    """Passes over the list of faces."""
    seed: int
    """Of order and mixup."""
    folder: Path
    """Where its checkpoint goes."""


def fitted(
    job: Job,
    begin: Callable[[], Any],
    watch: Callable[[int, Any, float], None],
    every: float = 30.0,
    possible: Callable[[int], float] = lambda done: math.inf,
) -> tuple[Any, list[float]]:
    """The state after all epochs of a job, and their mean losses; goes on from the folder's
    checkpoint where one is.

    `begin` makes the first state. `watch` is told of every epoch: how many are done, the state, the
    loss. `possible` says after an epoch, by how many are done, how many there is time for in all:
    where those are fewer than the job's, the schedule ends there. A checkpoint is written at most
    every so many seconds, and at the end.

    Raises:
        Diverged: a loss is no number.
        RunError: the checkpoint does not fit the network.
    """
    state, losses, epochs = read_state(job.folder, begin)
    epochs = min(epochs or job.epochs, job.epochs)
    saved = time.monotonic()
    while len(losses) < epochs:
        epoch = len(losses)
        numbers = job.numbers | {"total": np.float32(epochs * job.programs.shape.steps)}
        state, loss = job.programs.epoch(
            state, job.faces, job.lesson.of(epoch), job.seed, epoch, numbers
        )
        losses.append(float(loss))
        if not math.isfinite(losses[-1]):
            raise Diverged(f"{job.name}: the loss became {losses[-1]} in epoch {epoch + 1}")
        epochs = int(max(len(losses), min(job.epochs, possible(len(losses)))))
        watch(epoch + 1, state, losses[-1])
        if time.monotonic() - saved > every and len(losses) < epochs:
            write_state(job.folder, state, losses, epochs)
            saved = time.monotonic()
    write_state(job.folder, state, losses, epochs)
    return state, losses


def write_state(folder: Path, state: Any, losses: list[float], epochs: int) -> None:
    """Write a checkpoint in one step, of a training that ends after so many `epochs`."""
    host = jax.device_get(state)
    arrays = {f"{name}_{i}": value for name in _LISTS for i, value in enumerate(host[name])}
    with written_beside(make_folder(folder) / CHECKPOINT) as part, part.open("wb") as file:
        np.savez(file, step=host["step"], losses=np.array(losses), epochs=epochs, **arrays)


def epochs_done(folder: Path) -> int:
    """How many epochs a folder's checkpoint has behind it, 0 where none can be read."""
    try:
        with np.load(folder / CHECKPOINT, allow_pickle=False) as stored:
            return len(stored["losses"])
    except _UNREADABLE:
        return 0


def read_state(folder: Path, begin: Callable[[], Any]) -> tuple[Any, list[float], int]:
    """State and losses of a folder's checkpoint, and its epochs in all; where there is none, the
    state of the start, and 0.
    """
    state = begin()
    file = folder / CHECKPOINT
    if not file.is_file():
        return state, [], 0
    try:
        with np.load(file, allow_pickle=False) as stored:
            for name in _LISTS:
                values = [stored[f"{name}_{i}"] for i in range(len(state[name]))]
                if [v.shape for v in values] != [v.shape for v in state[name]]:
                    raise ValueError("other shapes")
                state[name] = values
            state["step"] = np.int32(stored["step"])
            return state, [float(loss) for loss in stored["losses"]], int(stored["epochs"])
    except _UNREADABLE as error:
        raise RunError(f"{file}: does not fit the network ({error}); take another --out") from None


def drawn(network: str, seed: int, precision: str, heads: int = 1) -> keras.Model:
    """A network with weights drawn by `seed`; with two heads, one for the votes and one for
    FER-2013's labels.
    """
    with at_home():
        set_seed(seed)
        with computing_in("float32" if jax.default_backend() == "cpu" else precision):
            model = NETWORKS.get(network)(DEFAULT_SPEC, len(LABELS))
            if heads == 1:
                return model
            features = model.get_layer("dropout").output
            labels = keras.layers.Dense(len(LABELS), name="fer2013", dtype="float32")(features)
            layer = keras.layers.Concatenate(name="heads", dtype="float32")
            return keras.Model(model.input, layer([model.output, labels]), name=model.name)


def rounding(start: keras.Model) -> keras.Model:
    """A float network as one that simulates int8, with its weights."""
    with at_home():
        return simulated(start)


@contextmanager
def at_home() -> Iterator[None]:
    """Inside, networks are made, by one thread at a time and on the CPU: a GPU compiles every draw
    of weights apart.
    """
    with _MAKING, jax.default_device(jax.devices("cpu")[0]):
        yield


def write_half(file: Path, weights: list[NDArray[Any]]) -> None:
    """Write a teacher's weights with its kernels in float16: half the bytes, and nobody rounds a
    teacher further.
    """
    halved = [w.astype(np.float16) if w.ndim >= 2 else w for w in weights]
    make_folder(file.parent)
    with written_beside(file) as part, part.open("wb") as stream:
        np.savez(stream, *halved)


def read_half(file: Path) -> list[NDArray[np.float32]]:
    """The weights that `write_half` wrote, for a model of that network."""
    with np.load(file, allow_pickle=False) as stored:
        return [stored[f"arr_{i}"].astype(np.float32) for i in range(len(stored.files))]


def remember(folder: Path, name: str, value: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The JSON object in `folder`/`name`; where there is none, `value()`, written there."""
    file = folder / name
    if not file.is_file():
        text = strict.dumps(value())  # before the file is begun: it may take long, and be killed
        with written_beside(make_folder(folder) / name) as part:
            part.write_text(text)
    return dict(strict.loads(read_regular(file, strict.MAX_BYTES)))
