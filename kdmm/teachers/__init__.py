"""Teachers: running beside the student, having answered beforehand, several as one, or the student's own past."""

from kdmm.teachers.answers import Answers, ViewSource
from kdmm.teachers.ensemble import Ensemble
from kdmm.teachers.learned import LearnedWeights
from kdmm.teachers.moving_average import MovingAverage
from kdmm.teachers.precomputed import Precomputed
from kdmm.teachers.teacher import Absent, FromRun, Frozen, Teacher, model_file

__all__ = [
    "Absent",
    "Answers",
    "Ensemble",
    "FromRun",
    "Frozen",
    "LearnedWeights",
    "MovingAverage",
    "Precomputed",
    "Teacher",
    "ViewSource",
    "model_file",
]
