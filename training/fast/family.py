"""The whole family inside a budget of time: teachers, what they say of many views, students of
them, each also in simulated int8.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked.counts import count_of
from training.fast import lessons
from training.fast.choices import Choice
from training.fast.engine import Programs, on_device
from training.fast.faces import FaceSet
from training.fast.job import Job, drawn, epochs_done, fitted
from training.fast.plan import spare
from training.fast.xla import jnp
from workstation.progress import progress
from workstation.text import duration

PLAN = "plan.json"
_VIEWS_SEED = 7  # added to the family's, for the views that teachers score


@dataclass(frozen=True)
class Options:
    """What may be chosen of a family."""

    budget: float
    """Seconds from the start to the last result."""
    teacher: str = "teacher"
    """Network of the teachers."""
    networks: tuple[str, ...] = ("small", "base", "nano")
    """Students, in the order of their training."""
    seed: int = 1
    """Of everything that is drawn."""
    fine_epochs: int = 12
    """Epochs of each student in simulated int8, where there is time for all of them."""
    variants: bool = True
    """Whether students of FER-2013's labels alone follow."""


def made_of(options: Options, faces: FaceSet) -> dict[str, Any]:
    """What a family is made of: with other choices it cannot be gone on with."""
    return {
        "teacher": options.teacher,
        "networks": list(options.networks),
        "seed": options.seed,
        "faces": len(faces.train.images),
        "unlabelled": len(faces.unlabelled),
        "split_hash": faces.about.get("split_hash", ""),
    }


class Family:
    """A family in the making: its faces on the device, its programs, its clock, which began at
    `start`, a moment of time.monotonic().
    """

    def __init__(
        self,
        faces: FaceSet,
        out: Path,
        options: Options,
        say: Callable[[str], None],
        start: float,
    ) -> None:
        self.faces, self.out, self.options = faces, out, options
        self._start, self._say = start, say
        self.pool = ThreadPoolExecutor(max_workers=min(6, os.cpu_count() or 1))
        self.answers = lessons.answers(faces.train)
        self.rows = lessons.repeated(self.answers)
        self.extra = len(faces.unlabelled)
        images = jnp.asarray(np.concatenate([faces.train.images, faces.unlabelled]))
        more = len(faces.train.images) + np.arange(self.extra)
        slots = np.concatenate([self.rows, more])
        self.labelled = on_device(images, self.rows, options.seed)
        self.everything = on_device(images, slots, options.seed + _VIEWS_SEED)
        self.waiting: dict[str, list[Future[None]]] = {}
        self.closed = False

    def left(self) -> float:
        """Seconds until the budget, less what is kept back, is used up."""
        return self.options.budget - spare(self.options.budget) - self.passed()

    def passed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def say(self, line: str) -> None:
        """A line for people, with the seconds passed."""
        self._say(f"[{self.passed():6.1f} s] {line}")

    def prepared(self, name: str, network: str, choice: Choice, heads: int) -> Programs:
        """Programs of a network, whose compilation has begun in other threads."""
        model = drawn(network, self.options.seed, choice.precision, heads)
        return self.begun(name, model, choice, self.everything if heads == 1 else self.labelled)

    def begun(self, name: str, model: Any, choice: Choice, faces: dict[str, Any]) -> Programs:
        """Programs of a model, whose compilation has begun in other threads."""
        programs = Programs(model, choice.shape(len(faces["slots"])))
        table = jnp.zeros((len(faces["slots"]), model.outputs[0].shape[-1]), jnp.float16)
        work = programs.ready(
            programs.state(),
            faces,
            table,
            choice.numbers(programs.shape, 1),
            self.faces.validation.images,
        )
        self.waiting[name] = [self.pool.submit(one) for one in work]
        return programs

    def wait(self, name: str) -> bool:
        """Return when everything of that name is compiled, or the time is over: whether it is."""
        futures = self.waiting.get(name, [])
        ahead: set[Future[None]] = set(futures)
        with progress(f"compiling {name}", len(futures), "programs") as bar:
            while ahead and self.left() > 0:
                done, ahead = wait(ahead, timeout=1, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                bar.reach(len(futures) - len(ahead))
        if futures and not ahead:
            del self.waiting[name]
            self.say(f"{name}: compiled")
        return not ahead

    def close(self) -> None:
        """Compile nothing more."""
        self.closed = True
        self.pool.shutdown(wait=False, cancel_futures=True)

    def seconds_of_epoch(self, programs: Programs, faces: dict[str, Any], choice: Choice) -> float:
        """Seconds of an epoch of programs that are compiled."""
        table = jnp.zeros((len(faces["slots"]), 7 * programs.heads), jnp.float16)
        return programs.seconds_of_epoch(faces, table, choice.numbers(programs.shape, 10))

    def train(
        self, job: Job, begin: Callable[[], Any], until: float, every: float = 30.0
    ) -> tuple[Any, list[float], float]:
        """State, losses and seconds of a job, of which about every sixth part is told.

        `until` is when it has to end, in seconds since the start: where the epochs take longer than
        planned, there are fewer.
        """
        start, step = time.monotonic(), max(1, job.epochs // 6)
        before = epochs_done(job.folder)
        told, first = job.epochs, start

        def begun() -> Any:
            nonlocal start
            state = begin()
            start = time.monotonic()  # an epoch's pace is without what came before it
            return state

        def pace(done: int) -> float:
            """Seconds an epoch, the first one left out where there are others: it compiles what is
            small.
            """
            made, now = done - before, time.monotonic()
            return (now - first) / (made - 1) if made > 1 else now - start

        def possible(done: int) -> int:
            nonlocal told, first
            if done == before + 1:
                first = time.monotonic()
            count = done + int((until - self.passed()) / pace(done))
            told = max(done, min(job.epochs, count))
            return count

        def watch(done: int, state: Any, loss: float) -> None:
            bar.reach(done)
            if done % step and done != told:
                return
            named = (self.scores(job, state).argmax(axis=1) == self.faces.validation.labels).mean()
            self.say(
                f"{job.name}: epoch {done}/{told}, loss {loss:.4f}, FER-2013 labels of "
                f"validation {named:.2%}, {pace(done):.2f} s an epoch, "
                f"{duration(self.options.budget - self.passed())} of the budget left"
            )

        with progress(job.name, job.epochs, "epochs", done=before) as bar:
            state, losses = fitted(job, begun, watch, every, possible)
        if len(losses) < job.epochs:
            fewer = count_of(job.epochs - len(losses), "epoch")
            self.say(f"{job.name}: slower than measured, {fewer} fewer")
        return state, losses, time.monotonic() - start

    def scores(self, job: Job, state: Any) -> NDArray[np.float32]:
        """(n, 7) logits of the first head on validation faces."""
        return job.programs.scores(state, self.faces.validation.images)[:, :7]
