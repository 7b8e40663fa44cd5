"""The students of a family: each distilled in float, then in simulated int8, each result written as
it comes.
"""

import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import LABELS
from edgeemo.contract.run import Progress, RunConfig, write_run_config
from edgeemo.errors import RunError
from edgeemo.version import __version__
from training.fast import lessons
from training.fast.choices import FINE, SOFT_SHARE, STUDENT, Choice
from training.fast.engine import Programs
from training.fast.family import Family
from training.fast.job import Job, Lesson, drawn, remember, rounding
from training.fast.optimizer import new_state
from training.fast.plan import Costs, StudentPlan, plan_students
from training.fast.results import measured, write_results
from training.fast.teaching import Taught
from training.fast.xla import jnp
from training.fit.recipe import Recipe
from training.networks.cost import multiply_accumulates
from training.networks.layers import without_simulation
from training.runs.run import write_history, write_weights

Rows = list[dict[str, Any]]

_WRITING = 1.0  # seconds for both runs of a student
_SLOWER = 1.3  # than measured a student's epochs may be before some are left out


@dataclass(frozen=True)
class Student:
    """One network to distil."""

    name: str
    """Of its run folder; the float run's has `-float` behind."""
    network: str
    """Its architecture."""
    labels: str
    """"mix" or "fer2013", as a recipe has it."""


def chosen_students(networks: tuple[str, ...], variants: bool) -> list[Student]:
    """The students in the order of their training: first those of both kinds of label."""
    both = [Student(name, name, "mix") for name in networks]
    alone = [Student(f"{name}-fer2013", name, "fer2013") for name in networks]
    return both + (alone if variants else [])


def _plan(
    ahead: list[Student], costs: dict[str, Costs], left: float, fine: int
) -> dict[str, StudentPlan]:
    """How long those students ahead are trained whose network has been measured."""
    jobs = {one.name: costs[one.network] for one in ahead if one.network in costs}
    return plan_students(left, jobs, fine)


