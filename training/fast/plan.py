"""How a budget of minutes is divided, from measured seconds."""

from dataclasses import dataclass

_TEACHING = 0.45  # of what is left when the first epoch of a teacher has been measured
_SCORING = 0.12  # of the same
_SPARE = 0.05  # of the budget, for writing and for what takes longer than measured
_LONGEST_TEACHER, _SHORTEST_TEACHER, _MOST_TEACHERS = 90, 36, 4
_MOST_VIEWS, _LONGEST_STUDENT, SHORTEST_STUDENT = 48, 300, 12


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


@dataclass(frozen=True)
class Costs:
    """Measured seconds of one student."""

    epoch: float
    """Of an epoch in float."""
    fine: float
    """Of all its epochs in simulated int8."""
    rest: float = 1.0
    """Of what comes between: state to the device, weights to the disk."""


def spare(budget: float) -> float:
    """Seconds of a budget that are kept back."""
    return _SPARE * budget


def plan_teachers(left: float, epoch: float, view: float) -> TeacherPlan:
    """As many teachers as get enough epochs each, in `left` seconds of which students want their
    part.

    `epoch` and `view` are seconds of one.
    """
    seconds = max(0.0, left) * _TEACHING
    count = int(seconds / (epoch * _SHORTEST_TEACHER))
    count = min(_MOST_TEACHERS, max(1, count))
    epochs = min(_LONGEST_TEACHER, max(1, int(seconds / (count * epoch))))
    views = min(_MOST_VIEWS, max(1, int(max(0.0, left) * _SCORING / (count * view))))
    return TeacherPlan(count, epochs, views)


def plan_students(left: float, jobs: dict[str, Costs]) -> dict[str, int]:
    """Epochs of each student, in the order given, all the same; the last ones are left out where
    all would get too few.

    The first is always there, with at least one epoch.
    """
    names = list(jobs)
    while names:
        fixed = sum(jobs[name].fine + jobs[name].rest for name in names)
        epochs = int((left - fixed) / sum(jobs[name].epoch for name in names))
        if epochs >= SHORTEST_STUDENT or len(names) == 1:
            return dict.fromkeys(names, min(_LONGEST_STUDENT, max(1, epochs)))
        names.pop()
    return {}
