"""Class scores and labels."""

from kdmm.losses.logits.class_balanced import ClassBalanced, effective_weights, weighted_cross_entropy
from kdmm.losses.logits.cross_entropy import CrossEntropy, smoothed_cross_entropy
from kdmm.losses.logits.dist import DIST, correlation_distance, relation_distance
from kdmm.losses.logits.divergence import softmax_divergence
from kdmm.losses.logits.dkd import DKD, decoupled_divergence
from kdmm.losses.logits.entropy import mean_entropy
from kdmm.losses.logits.kd import KD
from kdmm.losses.logits.logit_adjusted import LogitAdjusted, adjusted_cross_entropy, log_prior
from kdmm.losses.logits.logit_mse import LogitMSE, score_distance
from kdmm.losses.logits.multi_level import MultiLevelLogits, multi_level_distance
from kdmm.losses.logits.nkd import NKD, normalized_cross_entropy
from kdmm.losses.logits.own_loss import OwnLoss
from kdmm.losses.logits.r_drop import RDrop, symmetric_divergence
from kdmm.losses.logits.standardize import standardized
from kdmm.losses.logits.teacher_free import TeacherFree, virtual_teacher_divergence

__all__ = [
    "DIST",
    "DKD",
    "KD",
    "NKD",
    "ClassBalanced",
    "CrossEntropy",
    "LogitAdjusted",
    "LogitMSE",
    "MultiLevelLogits",
    "OwnLoss",
    "RDrop",
    "TeacherFree",
    "adjusted_cross_entropy",
    "correlation_distance",
    "decoupled_divergence",
    "effective_weights",
    "log_prior",
    "mean_entropy",
    "multi_level_distance",
    "normalized_cross_entropy",
    "relation_distance",
    "score_distance",
    "smoothed_cross_entropy",
    "softmax_divergence",
    "standardized",
    "symmetric_divergence",
    "virtual_teacher_divergence",
    "weighted_cross_entropy",
]
