"""A plan keeps to its budget, whatever the machine's pace."""

import pytest

from training.fast.plan import SHORTEST_STUDENT, Costs, plan_students, plan_teachers, spare


@pytest.mark.parametrize("left", [60.0, 200.0, 600.0, 3600.0])
@pytest.mark.parametrize("epoch", [0.05, 0.7, 5.0])
def test_teachers_and_their_views_take_less_than_three_fifths(left: float, epoch: float) -> None:
    view = epoch / 3
    plan = plan_teachers(left, epoch, view)
    least = epoch + view
    assert plan.seconds(epoch, view) <= max(0.6 * left, least)
    assert 1 <= plan.teachers <= 4
    assert plan.epochs >= 1


def test_more_time_gives_more_teachers_before_longer_ones() -> None:
    assert plan_teachers(100, 1.0, 0.3).teachers == 1
    assert plan_teachers(400, 1.0, 0.3).teachers == 4 or plan_teachers(400, 1.0, 0.3).epochs >= 36


@pytest.mark.parametrize("left", [40.0, 100.0, 400.0])
def test_students_end_inside_the_time_that_is_left(left: float) -> None:
    costs = {"small": Costs(0.2, 2.0), "base": Costs(0.4, 5.0), "nano": Costs(0.1, 1.0)}
    plan = plan_students(left, costs)
    used = sum(epochs * costs[name].epoch for name, epochs in plan.items())
    used += sum(costs[name].fine + costs[name].rest for name in plan)
    assert used <= left
    assert min(plan.values()) >= SHORTEST_STUDENT


def test_last_students_are_left_out_where_all_would_get_too_few_epochs() -> None:
    costs = {name: Costs(1.0, 2.0) for name in ("first", "second", "third")}
    assert plan_students(40.0, costs) == {"first": 17, "second": 17}


def test_first_student_is_trained_however_late_it_is() -> None:
    assert plan_students(-5.0, {"first": Costs(1.0, 2.0)}) == {"first": 1}


def test_a_twentieth_is_kept_back() -> None:
    assert spare(600) == 30
