"""Terms of the objective: what a student may learn from, one concept a file."""

from kdmm.losses.affinity import Affinity, affinity_divergence
from kdmm.losses.contrastive import Contrastive, sigmoid_contrast, softmax_contrast
from kdmm.losses.feature_match import FeatureMatch, feature_distance
from kdmm.losses.interactive_contrastive import InteractiveContrastive, anchored_contrast
from kdmm.losses.objective import Objective
from kdmm.losses.schedules import Constant, Cosine, Linear, Schedule
from kdmm.losses.term import Term
from kdmm.losses.weighting import Scheduled, Weighting

__all__ = [
    "Affinity",
    "Constant",
    "Contrastive",
    "Cosine",
    "FeatureMatch",
    "InteractiveContrastive",
    "Linear",
    "Objective",
    "Schedule",
    "Scheduled",
    "Term",
    "Weighting",
    "affinity_divergence",
    "anchored_contrast",
    "feature_distance",
    "sigmoid_contrast",
    "softmax_contrast",
]
