"""The teachers' part of a family: how many, their training, and what they say of many views."""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked.files import make_folder, written_beside
from edgeemo.errors import RunError
from training.fast import lessons
from training.fast.choices import TEACHER
from training.fast.family import PLAN, Family, made_of
from training.fast.job import Job, Lesson, drawn, remember, write_half
from training.fast.optimizer import new_state
from training.fast.plan import SCORING, TEACHING, TeacherPlan, plan_teachers
from training.fast.results import measured
from training.fast.xla import jnp
from workstation.progress import counted
from workstation.text import duration


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
        # Before students are made, which would be waited for.
        self._first = self._drawn(0)
        targets = family.pool.submit(lessons.teachers_targets, family.faces.train, family.rows)
        self._programs = family.prepared("teacher", options.teacher, TEACHER, heads=2)
        scoring = self._programs.ready_to_score(self._programs.state(), family.everything)
        family.waiting["teacher"].append(family.pool.submit(scoring))
        self._targets = targets

    def _seed(self, number: int) -> int:
        return self._family.options.seed + 1000 * (number + 1)

    def _drawn(self, number: int) -> Any:
        network = self._family.options.teacher
        return drawn(network, self._seed(number), TEACHER.precision, heads=2)

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
        seed = self._seed(number)
        name = f"teacher-{number + 1}"
        faces = {**family.labelled, "seed": np.uint32(seed)}
        numbers = TEACHER.numbers(programs.shape, plan.epochs)
        folder = family.out / name
        job = Job(name, programs, faces, lesson, numbers, plan.epochs, seed, folder)
        scoring = (until - family.passed()) * SCORING / (TEACHING + SCORING)
        state, losses, seconds = family.train(
            job,
            lambda: new_state(self._drawn(number) if number else self._first),
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
