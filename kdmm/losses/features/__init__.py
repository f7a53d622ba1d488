"""Activations and embeddings that follow the teacher's."""

from kdmm.losses.features.attention_transfer import AttentionTransfer, attention_distance
from kdmm.losses.features.feature_match import FeatureMatch, feature_distance
from kdmm.losses.features.hierarchical_context import hierarchical_context
from kdmm.losses.features.hint import Hint, hint_error
from kdmm.losses.features.masked_feature import MaskedFeature
from kdmm.losses.features.ofd import OFD, partial_error
from kdmm.losses.features.phis import PHIS, phis_matrix, phis_standardized
from kdmm.losses.features.review_kd import ReviewKD
from kdmm.losses.features.sim_kd import SimKD
from kdmm.losses.features.vid import VID, gaussian_surprise

__all__ = [
    "OFD",
    "PHIS",
    "VID",
    "AttentionTransfer",
    "FeatureMatch",
    "Hint",
    "MaskedFeature",
    "ReviewKD",
    "SimKD",
    "attention_distance",
    "feature_distance",
    "gaussian_surprise",
    "hierarchical_context",
    "hint_error",
    "partial_error",
    "phis_matrix",
    "phis_standardized",
]
