"""Teachers: running beside the student, or answered beforehand."""

from kdmm.teachers.precomputed import Precomputed
from kdmm.teachers.teacher import FromRun, Frozen, Teacher, ViewSource, model_file

__all__ = ["FromRun", "Frozen", "Precomputed", "Teacher", "ViewSource", "model_file"]
