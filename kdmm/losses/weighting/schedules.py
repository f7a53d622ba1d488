"""Weights that change while training goes on: a schedule maps progress in [0, 1] to a weight."""

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from kdmm.errors import InputError

__all__ = ["Constant", "Cosine", "Linear", "Schedule", "Step", "Warmup", "as_schedule"]


class Schedule(ABC):
    """A weight as a function of progress, 0 at the first step and 1 at the last."""

    @abstractmethod
    def __call__(self, progress: float | int) -> float:
        """Return the weight at ``progress``."""


@dataclass(frozen=True)
class Constant(Schedule):
    """The same weight all the time; what a plain number in the YAML means.

    Attributes:
        value: the weight, 0 or more.
    """

    value: float | int

    def __post_init__(self) -> None:
        _check_weight("value", self.value)

    def __call__(self, progress: float | int) -> float:
        """Return the weight."""
        return float(self.value)


@dataclass(frozen=True)
class _Ramp(Schedule):
    """From ``start`` to ``end`` while progress goes from ``since`` to ``until``, and level before and after.

    Attributes:
        start: the weight up to ``since``, 0 or more.
        end: the weight from ``until`` on, 0 or more.
        since: progress at which the change begins.
        until: progress at which it is complete.
    """

    start: float | int
    end: float | int
    since: float | int = 0.0
    until: float | int = 1.0

    def __post_init__(self) -> None:
        _check_weight("start", self.start)
        _check_weight("end", self.end)
        if not 0 <= self.since < self.until <= 1:
            raise InputError(
                f"Schedule: since is {self.since} and until is {self.until}. "
                "Give 0 <= since < until <= 1, in parts of the run."
            )

    def __call__(self, progress: float | int) -> float:
        """Return the weight at ``progress``."""
        done = min(max((progress - self.since) / (self.until - self.since), 0.0), 1.0)
        return float(self.start + (self.end - self.start) * self.shape(done))

    @abstractmethod
    def shape(self, done: float) -> float:
        """Map the part of the ramp that is done, 0 to 1, to the part of the change, 0 to 1."""


@dataclass(frozen=True)
class Linear(_Ramp):
    """A straight line from ``start`` to ``end`` between progress ``since`` and ``until``, level outside."""

    def shape(self, done: float) -> float:
        """Return ``done``."""
        return done


@dataclass(frozen=True)
class Cosine(_Ramp):
    """Half a cosine from ``start`` to ``end`` between progress ``since`` and ``until``, level outside."""

    def shape(self, done: float) -> float:
        """Return ``(1 - cos(pi done)) / 2``."""
        return (1 - math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class Step(Schedule):
    """Level, with a jump at each of the stated points; ``Step([1, 0.1], [0.5])`` drops to a tenth half-way.

    Attributes:
        values: the weight of each level, 0 or more: one more than there are jumps.
        at: progress at which the next value begins, ascending, between 0 and 1.
    """

    values: Sequence[float | int]
    at: Sequence[float | int]

    def __post_init__(self) -> None:
        for value in self.values:
            _check_weight("values", value)
        ends = (0.0, *self.at, 1.0)
        ascending = all(first < second for first, second in pairwise(ends))
        if not ascending or len(self.values) != len(self.at) + 1:
            raise InputError(
                f"Step: values is {list(self.values)} and at is {list(self.at)}. Give ascending points between 0 and "
                "1, in parts of the run, and one value more than points."
            )

    def __call__(self, progress: float | int) -> float:
        """Return the value of the last point that is reached."""
        return float(self.values[bisect_right(self.at, progress)])


@dataclass(frozen=True)
class Warmup(Schedule):
    """Another schedule, or a number, times a factor that rises from 0 to 1 in a straight line, then stays there.

    Attributes:
        schedule: what is warmed up; it keeps its own course, so a decay may begin meanwhile.
        until: progress at which the factor is 1.
    """

    schedule: Schedule | float | int
    until: float | int

    def __post_init__(self) -> None:
        as_schedule(self.schedule)
        if not 0 < self.until <= 1:
            raise InputError(
                f"Warmup: until is {self.until}. Give a number above 0 and at most 1, in parts of the run."
            )

    def __call__(self, progress: float | int) -> float:
        """Return the weight at ``progress``."""
        return as_schedule(self.schedule)(progress) * min(max(progress / self.until, 0.0), 1.0)


def as_schedule(weight: Schedule | float | int) -> Schedule:
    """Return the schedule itself, or a `Constant` of the number."""
    return weight if isinstance(weight, Schedule) else Constant(weight)


def _check_weight(setting: str, value: float | int) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"A term's weight is {value} ({setting}). Give a finite number, 0 or more.")
