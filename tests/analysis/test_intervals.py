import math
import statistics

import pytest

from kdmm.analysis import Interval, mean_interval, paired_difference

T_95 = {
    1: 12.7062047,
    2: 4.3026527,
    3: 3.1824463,
    4: 2.7764451,
    5: 2.5705818,
    9: 2.2621572,
    30: 2.0422725,
    199: 1.9719565,
}


@pytest.mark.parametrize("degrees", T_95)
def test_intervals_use_the_tabulated_t_quantiles(degrees: int) -> None:
    values = [math.sin(3.0 * number) for number in range(degrees + 1)]
    interval = mean_interval(values)
    error = statistics.stdev(values) / math.sqrt(len(values))
    assert interval.mean == pytest.approx(statistics.fmean(values))
    assert interval.half_width / error == pytest.approx(T_95[degrees], rel=1e-7)
    assert interval.count == degrees + 1


def test_another_level() -> None:
    assert mean_interval([0.0, 2.0], level=0.5).half_width == pytest.approx(1.0)  # t(0.5, 1) is tan(pi / 4)


def test_quantiles_agree_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for degrees in (1, 2, 7, 8, 63, 64):
        values = [float(number % 5) for number in range(degrees + 1)]
        for level in (0.5, 0.9, 0.99):
            expected = stats.t.interval(level, degrees, statistics.fmean(values), stats.sem(values))
            interval = mean_interval(values, level)
            assert (interval.low, interval.high) == pytest.approx(expected, rel=1e-9)


def test_one_value_says_nothing_about_its_error() -> None:
    interval = mean_interval([0.3])
    assert interval == Interval(0.3, -math.inf, math.inf, 1)
    assert not interval.clear_of_zero
    with pytest.raises(ValueError, match="at least one value"):
        mean_interval([])


def test_pairs_share_a_key_and_what_they_share_cancels() -> None:
    easy = {0: 0.1, 1: 0.5, 2: 0.9, 3: 0.2}
    better = {fold: value + 0.02 + 0.001 * fold for fold, value in easy.items() if fold != 3} | {7: 9.0}
    interval = paired_difference(better, easy)
    assert interval.count == 3
    assert interval.mean == pytest.approx(0.021)
    assert interval.half_width == pytest.approx(4.3026527 * 0.001 / math.sqrt(3))
    assert interval.clear_of_zero
    assert paired_difference(easy, better).mean == pytest.approx(-0.021)
    with pytest.raises(ValueError, match="share no fold or seed"):
        paired_difference({0: 1.0}, {1: 1.0})
