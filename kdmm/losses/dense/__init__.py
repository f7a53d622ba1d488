"""Maps: segmentation and detection."""

from kdmm.losses.dense.anchor_kd import AnchorKD, box_distance, score_divergence
from kdmm.losses.dense.cwd import CWD, channel_divergence
from kdmm.losses.dense.fgd import FGD
from kdmm.losses.dense.focal import attention_gap, focal_error
from kdmm.losses.dense.pairwise_pixels import PairwisePixels, pairwise_difference
from kdmm.losses.dense.pixel_cross_entropy import PixelCrossEntropy
from kdmm.losses.dense.pixel_kl import PixelKL, pixel_divergence
from kdmm.losses.dense.pkd import PKD, channel_correlation_loss
from kdmm.losses.features.masked_feature import MaskedFeature

MGD = MaskedFeature  # one class, by its name among detectors and segmenters

__all__ = [
    "CWD",
    "FGD",
    "MGD",
    "PKD",
    "AnchorKD",
    "PairwisePixels",
    "PixelCrossEntropy",
    "PixelKL",
    "attention_gap",
    "box_distance",
    "channel_correlation_loss",
    "channel_divergence",
    "focal_error",
    "pairwise_difference",
    "pixel_divergence",
    "score_divergence",
]
