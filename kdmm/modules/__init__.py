"""LightningModules for the teacher, the student and the distillation step."""

from kdmm.modules.alone import StudentModule, TeacherModule
from kdmm.modules.base import TrainingModule
from kdmm.modules.distillation import DistillationModule
from kdmm.modules.optim import Optimization, WarmupCosine, parameter_groups

__all__ = [
    "DistillationModule",
    "Optimization",
    "StudentModule",
    "TeacherModule",
    "TrainingModule",
    "WarmupCosine",
    "parameter_groups",
]
