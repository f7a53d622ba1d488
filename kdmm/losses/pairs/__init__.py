"""Contrast between the modalities of a pair."""

from kdmm.losses.pairs.affinity import Affinity, affinity_divergence
from kdmm.losses.pairs.contrastive import Contrastive, sigmoid_contrast, softmax_contrast
from kdmm.losses.pairs.interactive_contrastive import InteractiveContrastive, anchored_contrast

__all__ = [
    "Affinity",
    "Contrastive",
    "InteractiveContrastive",
    "affinity_divergence",
    "anchored_contrast",
    "sigmoid_contrast",
    "softmax_contrast",
]
