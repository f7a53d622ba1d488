"""Strategies that weigh the terms of an objective, and samples within a term."""

from kdmm.losses.weighting.confident import Confident, confidence, weighted_mean
from kdmm.losses.weighting.dynamic_weight_average import DynamicWeightAverage, dynamic_weights
from kdmm.losses.weighting.gradnorm import GradNorm, gradnorm_step
from kdmm.losses.weighting.modality_balance import ModalityBalance, modality_scales
from kdmm.losses.weighting.pcgrad import PCGrad, projection
from kdmm.losses.weighting.scheduled import Scheduled
from kdmm.losses.weighting.schedules import Constant, Cosine, Linear, Schedule, Step, Warmup
from kdmm.losses.weighting.uncertainty import Uncertainty, uncertainty_total
from kdmm.losses.weighting.weighting import Weighting, weighted_sum

__all__ = [
    "Confident",
    "Constant",
    "Cosine",
    "DynamicWeightAverage",
    "GradNorm",
    "Linear",
    "ModalityBalance",
    "PCGrad",
    "Schedule",
    "Scheduled",
    "Step",
    "Uncertainty",
    "Warmup",
    "Weighting",
    "confidence",
    "dynamic_weights",
    "gradnorm_step",
    "modality_scales",
    "projection",
    "uncertainty_total",
    "weighted_mean",
    "weighted_sum",
]
