"""A plan keeps to its budget, whatever the machine's pace."""

import pytest

from edgeemo.errors import RunError
from training.fast.plan import (
    SHORTEST_STUDENT,
    Costs,
    StudentPlan,
    plan_students,
    plan_teachers,
    spare,
    students_part,
)

COSTS = {
    "small": Costs(0.2, 0.17),
    "base": Costs(0.4, 0.42),
    "nano": Costs(0.1, 0.08),
}


@pytest.mark.parametrize("left", [60.0, 200.0, 600.0, 3600.0])
@pytest.mark.parametrize("epoch", [0.05, 0.7, 5.0])
def test_teachers_and_their_views_leave_students_their_part(left: float, epoch: float) -> None:
    view = epoch / 3
    plan = plan_teachers(left, epoch, view)
    assert plan.seconds(epoch, view) <= left - students_part(left) + 1e-6
    assert 1 <= plan.teachers <= 4
    assert plan.epochs >= 1


def test_a_teacher_that_is_too_slow_for_the_budget_is_refused_with_what_to_do() -> None:
    with pytest.raises(RunError, match="a teacher takes 54 s here, its answers 27 s"):
        plan_teachers(130.0, 54.0, 7.0 + 20)
    assert plan_teachers(130.0, 54.0, 7.0).epochs == 1


def test_more_time_gives_more_teachers_before_longer_ones() -> None:
    assert plan_teachers(100, 1.0, 0.3).teachers == 1
    assert plan_teachers(400, 1.0, 0.3).teachers == 4 or plan_teachers(400, 1.0, 0.3).epochs >= 36


@pytest.mark.parametrize("left", [0.5, 2.0, 5.0, 12.0, 40.0, 100.0, 400.0])
def test_students_end_inside_the_time_that_is_left(left: float) -> None:
    plan = plan_students(left, COSTS, 12)
    assert sum(of_one.seconds(COSTS[name]) for name, of_one in plan.items()) <= left
    assert all(of_one.epochs >= 1 for of_one in plan.values())
    if len(plan) > 1:
        assert min(of_one.epochs for of_one in plan.values()) >= SHORTEST_STUDENT
        assert {of_one.fine for of_one in plan.values()} == {12}


def test_last_students_are_left_out_where_all_would_get_too_few_epochs() -> None:
    costs = {name: Costs(1.0, 0.2) for name in ("first", "second", "third")}
    plan = plan_students(40.8, costs, 10)
    assert plan == dict.fromkeys(("first", "second"), StudentPlan(17, 10))


def test_where_time_is_short_simulated_int8_gets_a_share_of_it_and_then_none() -> None:
    costs = {"first": Costs(1.0, 1.0, rest=1.0), "second": Costs(1.0, 1.0)}
    assert plan_students(11.0, costs, 12) == {"first": StudentPlan(7, 3)}
    assert plan_students(3.0, costs, 12) == {"first": StudentPlan(2, 0)}
    assert plan_students(1.5, costs, 12) == {}
    assert plan_students(-5.0, costs, 12) == {}


def test_a_twentieth_is_kept_back() -> None:
    assert spare(600) == 30
