"""Pure functions behind the metrics."""

from kdmm.metrics.functional.classifier import text_classifier
from kdmm.metrics.functional.gap import centroid_distance, pair_cosines
from kdmm.metrics.functional.overlap import top_k_overlap
from kdmm.metrics.functional.per_class import per_class_accuracy
from kdmm.metrics.functional.positives import Positives
from kdmm.metrics.functional.ranks import ranks
from kdmm.metrics.functional.recall import mean_rank, median_rank, recall_at_k
from kdmm.metrics.functional.retention import higher_is_better, retention
from kdmm.metrics.functional.separability import linear_separability

__all__ = [
    "Positives",
    "centroid_distance",
    "higher_is_better",
    "linear_separability",
    "mean_rank",
    "median_rank",
    "pair_cosines",
    "per_class_accuracy",
    "ranks",
    "recall_at_k",
    "retention",
    "text_classifier",
    "top_k_overlap",
]
