"""The whole family inside a budget of time: teachers, what they say of many views, students of
them, each also in simulated int8.
"""

import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked.files import make_folder, written_beside
from training.fast import lessons
from training.fast.choices import TEACHER, Choice
from training.fast.engine import Programs, on_device
from training.fast.faces import FaceSet
from training.fast.job import Job, Lesson, drawn, epochs_done, fitted, remember, write_half
from training.fast.optimizer import new_state
from training.fast.plan import TeacherPlan, plan_teachers, spare
from training.fast.results import measured
from training.fast.xla import jnp
from workstation.progress import counted, progress
from workstation.text import duration

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
    """Epochs of each student in simulated int8."""
    variants: bool = True
    """Whether students of FER-2013's labels alone follow."""


class Family:
    """A family in the making: its faces on the device, its programs, its clock."""

    def __init__(
        self, faces: FaceSet, out: Path, options: Options, say: Callable[[str], None]
    ) -> None:
        self.faces, self.out, self.options = faces, out, options
        self._start, self._say = time.monotonic(), say
        self.pool = ThreadPoolExecutor(max_workers=6)
        self.answers = lessons.answers(faces.train)
        self.rows = lessons.repeated(self.answers)
        self.extra = len(faces.unlabelled)
        images = jnp.asarray(np.concatenate([faces.train.images, faces.unlabelled]))
        more = len(faces.train.images) + np.arange(self.extra)
        slots = np.concatenate([self.rows, more])
        self.labelled = on_device(images, self.rows, options.seed)
        self.everything = on_device(images, slots, options.seed + _VIEWS_SEED)
        self.waiting: dict[str, list[Future[None]]] = {}

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

    def wait(self, name: str) -> None:
        """Return when everything of that name is compiled."""
        futures = self.waiting.pop(name, [])
        ahead: set[Future[None]] = set(futures)
        with progress(f"compiling {name}", len(futures), "programs") as bar:
            while ahead:
                done, ahead = wait(ahead, timeout=1, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                bar.reach(len(futures) - len(ahead))
        if futures:
            self.say(f"{name}: compiled")

    def seconds_of_epoch(self, programs: Programs, faces: dict[str, Any], choice: Choice) -> float:
        """Seconds of an epoch that trains nothing of use: the shorter of two."""
        table = jnp.zeros((len(faces["slots"]), 7 * programs.heads), jnp.float16)
        state, numbers, times = programs.state(), choice.numbers(programs.shape, 10), []
        for _ in range(2):
            start = time.monotonic()
            state, loss = programs.epoch(state, faces, (0, table), 0, 0, numbers)
            float(loss)
            times.append(time.monotonic() - start)
        return min(times)

    def train(
        self, job: Job, begin: Callable[[], Any], every: float = 30.0
    ) -> tuple[Any, list[float], float]:
        """State, losses and seconds of a job, of which about every sixth part is told."""
        start, step = time.monotonic(), max(1, job.epochs // 6)
        before = epochs_done(job.folder)
        head = slice(0, 7)

        def watch(done: int, state: Any, loss: float) -> None:
            bar.reach(done)
            if done % step and done != job.epochs:
                return
            logits = job.programs.scores(state, self.faces.validation.images)[:, head]
            named = (logits.argmax(axis=1) == self.faces.validation.labels).mean()
            pace = (time.monotonic() - start) / (done - before)
            self.say(
                f"{job.name}: epoch {done}/{job.epochs}, loss {loss:.4f}, FER-2013 labels of "
                f"validation {named:.2%}, {pace:.2f} s an epoch, "
                f"{duration(self.options.budget - self.passed())} of the budget left"
            )

        with progress(job.name, job.epochs, "epochs", done=before) as bar:
            state, losses = fitted(job, begin, watch, every)
        return state, losses, time.monotonic() - start


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

    def planned(self) -> TeacherPlan:
        """How many teachers, of how many epochs and views; measured once and kept in plan.json."""

        def plan() -> dict[str, Any]:
            family = self._family
            family.wait("teacher")
            epoch = family.seconds_of_epoch(self._programs, family.labelled, TEACHER)
            state, times = self._programs.state(), []
            for _ in range(2):
                start = time.monotonic()
                np.asarray(self._programs.scores_of_view(state, family.everything, 0))
                times.append(time.monotonic() - start)
            view = min(times)
            made = plan_teachers(family.left(), epoch, view)
            family.say(f"a teacher's epoch takes {epoch:.2f} s, a view {view:.2f} s: {made}")
            return {**vars(made), "epoch_seconds": epoch, "view_seconds": view}

        kept = remember(self._family.out, "plan.json", plan)
        return TeacherPlan(kept["teachers"], kept["epochs"], kept["views"])

    def taught(self, plan: TeacherPlan, rows: list[dict[str, Any]]) -> Taught:
        """Train the teachers and ask them; `rows` gets a row for each."""
        self._family.wait("teacher")
        lesson = Lesson([jnp.asarray(self._targets.result()[0], jnp.float16)], fresh=True)
        logits = [self._one(number, plan, lesson, rows) for number in range(plan.teachers)]
        return Taught(np.stack([one[0] for one in logits]), np.stack([one[1] for one in logits]))

    def _one(
        self, number: int, plan: TeacherPlan, lesson: Lesson, rows: list[dict[str, Any]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        family, programs = self._family, self._programs
        seed = family.options.seed + 1000 * (number + 1)
        name = f"teacher-{number + 1}"
        faces = {**family.labelled, "seed": np.uint32(seed)}
        numbers = TEACHER.numbers(programs.shape, plan.epochs)
        folder = family.out / name
        job = Job(name, programs, faces, lesson, numbers, plan.epochs, seed, folder)
        network = family.options.teacher
        state, _, seconds = family.train(
            job, lambda: new_state(drawn(network, seed, TEACHER.precision, heads=2))
        )
        on_validation = programs.scores(state, family.faces.validation.images)
        views = np.stack(
            [
                np.asarray(programs.scores_of_view(state, family.everything, view))
                for view in counted(range(plan.views), f"{name} looks at views", "views")
            ]
        )
        for head, what in ((slice(0, 7), "votes"), (slice(7, 14), "labels")):
            row = measured(on_validation[:, head], family.faces.validation)
            rows.append(
                {"name": f"{name}, {what}", "epochs": plan.epochs, "seconds": seconds} | row
            )
        with (
            written_beside(make_folder(folder) / "validation.npz") as part,
            part.open("wb") as file,
        ):
            np.savez(file, logits=on_validation)
        write_half(folder / "heads.npz", programs.keep(state).get_weights())
        return on_validation, views
