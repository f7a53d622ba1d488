"""What is measured: retrieval, classification, the modality gap, agreement with the teacher, what is kept of it."""

from kdmm.metrics.accuracy import Accuracy
from kdmm.metrics.agreement import Agreement
from kdmm.metrics.all_pairs import AllPairs
from kdmm.metrics.caption_retrieval import CaptionRetrieval
from kdmm.metrics.captioning import Captioning
from kdmm.metrics.detection import MeanAveragePrecision
from kdmm.metrics.f1 import F1
from kdmm.metrics.functional import retention
from kdmm.metrics.mean_iou import MeanIoU
from kdmm.metrics.modality_gap import ModalityGap
from kdmm.metrics.model_metric import ModelMetric
from kdmm.metrics.retrieval import Retrieval
from kdmm.metrics.sample_metric import SampleMetric
from kdmm.metrics.token_accuracy import TokenAccuracy
from kdmm.metrics.translation import Translation
from kdmm.metrics.written import Writes, WritingMetric, WrittenMetric
from kdmm.metrics.zero_shot import TEMPLATES, ZeroShot

__all__ = [
    "F1",
    "TEMPLATES",
    "Accuracy",
    "Agreement",
    "AllPairs",
    "CaptionRetrieval",
    "Captioning",
    "MeanAveragePrecision",
    "MeanIoU",
    "ModalityGap",
    "ModelMetric",
    "Retrieval",
    "SampleMetric",
    "TokenAccuracy",
    "Translation",
    "Writes",
    "WritingMetric",
    "WrittenMetric",
    "ZeroShot",
    "retention",
]
