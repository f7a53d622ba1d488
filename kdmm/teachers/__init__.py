"""Teachers: running beside the student, or having answered beforehand."""

from kdmm.teachers.answers import Answers, ViewSource
from kdmm.teachers.precomputed import Precomputed
from kdmm.teachers.teacher import FromRun, Frozen, Teacher, model_file

__all__ = ["Answers", "FromRun", "Frozen", "Precomputed", "Teacher", "ViewSource", "model_file"]
