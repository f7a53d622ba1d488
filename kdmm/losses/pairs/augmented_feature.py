"""The student completes the teacher: their features, fused, are contrasted between the modalities."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.losses.adapters import linear
from kdmm.losses.pairs.contrastive import Duplicates, caption_labels, softmax_contrast
from kdmm.losses.precision import full_precision
from kdmm.losses.term import Term, both_present, checked_choice, checked_pair, checked_temperature, named_pair
from kdmm.outputs import Batch, Outputs, read

__all__ = ["AugmentedFeature"]

MOST_SCALE = 100.0  # CLIP's own limit (Radford et al. 2021, arXiv:2103.00020)


class AugmentedFeature(Term):
    """`softmax_contrast` of fused embeddings, normalize(W [student; teacher] + b), each modality with its own W and b.

    Augmented feature distillation (AFD) of CLIP-KD (Yang et al. 2024, arXiv:2307.12732). Fused embeddings are as wide
    as the student's. We differ in the scale, which is exponentiated, and at most 100 (in their code a parameter that
    starts at log(1/0.07) and is not exponentiated), and in duplicate captions, which are positives.

    The fused embeddings hold the teacher's, so the value is low without the student's help; what it asks of the
    student is what the teacher lacks.

    Args:
        pair: the two modalities, such as ``[image, text]``.
        temperature: divides the cosines of fused embeddings. None: learned, a parameter of the term, from 0.07 on.
        duplicates: as in `Contrastive`.
    """

    paper = "Yang et al. 2024, arXiv:2307.12732"

    def __init__(
        self, pair: Sequence[str], temperature: float | int | None = None, duplicates: Duplicates = "positive"
    ) -> None:
        super().__init__()
        self.pair = checked_pair("AugmentedFeature", pair)
        self.temperature = checked_temperature("AugmentedFeature: temperature", temperature)
        checked_choice("AugmentedFeature: duplicates", duplicates, get_args(Duplicates))
        self.duplicates: Duplicates = duplicates
        self.first_fusion: nn.Linear | None = None
        self.second_fusion: nn.Linear | None = None
        if temperature is None:
            self.log_scale = nn.Parameter(torch.tensor(1 / 0.07).log())

    def build(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Make the fusion layers."""
        self.first_fusion, self.second_fusion = (_layer(student, teacher, name) for name in self.pair)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Float[Tensor, ""]:
        """Return the contrast of the fused pairs."""
        first, second = self.pair
        valid = both_present(student, first, teacher, first) & both_present(student, second, teacher, second)
        labels = caption_labels(batch, self.duplicates)
        scale = self.log_scale.exp().clamp(max=MOST_SCALE) if self.temperature is None else 1 / self.temperature
        return softmax_contrast(
            _fused(student, teacher, first, valid, self.first_fusion),
            _fused(student, teacher, second, valid, self.second_fusion),
            scale,
            None if labels is None else labels[valid],
        )

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the pair of both models."""
        return named_pair(arguments), named_pair(arguments)


def _layer(student: Outputs, teacher: Outputs, name: str) -> nn.Linear:
    ours, theirs = read(student, name, "student"), read(teacher, name, "teacher")
    if ours.ndim != 2 or theirs.ndim != 2:
        raise InputError(
            f"AugmentedFeature: student.{name} has the shape {tuple(ours.shape)} and teacher.{name} "
            f"{tuple(theirs.shape)}, and one vector a sample is fused. Name embeddings."
        )
    return nn.Linear(ours.shape[1] + theirs.shape[1], ours.shape[1], device=ours.device)


@full_precision  # under autocast torch.cat refuses float16 on a CPU
def _beside(student: Float[Tensor, "P D"], teacher: Float[Tensor, "P E"]) -> Float[Tensor, "P F"]:
    return torch.cat([student, teacher.detach()], 1)


def _fused(
    student: Outputs, teacher: Outputs, name: str, valid: Bool[Tensor, "B"], layer: nn.Linear | None
) -> Float[Tensor, "P D"]:
    if layer is None:
        raise InputError(
            "AugmentedFeature: its layers are not made. Show the objective one batch before training: "
            "`objective.build(student_outputs, teacher_outputs, batch)`; kdmm's own training does it by itself."
        )
    both = _beside(read(student, name, "student")[valid], read(teacher, name, "teacher")[valid])
    return F.normalize(linear(both, layer.weight, layer.bias), dim=1)
