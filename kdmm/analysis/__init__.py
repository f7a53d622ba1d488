"""What is made of finished runs and models: reports, intervals, speed and arithmetic cost."""

from kdmm.analysis.against import against, differences
from kdmm.analysis.compute import forward_flops, training_flops
from kdmm.analysis.floors import accuracy_floor, retrieval_floor
from kdmm.analysis.intervals import Interval, mean_interval, paired_difference
from kdmm.analysis.probe import knn_probe, linear_probe
from kdmm.analysis.record import DataRecord, ParameterCount, RunRecord
from kdmm.analysis.report import Report
from kdmm.analysis.throughput import Speeds, Throughput, samples_per_second

__all__ = [
    "DataRecord",
    "Interval",
    "ParameterCount",
    "Report",
    "RunRecord",
    "Speeds",
    "Throughput",
    "accuracy_floor",
    "against",
    "differences",
    "forward_flops",
    "knn_probe",
    "linear_probe",
    "mean_interval",
    "paired_difference",
    "retrieval_floor",
    "samples_per_second",
    "training_flops",
]
