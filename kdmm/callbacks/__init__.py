"""Callbacks and loggers of a run."""

from kdmm.callbacks.checkpointed import GradientCheckpointing
from kdmm.callbacks.checkpoints import Checkpoints
from kdmm.callbacks.compiled import Compiled
from kdmm.callbacks.history import History
from kdmm.callbacks.metrics_csv import MetricsCsv
from kdmm.callbacks.mix import Mix
from kdmm.callbacks.progress import PlainProgress, progress
from kdmm.callbacks.retrieved import RetrievedExamples
from kdmm.callbacks.skipped import SkippedSamples
from kdmm.callbacks.step_seed import StepSeed
from kdmm.callbacks.wandb_logger import Wandb

__all__ = [
    "Checkpoints",
    "Compiled",
    "GradientCheckpointing",
    "History",
    "MetricsCsv",
    "Mix",
    "PlainProgress",
    "RetrievedExamples",
    "SkippedSamples",
    "StepSeed",
    "Wandb",
    "progress",
]
