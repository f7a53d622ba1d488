"""What is measured: retrieval, zero-shot classification, agreement with the teacher, retention of its quality."""

from kdmm.metrics.accuracy import Accuracy
from kdmm.metrics.agreement import Agreement
from kdmm.metrics.functional import retention
from kdmm.metrics.retrieval import Retrieval
from kdmm.metrics.sample_metric import SampleMetric
from kdmm.metrics.zero_shot import TEMPLATES, ZeroShot

__all__ = ["TEMPLATES", "Accuracy", "Agreement", "Retrieval", "SampleMetric", "ZeroShot", "retention"]
