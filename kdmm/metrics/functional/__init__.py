"""Pure functions behind the metrics."""

from kdmm.metrics.functional.classifier import text_classifier
from kdmm.metrics.functional.overlap import top_k_overlap
from kdmm.metrics.functional.positives import Positives
from kdmm.metrics.functional.ranks import ranks
from kdmm.metrics.functional.recall import mean_rank, median_rank, recall_at_k
from kdmm.metrics.functional.retention import higher_is_better, retention

__all__ = [
    "Positives",
    "higher_is_better",
    "mean_rank",
    "median_rank",
    "ranks",
    "recall_at_k",
    "retention",
    "text_classifier",
    "top_k_overlap",
]
