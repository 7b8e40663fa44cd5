"""The whole family inside a budget of time: teachers, what they say of many views, students of
them, each also in simulated int8.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked.files import make_folder, written_beside
from edgeemo.errors import RunError
from training.fast import lessons
from training.fast.choices import TEACHER, Choice
from training.fast.engine import Programs, on_device
from training.fast.faces import FaceSet
from training.fast.job import Job, Lesson, drawn, epochs_done, fitted, remember, write_half
from training.fast.optimizer import new_state
from training.fast.plan import SCORING, TEACHING, TeacherPlan, plan_teachers, spare
from training.fast.results import measured
from training.fast.xla import jnp
from workstation.progress import counted, progress
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
    """A family in the making: its faces on the device, its programs, its clock."""

    def __init__(
        self, faces: FaceSet, out: Path, options: Options, say: Callable[[str], None]
    ) -> None:
        self.faces, self.out, self.options = faces, out, options
        self._start, self._say = time.monotonic(), say
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
        told = job.epochs

        def pace(done: int) -> float:
            return (time.monotonic() - start) / max(1, done - before)

        def possible(done: int) -> int:
            nonlocal told
            count = done + int((until - self.passed()) / pace(done))
            if count < told == job.epochs:
                self.say(f"{job.name}: slower than measured, so epochs are left out")
            told = max(done, min(told, count))
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
            state, losses = fitted(job, begin, watch, every, possible)
        return state, losses, time.monotonic() - start

    def scores(self, job: Job, state: Any) -> NDArray[np.float32]:
        """(n, 7) logits of the first head on validation faces."""
        return job.programs.scores(state, self.faces.validation.images)[:, :7]


@dataclass(frozen=True)
class Taught:
    """What the teachers leave behind."""

    validation: NDArray[np.float32]
    """(teachers, n, 14) logits on validation faces."""
    views: NDArray[np.float32]
    """(teachers, views, slots, 14) logits on the views of all faces."""


class Teaching:
    """The teachers' part of a family."""

    def __init__(self, family: Family) -> None:
        self._family = family
        options = family.options
        targets = family.pool.submit(lessons.teachers_targets, family.faces.train, family.rows)
        self._programs = family.prepared("teacher", options.teacher, TEACHER, heads=2)
        scoring = self._programs.ready_to_score(self._programs.state(), family.everything)
        family.waiting["teacher"].append(family.pool.submit(scoring))
        self._targets = targets

    def planned(self, *, keep: bool) -> TeacherPlan:
        """How many teachers, of how many epochs and views: as plan.json says, where a family was
        begun. Measured otherwise, and with `keep` kept there.

        Raises:
            RunError: not compiled in time, or too slow for the budget.
        """

        def plan() -> dict[str, Any]:
            family = self._family
            if not family.wait("teacher"):
                raise RunError(
                    f"expected a compiled teacher inside the budget, received none after "
                    f"{duration(family.passed())}; take a longer --budget or a smaller --teacher"
                )
            epoch = family.seconds_of_epoch(self._programs, family.labelled, TEACHER)
            start = time.monotonic()
            np.asarray(self._programs.scores_of_view(self._programs.state(), family.everything, 0))
            view = time.monotonic() - start
            made = plan_teachers(family.left(), epoch, view)
            family.say(f"a teacher's epoch takes {epoch:.2f} s, a view {view:.2f} s: {made}")
            measured = {"epoch_seconds": epoch, "view_seconds": view}
            return {**vars(made), **measured, "made_of": made_of(family.options, family.faces)}

        out = self._family.out
        kept = remember(out, PLAN, plan) if keep or (out / PLAN).is_file() else plan()
        return TeacherPlan(kept["teachers"], kept["epochs"], kept["views"])

    def taught(self, plan: TeacherPlan, rows: list[dict[str, Any]]) -> Taught:
        """Train the teachers and ask them; `rows` gets a row for each."""
        family = self._family
        family.wait("teacher")
        lesson = Lesson([jnp.asarray(self._targets.result()[0], jnp.float16)], fresh=True)
        start, share = family.passed(), (TEACHING + SCORING) * family.left() / plan.teachers
        logits: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
        for number in range(plan.teachers):
            until = start + (number + 1) * share
            logits.append(self._one(number, plan, lesson, until, rows))
            # All score the same views; the first one's pace says how many.
            plan = replace(plan, views=len(logits[0][1]))
        return Taught(np.stack([one[0] for one in logits]), np.stack([one[1] for one in logits]))

    def _one(
        self,
        number: int,
        plan: TeacherPlan,
        lesson: Lesson,
        until: float,
        rows: list[dict[str, Any]],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        family, programs = self._family, self._programs
        seed = family.options.seed + 1000 * (number + 1)
        name = f"teacher-{number + 1}"
        faces = {**family.labelled, "seed": np.uint32(seed)}
        numbers = TEACHER.numbers(programs.shape, plan.epochs)
        folder = family.out / name
        job = Job(name, programs, faces, lesson, numbers, plan.epochs, seed, folder)
        network = family.options.teacher
        scoring = (until - family.passed()) * SCORING / (TEACHING + SCORING)
        state, losses, seconds = family.train(
            job,
            lambda: new_state(drawn(network, seed, TEACHER.precision, heads=2)),
            until - scoring,
        )
        on_validation = programs.scores(state, family.faces.validation.images)
        views: list[NDArray[np.float32]] = []
        for view in counted(range(plan.views), f"{name} looks at views", "views"):
            if number == 0 and views and family.passed() > until:
                break
            views.append(np.asarray(programs.scores_of_view(state, family.everything, view)))
        for head, what in ((slice(0, 7), "votes"), (slice(7, 14), "labels")):
            row = measured(on_validation[:, head], family.faces.validation)
            rows.append(
                {"name": f"{name}, {what}", "epochs": len(losses), "seconds": seconds} | row
            )
        with (
            written_beside(make_folder(folder) / "validation.npz") as part,
            part.open("wb") as file,
        ):
            np.savez(file, logits=on_validation)
        write_half(folder / "heads.npz", programs.keep(state).get_weights())
        return on_validation, np.stack(views)
