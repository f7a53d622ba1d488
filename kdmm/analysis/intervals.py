"""How sure a mean over few runs is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Interval", "mean_interval", "paired_difference"]


@dataclass(frozen=True)
class Interval:
    """A mean and the confidence interval around it.

    Args:
        mean: of the values.
        low: the interval's lower end, -inf for a single value.
        high: its upper end, inf for a single value.
        count: how many values there were.
    """

    mean: float
    low: float
    high: float
    count: int

    @property
    def half_width(self) -> float:
        """Distance from the mean to each end."""
        return (self.high - self.low) / 2

    @property
    def clear_of_zero(self) -> bool:
        """Whether both ends are on one side of zero."""
        return self.low > 0 or self.high < 0


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Return the mean and its t-interval: ``mean ± t · s / √n`` with n - 1 degrees of freedom.

    Args:
        values: independent repetitions, at least one.
        level: probability that the interval covers the true mean, if the values are normal.

    Raises:
        ValueError: there is no value.
    """
    if not values:
        raise ValueError("An interval needs at least one value.")
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Interval(mean, -math.inf, math.inf, 1)
    half_width = _t_quantile(level, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return Interval(mean, mean - half_width, mean + half_width, len(values))


def paired_difference(
    first: Mapping[Hashable, float], second: Mapping[Hashable, float], level: float = 0.95
) -> Interval:
    """Return the t-interval of the mean of ``first - second`` over the keys that both have, such as folds or seeds.

    What the pairs share (an easy fold, a lucky initialization) cancels, so it is narrower than two separate intervals.

    Args:
        first: values by key.
        second: values by key.
        level: as in :func:`mean_interval`.

    Raises:
        ValueError: no key is in both.
    """
    shared = [key for key in first if key in second]
    if not shared:
        raise ValueError("The two experiments share no fold or seed, so no difference can be paired.")
    return mean_interval([first[key] - second[key] for key in shared], level)


def _t_quantile(level: float, degrees: int) -> float:
    """Return t with ``P(|T| < t) = level`` for Student's t with whole degrees of freedom, by bisection."""
    low, high = 0.0, math.pi / 2
    for _ in range(100):  # halves the bracket past double precision
        middle = (low + high) / 2
        low, high = (middle, high) if _central_probability(middle, degrees) < level else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _central_probability(angle: float, degrees: int) -> float:
    """Return ``P(|T| < √degrees · tan(angle))``: Abramowitz and Stegun 1964, 26.7.3 and 26.7.4."""
    odd = degrees % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for power in range(1 + odd, degrees, 2):
        total += term
        term *= math.cos(angle) ** 2 * power / (power + 1)
    return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
