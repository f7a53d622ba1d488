"""Activations and embeddings that follow the teacher's."""

from kdmm.losses.features.feature_match import FeatureMatch, feature_distance

__all__ = ["FeatureMatch", "feature_distance"]
