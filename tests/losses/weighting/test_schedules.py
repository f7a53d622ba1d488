import math

import pytest

from kdmm.errors import InputError
from kdmm.losses import Constant, Cosine, Linear


def test_constant():
    assert [Constant(2)(p) for p in (0, 0.5, 1)] == [2, 2, 2]


@pytest.mark.parametrize("shape", [Linear, Cosine])
def test_ramps_begin_and_end_where_told_and_stay_there(shape):
    schedule = shape(3, 1, since=0.2, until=0.6)
    assert [schedule(p) for p in (0, 0.2, 0.4, 0.6, 1)] == pytest.approx([3, 3, 2, 1, 1])


def test_linear_is_straight_and_cosine_is_half_a_cosine():
    assert Linear(0, 4)(0.25) == 1
    assert Cosine(0, 4)(0.25) == pytest.approx(2 * (1 - math.cos(math.pi / 4)))


def test_linear_is_a_warm_up_when_it_ends_early():
    schedule = Linear(0.0, 1.0, until=0.1)
    assert [schedule(p) for p in (0, 0.05, 0.1, 0.9)] == pytest.approx([0, 0.5, 1, 1])


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
    for build in (lambda: Constant(value), lambda: Linear(value, 1), lambda: Cosine(0, value)):
        with pytest.raises(InputError, match="weight is"):
            build()
