"""Weights that change while training goes on: a schedule maps progress in [0, 1] to a weight."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from kdmm.errors import InputError

__all__ = ["Constant", "Cosine", "Linear", "Schedule"]


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
        until: progress at which it is complete. ``Linear(0, 1, until=0.1)`` is a warm-up over the first tenth.
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


def _check_weight(setting: str, value: float | int) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"A term's weight is {value} ({setting}). Give a finite number, 0 or more.")
