"""Teachers: running beside the student, having answered beforehand, several as one, or the student's own past."""

from kdmm.teachers.answers import Answers
from kdmm.teachers.cached import Cached, Hybrid, StoredTeacher
from kdmm.teachers.ensemble import Ensemble
from kdmm.teachers.learned import LearnedWeights
from kdmm.teachers.moving_average import MovingAverage
from kdmm.teachers.over_frames import SeenOverFrames
from kdmm.teachers.precomputed import Precomputed
from kdmm.teachers.teacher import Absent, FromRun, Frozen, Teacher, model_file
from kdmm.teachers.view_source import ViewSource

__all__ = [
    "Absent",
    "Answers",
    "Cached",
    "Ensemble",
    "FromRun",
    "Frozen",
    "Hybrid",
    "LearnedWeights",
    "MovingAverage",
    "Precomputed",
    "SeenOverFrames",
    "StoredTeacher",
    "Teacher",
    "ViewSource",
    "model_file",
]
