"""Strategies that weigh the terms of an objective."""

from kdmm.losses.weighting.scheduled import Scheduled
from kdmm.losses.weighting.schedules import Constant, Cosine, Linear, Schedule
from kdmm.losses.weighting.weighting import Weighting, weighted_sum

__all__ = ["Constant", "Cosine", "Linear", "Schedule", "Scheduled", "Weighting", "weighted_sum"]
