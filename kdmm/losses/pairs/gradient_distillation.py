"""The contrastive loss pulls the student's embeddings where it would pull the teacher's."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kdmm.distributed import gather, row_counts
from kdmm.losses.adapters import Width
from kdmm.losses.pairs.affinities import two_way_affinities
from kdmm.losses.pairs.contrastive import Duplicates, caption_labels, positives
from kdmm.losses.precision import full_precision
from kdmm.losses.term import (
    SampleTerm,
    both_present,
    checked_choice,
    checked_pair,
    checked_temperature,
    named_pair,
    scale_of,
)
from kdmm.outputs import Batch, Outputs, read, scatter_present

__all__ = ["GradientDistillation", "contrast_gradients", "gradient_distance"]


@full_precision
def gradient_distance(
    student_first: Float[Tensor, "B D"],
    student_second: Float[Tensor, "B D"],
    teacher_first: Float[Tensor, "B D"],
    teacher_second: Float[Tensor, "B D"],
    student_scale: Float[Tensor, ""] | float,
    teacher_scale: Float[Tensor, ""] | float,
    labels: Int[Tensor, "B"] | None = None,
) -> Float[Tensor, "B"]:
    """Squared distance of each pair's `contrast_gradients` from the teacher's.

    ::

        value_i = |g_i - t_i|² + |h_i - u_i|²

    with g and h the gradients to the student's first and second embeddings, and t and u to the teacher's.

    Args:
        student_first: embeddings of one modality, scaled to unit length here (a projection may have changed it).
        student_second: of the other; row i belongs to row i of ``student_first``.
        teacher_first: the teacher's unit vectors, of the same samples; they get no gradient.
        teacher_second: the teacher's, of the same samples.
        student_scale: multiplies the student's cosines (exponentiated).
        teacher_scale: multiplies the teacher's.
        labels: equal for samples whose pairs are interchangeable. None: each sample is its only positive.

    Returns:
        The value of each pair here.
    """
    counts = row_counts(student_first)
    positive = positives(labels, counts, student_first.device)
    unit_first, unit_second = F.normalize(student_first, dim=1), F.normalize(student_second, dim=1)
    ours = contrast_gradients(unit_first, unit_second, student_scale, positive, counts)
    with torch.no_grad():
        theirs = contrast_gradients(teacher_first, teacher_second, teacher_scale, positive, counts)
    return (ours - theirs).square().sum((0, 2))


@full_precision
def contrast_gradients(
    first: Float[Tensor, "B D"],
    second: Float[Tensor, "B D"],
    scale: Float[Tensor, ""] | float,
    positive: Bool[Tensor, "B N"],
    counts: tuple[int, ...],
) -> Float[Tensor, "2 B D"]:
    """Gradients of N times the softmax contrast to both embeddings of each pair, in closed form.

    With z_ij = scale * <first_i, second_j> over the N pairs of all ranks, P its softmax over rows, Q over columns, and
    Y_ij = 1/|P(i)| where j is among the positives P(i) of i, else 0::

        G = (P + Q) / 2 - Y      gradients: scale * G second  and  scale * Gᵀ first

    These are of the sum of `softmax_contrast` over pairs, so their size does not depend on how many there are. Beside
    B x N matrices, as the contrast itself has, it takes no more than the embeddings do.

    Args:
        first: unit vectors of one modality.
        second: unit vectors of the other; row i belongs to row i of ``first``.
        scale: multiplies the cosines (exponentiated).
        positive: of `positives`: which samples of all ranks are positives of each here.
        counts: ``row_counts(first)``.

    Returns:
        The gradient to ``first``, and to ``second``, of the samples here.
    """
    forth, back = two_way_affinities(first, second, scale, counts, counts, torch.is_grad_enabled())
    target = positive.to(forth.dtype)
    target /= target.sum(1, keepdim=True)
    rows, columns = forth.logsumexp(1), back.logsumexp(1)
    gradients = [
        scale * (((z - own[:, None]).exp() + (z - gather(other, counts=counts)).exp()) / 2 - target) @ against
        for z, own, other, against in (
            (forth, rows, columns, gather(second, counts=counts)),
            (back, columns, rows, gather(first, counts=counts)),
        )
    ]
    return torch.stack(gradients)


class GradientDistillation(SampleTerm):
    """Mean of `gradient_distance` over the pairs that both models have.

    Gradient distillation (GD) of CLIP-KD (Yang et al. 2024, arXiv:2307.12732). Embeddings are compared in the teacher's
    width, to which the student's are mapped linearly where theirs differs. We differ from the paper and its code:

    - Gradients are of the sum over pairs, not of the mean, so values do not shrink with the square of the batch size;
      and distances are sums over elements, as in the paper, not means, as in the code. Its weight of 1e8, for 1024
      pairs of the width 512, is about 1 here.
    - The gradient to an embedding is that of both directions together, as in the paper; the code compares it to
      anchors and to candidates one by one, with B x B x D numbers in memory for the latter.
    - Duplicate captions are positives.
    - Temperatures are settings; by default each model's own scale.

    The gradient is that of the softmax form for any model, so a ``logit_bias`` changes nothing.

    Args:
        pair: the two modalities, such as ``[image, text]``.
        teacher_temperature: divides the teacher's cosines. None: the teacher's ``logit_scale``.
        student_temperature: divides the student's. None: the student's own learned ``logit_scale``.
        duplicates: as in `Contrastive`.
    """

    paper = "Yang et al. 2024, arXiv:2307.12732"

    def __init__(
        self,
        pair: Sequence[str],
        teacher_temperature: float | int | None = None,
        student_temperature: float | int | None = None,
        duplicates: Duplicates = "positive",
    ) -> None:
        super().__init__()
        self.pair = checked_pair("GradientDistillation", pair)
        self.teacher_temperature = checked_temperature("GradientDistillation: teacher_temperature", teacher_temperature)
        self.student_temperature = checked_temperature("GradientDistillation: student_temperature", student_temperature)
        checked_choice("GradientDistillation: duplicates", duplicates, get_args(Duplicates))
        self.duplicates: Duplicates = duplicates
        self.first_adapter = Width()
        self.second_adapter = Width()

    def build(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Make the adapters."""
        for name, adapter in zip(self.pair, (self.first_adapter, self.second_adapter), strict=True):
            adapter.build(read(student, name, "student"), read(teacher, name, "teacher"))

    def per_sample(
        self, student: Outputs, teacher: Outputs, batch: Batch
    ) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
        """Return the distance of each pair's gradients from the teacher's."""
        first, second = self.pair
        valid = both_present(student, first, teacher, first) & both_present(student, second, teacher, second)
        labels = caption_labels(batch, self.duplicates)
        their_first, their_second = read(teacher, first, "teacher")[valid], read(teacher, second, "teacher")[valid]
        values = gradient_distance(
            self.first_adapter(read(student, first, "student")[valid], their_first),
            self.second_adapter(read(student, second, "student")[valid], their_second),
            their_first,
            their_second,
            scale_of(student, self.student_temperature, "student", self.pair),
            scale_of(teacher, self.teacher_temperature, "teacher", self.pair),
            None if labels is None else labels[valid],
        )
        return scatter_present(values, valid), valid

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the pair of both models, and the scale of each whose temperature is not set."""
        pair, scale = named_pair(arguments), frozenset({"logit_scale"})
        student = pair | scale if arguments.get("student_temperature") is None else pair
        teacher = pair | scale if arguments.get("teacher_temperature") is None else pair
        return student, teacher
