"""What is measured: retrieval, zero-shot classification, agreement with the teacher, retention of its quality."""

from kdmm.metrics.agreement import Agreement
from kdmm.metrics.functional import retention
from kdmm.metrics.retrieval import Retrieval
from kdmm.metrics.zero_shot import TEMPLATES, ZeroShot

__all__ = ["TEMPLATES", "Agreement", "Retrieval", "ZeroShot", "retention"]
