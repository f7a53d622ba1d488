"""LightningModules for the teacher, the student and the distillation step."""

from kdmm.modules.alone import StudentModule, TeacherModule
from kdmm.modules.base import TrainingModule
from kdmm.modules.distillation import DistillationModule
from kdmm.modules.mutual import MutualModule
from kdmm.modules.optim import Optimization, WarmupCosine, parameter_groups
from kdmm.modules.sam import SAM

__all__ = [
    "SAM",
    "DistillationModule",
    "MutualModule",
    "Optimization",
    "StudentModule",
    "TeacherModule",
    "TrainingModule",
    "WarmupCosine",
    "parameter_groups",
]