class Studying:
    """The students' part of a family."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._float: dict[str, Programs] = {}
        self._fine: dict[str, Programs] = {}
        self._lessons: dict[str, Future[Lesson]] = {}
        self._mix = 0.0
        self._made = family.pool.submit(self._make)

    def _make(self) -> None:
        """Trace all programs and begin to compile them, while teachers are trained."""
        family = self._family
        for name in family.options.networks:
            if family.closed:
                return
            self._float[name] = family.prepared(name, name, STUDENT, heads=1)
            model = rounding(drawn(name, family.options.seed, "float32"))
            self._fine[name] = family.begun(f"{name}, int8", model, FINE, family.everything)

    def listen(self, taught: Taught, rows: Rows) -> None:
        """Make targets of what the teachers said, in other threads; `rows` gets what they say
        together.
        """
        family = self._family
        self._mix = lessons.chosen_mix(taught.validation, family.faces.validation)
        for mix in sorted({1.0, self._mix, 0.0}, reverse=True):
            together = np.log(lessons.of_heads(taught.validation, mix) + np.float32(1e-9))
            row = measured(together, family.faces.validation)
            rows.append({"name": f"teachers, {mix:.0%} votes", **row})
        family.say(f"targets of the default students: {self._mix:.0%} votes")
        self._lessons = {
            "mix": family.pool.submit(self._of_both, taught),
            "fer2013": family.pool.submit(self._of_labels, taught),
        }

    def costs(self) -> dict[str, Costs]:
        """Measured seconds of each network whose programs are compiled in time."""
        family, made = self._family, {}
        for name in family.options.networks:
            if not (self._traced(name) and family.wait(name) and family.wait(f"{name}, int8")):
                family.say(f"{name}: not compiled in time, left out with those after it")
                break
            epoch = family.seconds_of_epoch(self._float[name], family.everything, STUDENT)
            fine = family.seconds_of_epoch(self._fine[name], family.everything, FINE)
            start = time.monotonic()
            images = family.faces.validation.images
            self._float[name].scores(self._float[name].state(), images)
            # Told six times, scored once more, of both kinds; and the run is written twice.
            rest = 14 * (time.monotonic() - start) + _WRITING
            family.say(f"{name}: an epoch takes {epoch:.2f} s, in simulated int8 {fine:.2f} s")
            made[name] = Costs(epoch, fine, rest)
        return made

    def planned(self, costs: dict[str, Costs], left: float) -> dict[str, StudentPlan]:
        """How long each student would be trained in `left` seconds."""
        ahead = chosen_students(self._family.options.networks, self._family.options.variants)
        return _plan(ahead, costs, left, self._family.options.fine_epochs)

    def study(self, costs: dict[str, Costs], rows: Rows) -> None:
        """Train the students that the time left is enough for; `rows` gets two rows for each."""
        family = self._family
        ahead = chosen_students(family.options.networks, family.options.variants)
        while ahead:
            student = ahead[0]

            def plan(ahead: list[Student] = ahead) -> dict[str, Any]:
                made = _plan(ahead, costs, family.left(), family.options.fine_epochs)
                return {name: vars(of_student) for name, of_student in made.items()}

            kept = remember(family.out / f"{student.name}-float", "plan.json", plan)
            if student.name not in kept or student.network not in costs:
                family.say(f"no time is left for {', '.join(one.name for one in ahead)}")
                return
            ahead = [one for one in ahead[1:] if one.name in kept]
            self._one(student, StudentPlan(**kept[student.name]), costs[student.network], rows)
            write_results(family.out, rows)

    def _traced(self, name: str) -> bool:
        """Whether the programs of a network are traced in time, which is waited for."""
        family = self._family
        while name not in self._fine and family.left() > 0:
            if self._made.done():
                self._made.result()  # what went wrong is told
                break
            time.sleep(0.05)
        return name in self._fine

    def _one(self, student: Student, plan: StudentPlan, costs: Costs, rows: Rows) -> None:
        family, seed = self._family, self._family.options.seed
        programs = self._float[student.network]
        fine = plan.fine * costs.fine + costs.rest
        end = family.passed() + family.left()
        until = min(end - fine, family.passed() + _SLOWER * plan.epochs * costs.epoch)
        model = self._fit(student, programs, STUDENT, plan.epochs, rows, None, until)
        if not plan.fine:
            family.say(f"{student.name}: stays in float, since no time is left for simulated int8")
            return
        plain = drawn(student.network, seed, "float32")
        plain.set_weights(model.get_weights())
        until = min(end - costs.rest / 2, family.passed() + _SLOWER * plan.fine * costs.fine)
        try:
            fine_programs = self._fine[student.network]
            self._fit(student, fine_programs, FINE, plan.fine, rows, plain, until)
        except (RunError, RuntimeError, ValueError, TypeError, OSError) as error:
            # The float run is written, and `finetune --qat` takes it from there.
            family.say(f"{student.name}: stays in float ({type(error).__name__}: {error})")

    def _fit(
        self,
        student: Student,
        programs: Programs,
        choice: Choice,
        epochs: int,
        rows: Rows,
        start: keras.Model | None,
        until: float,
    ) -> keras.Model:
        """Fit one network in float, or from `start` in simulated int8, and write its run; returns
        it. It ends at `until`, in seconds since the family's start.
        """
        family = self._family
        name = student.name if start is not None else f"{student.name}-float"
        seed = family.options.seed + (0 if student.labels == "mix" else 500)

        def begin() -> Any:
            if start is None:
                return new_state(drawn(student.network, seed, choice.precision))
            programs.model.set_weights(rounding(start).get_weights())
            return new_state(programs.model)

        folder = family.out / name
        lesson = self._lessons[student.labels].result()
        numbers = choice.numbers(programs.shape, epochs)
        job = Job(name, programs, family.everything, lesson, numbers, epochs, seed, folder)
        state, losses, seconds = family.train(job, begin, until)
        model = programs.keep(state)
        logits = programs.scores(state, family.faces.validation.images)
        row = measured(logits, family.faces.validation)
        rows.append({"name": name, "epochs": len(losses), "seconds": seconds} | row)
        recipe = self._recipe(student, choice, len(losses), seed, start is not None)
        write_run(folder, model, recipe, family.faces.about, self._account(losses, seconds, row))
        return model

    def _recipe(
        self, student: Student, choice: Choice, epochs: int, seed: int, fine: bool
    ) -> Recipe:
        return Recipe(
            model=student.network,
            labels=student.labels,
            mix=self._mix if student.labels == "mix" else 0.5,
            epochs=epochs,
            batch_size=choice.batch,
            learning_rate=choice.peak,
            warmup_epochs=int(choice.warmup),
            weight_decay=choice.decay,
            ema=choice.momentum,
            mixup=choice.mixup,
            precision=choice.precision,
            init=f"{student.name}-float" if fine else "",
            qat=fine,
            seed=seed,
            augmentation=choice.augmentation,
        )

    def _account(
        self, losses: list[float], seconds: float, row: dict[str, float]
    ) -> dict[str, Any]:
        faces = self._family.faces
        about = {
            "soft_share": SOFT_SHARE,
            "mix": self._mix,
            "views": len(self._lessons["mix"].result().tables),
            "list": len(self._family.rows),
            "unlabelled": self._family.extra,
            "validation": row,
        }
        counts = {"train": len(faces.train.images), "validation": len(faces.validation.images)}
        history = Progress(len(losses), len(losses), round(seconds, 1))
        return {"faces": counts, "family": about, "history": history, "losses": losses}

    def _of_both(self, taught: Taught) -> Lesson:
        family = self._family
        soft = lessons.of_heads(taught.views, self._mix)
        values = lessons.default_targets(
            family.answers, family.rows, family.extra, soft, SOFT_SHARE, self._mix
        )
        return Lesson([jnp.asarray(of_view) for of_view in values])

    def _of_labels(self, taught: Taught) -> Lesson:
        family = self._family
        mean: NDArray[np.float32] = taught.views.mean(axis=0)
        count = len(family.rows)
        inform = lessons.informed_scores(family.faces.train, family.rows, mean[0, :count])
        soft = lessons.of_heads(taught.views, 0.0)
        soft[:, :count] = [inform(of_view[:count]) for of_view in mean]
        values = lessons.label_targets(family.answers, family.rows, family.extra, soft, SOFT_SHARE)
        return Lesson([jnp.asarray(of_view) for of_view in values])


def write_run(
    folder: Path,
    model: keras.Model,
    recipe: Recipe,
    about: dict[str, Any],
    account: dict[str, Any],
) -> None:
    """Write config, history and weights of a finished network; `finish` adds predictions."""
    losses = account.pop("losses")
    write_history(folder, [{"epoch": i + 1, "loss": loss} for i, loss in enumerate(losses)])
    measured_on = without_simulation(model) if recipe.qat else model
    config = RunConfig(
        recipe=recipe.to_dict(),
        labels=LABELS,
        input_spec=DEFAULT_SPEC,
        **about | {"data_sets": tuple(about["data_sets"])},
        edgeemo=__version__,
        keras=keras.__version__,
        backend=keras.backend.backend(),
        parameters=measured_on.count_params(),
        multiply_accumulates=multiply_accumulates(measured_on),
        **account,
    )
    write_run_config(folder, config)
    write_weights(folder, model)
