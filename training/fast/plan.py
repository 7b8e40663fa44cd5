"""How a budget of minutes is divided, from measured seconds."""

from dataclasses import dataclass

from edgeemo.contract.checked.counts import count_of
from edgeemo.errors import RunError
from workstation.text import duration

TEACHING = 0.45  # of what is left when the first epoch of a teacher has been measured
SCORING = 0.12  # of the same
_STUDYING = 1 - TEACHING - SCORING
_SPARE = 0.05  # of the budget, for writing and for what takes longer than measured
_LONGEST_TEACHER, _SHORTEST_TEACHER, _MOST_TEACHERS = 90, 36, 4
_MOST_VIEWS, _LONGEST_STUDENT, SHORTEST_STUDENT = 48, 300, 12
_FINE = 0.3  # of a student's seconds at most, where its epochs in simulated int8 have to be fewer


@dataclass(frozen=True)
class TeacherPlan:
    """What is trained first."""

    teachers: int
    """How many, one after another."""
    epochs: int
    """Of each."""
    views: int
    """Augmented variants of all faces that each teacher scores."""

    def seconds(self, epoch: float, view: float) -> float:
        """What it takes by the seconds of one epoch and of one view."""
        return self.teachers * (self.epochs * epoch + self.views * view)

    def __str__(self) -> str:
        return (
            f"{self.teachers} x {count_of(self.epochs, 'epoch')} and {count_of(self.views, 'view')}"
        )


@dataclass(frozen=True)
class Costs:
    """Measured seconds of one student."""

    epoch: float
    """Of an epoch in float."""
    fine: float
    """Of an epoch in simulated int8."""
    rest: float = 1.0
    """Of all else: state to the device, scores of validation, weights to the disk."""


@dataclass(frozen=True)
class StudentPlan:
    """How long one student is trained."""

    epochs: int
    """In float."""
    fine: int
    """In simulated int8 after that; with 0 it stays in float."""

    def seconds(self, costs: Costs) -> float:
        """What it takes."""
        return self.epochs * costs.epoch + self.fine * costs.fine + costs.rest

    def __str__(self) -> str:
        return f"{count_of(self.epochs, 'epoch')}, then {self.fine} in simulated int8"


def spare(budget: float) -> float:
    """Seconds of a budget that are kept back."""
    return _SPARE * budget


def plan_teachers(left: float, epoch: float, view: float) -> TeacherPlan:
    """As many teachers as get enough epochs each, in `left` seconds of which students want their
    part.

    `epoch` and `view` are seconds of one.

    Raises:
        RunError: not even one epoch and one view leave the students anything of use.
    """
    seconds = max(0.0, left) * TEACHING
    if epoch + view > (TEACHING + SCORING) * left:
        raise RunError(
            f"expected time for a teacher and its students, but one epoch of a teacher takes "
            f"{duration(epoch)} here, its answers {duration(view)}, and of the budget "
            f"{duration(left)} are left; take a longer --budget, a smaller --teacher, a GPU, or "
            "--faces N to rehearse"
        )
    count = int(seconds / (epoch * _SHORTEST_TEACHER))
    count = min(_MOST_TEACHERS, max(1, count))
    epochs = min(_LONGEST_TEACHER, max(1, int(seconds / (count * epoch))))
    views = min(_MOST_VIEWS, max(1, int(left * SCORING / (count * view))))
    return TeacherPlan(count, epochs, views)


def students_part(left: float) -> float:
    """Of `left` seconds before the teachers, what they leave for students."""
    return max(0.0, left) * _STUDYING


def plan_students(left: float, jobs: dict[str, Costs], fine: int) -> dict[str, StudentPlan]:
    """Epochs of each student, in the order given, in float all the same and then `fine` in
    simulated int8; the last ones are left out where all would get too few.

    The first gets what there is, with fewer epochs of both kinds where `left` seconds are short,
    and is left out too where they are not enough for one.
    """
    names = list(jobs)
    while len(names) > 1:
        fixed = sum(jobs[name].fine * fine + jobs[name].rest for name in names)
        epochs = int((left - fixed) / sum(jobs[name].epoch for name in names))
        if epochs >= SHORTEST_STUDENT:
            return dict.fromkeys(names, StudentPlan(min(_LONGEST_STUDENT, epochs), fine))
        names.pop()
    return {name: plan for name in names if (plan := _alone(left, jobs[name], fine)).epochs}


def _alone(left: float, costs: Costs, fine: int) -> StudentPlan:
    """The same of one student, with 0 epochs where there is no time for one."""
    seconds = left - costs.rest
    epochs = int((seconds - fine * costs.fine) / costs.epoch)
    if epochs < SHORTEST_STUDENT:
        fine = max(0, min(fine, int(_FINE * seconds / costs.fine)))
        epochs = int((seconds - fine * costs.fine) / costs.epoch)
    return StudentPlan(min(_LONGEST_STUDENT, max(0, epochs)), fine)
