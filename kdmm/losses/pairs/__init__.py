"""Contrast between the modalities of a pair."""

from kdmm.losses.pairs.affinity import Affinity, affinity_divergence
from kdmm.losses.pairs.augmented_feature import AugmentedFeature
from kdmm.losses.pairs.contrastive import Contrastive, sigmoid_contrast, softmax_contrast
from kdmm.losses.pairs.fitted_bias import fitted_bias
from kdmm.losses.pairs.gap import GapLoss, squared_gap
from kdmm.losses.pairs.gradient_distillation import GradientDistillation, contrast_gradients, gradient_distance
from kdmm.losses.pairs.interactive_contrastive import InteractiveContrastive, anchored_contrast
from kdmm.losses.pairs.sigmoid_distillation import SigmoidDistillation, bernoulli_divergence, sigmoid_divergence

__all__ = [
    "Affinity",
    "AugmentedFeature",
    "Contrastive",
    "GapLoss",
    "GradientDistillation",
    "InteractiveContrastive",
    "SigmoidDistillation",
    "affinity_divergence",
    "anchored_contrast",
    "bernoulli_divergence",
    "contrast_gradients",
    "fitted_bias",
    "gradient_distance",
    "sigmoid_contrast",
    "sigmoid_divergence",
    "softmax_contrast",
    "squared_gap",
]
