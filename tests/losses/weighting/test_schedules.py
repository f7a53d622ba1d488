import math

import pytest

from kdmm.errors import InputError
from kdmm.losses import Constant, Cosine, Linear, Scheduled, Step, Warmup


def test_constant():
    assert [Constant(2)(p) for p in (0, 0.5, 1)] == [2, 2, 2]


@pytest.mark.parametrize("shape", [Linear, Cosine])
def test_ramps_begin_and_end_where_told_and_stay_there(shape):
    schedule = shape(3, 1, since=0.2, until=0.6)
    assert [schedule(p) for p in (0, 0.2, 0.4, 0.6, 1)] == pytest.approx([3, 3, 2, 1, 1])


def test_linear_is_straight_and_cosine_is_half_a_cosine():
    assert Linear(0, 4)(0.25) == 1
    assert Cosine(0, 4)(0.25) == pytest.approx(2 * (1 - math.cos(math.pi / 4)))


def test_step_jumps_where_told_and_is_level_between():
    schedule = Step([1, 0.1, 0.01], [0.5, 0.75])
    assert [schedule(p) for p in (-0.1, 0, 0.49, 0.5, 0.74, 0.75, 1, 1.1)] == [1, 1, 1, 0.1, 0.1, 0.01, 0.01, 0.01]
    assert Step([2], [])(0.5) == 2


@pytest.mark.parametrize(
    ("values", "at"),
    [([1], [0.5]), ([1, 2], []), ([1, 2], [0]), ([1, 2], [1]), ([1, 2, 3], [0.5, 0.5]), ([1, 2, 3], [0.6, 0.5])],
)
def test_steps_without_their_values_or_not_in_order_are_refused(values, at):
    with pytest.raises(InputError, match="one value more than points"):
        Step(values, at)


def test_warm_up_multiplies_any_schedule_by_a_rising_line():
    assert [Warmup(3, 0.1)(p) for p in (-1, 0, 0.05, 0.1, 0.9)] == pytest.approx([0, 0, 1.5, 3, 3])
    decay = Cosine(2, 0, since=0.5)
    warmed = Warmup(decay, until=0.5)
    assert [warmed(p) for p in (0, 0.25, 0.5, 0.75, 1)] == pytest.approx([0, 1, 2, 1, 0])
    assert Scheduled({"a": warmed}).weights(0.25) == {"a": 1}


@pytest.mark.parametrize("until", [0, -0.1, 1.1, math.nan])
def test_a_warm_up_that_never_begins_or_ends_is_refused(until):
    with pytest.raises(InputError, match="Warmup: until is"):
        Warmup(1, until)


@pytest.mark.parametrize("shape", [Linear, Cosine])
def test_progress_outside_the_run_holds_the_ends(shape):
    assert shape(3, 1)(-0.1) == 3
    assert shape(3, 1)(1.1) == 1


@pytest.mark.parametrize(("since", "until"), [(0.5, 0.5), (0.6, 0.5), (-0.1, 1), (0, 1.1), (0, math.nan)])
def test_a_window_outside_the_run_is_refused(since, until):
    with pytest.raises(InputError, match="since is"):
        Linear(0, 1, since, until)


@pytest.mark.parametrize("value", [-1, math.nan, math.inf])
def test_weights_are_finite_and_not_negative(value):
    more = (lambda: Step([1, value], [0.5]), lambda: Warmup(value, 0.5))
    for build in (lambda: Constant(value), lambda: Linear(value, 1), lambda: Cosine(0, value), *more):
        with pytest.raises(InputError, match="weight is"):
            build()
