"""The student's chance that two samples belong together follows the teacher's, pair by pair."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kdmm.distributed import all_reduce_sum, gather, row_counts
from kdmm.losses.pairs.contrastive import Duplicates, caption_labels, positives
from kdmm.losses.pairs.fitted_bias import fitted_bias
from kdmm.losses.precision import full_precision
from kdmm.losses.term import (
    SampleTerm,
    bias_of,
    both_present,
    checked_choice,
    checked_pair,
    checked_temperature,
    named_pair,
    scale_of,
)
from kdmm.outputs import Batch, Outputs, read, scatter_present

__all__ = ["SigmoidDistillation", "bernoulli_divergence", "sigmoid_divergence"]

Bias = Literal["own", "fitted"]


@full_precision
def sigmoid_divergence(
    student_first: Float[Tensor, "B D"],
    student_second: Float[Tensor, "B D"],
    teacher_first: Float[Tensor, "B E"],
    teacher_second: Float[Tensor, "B E"],
    student_scale: Float[Tensor, ""] | float,
    teacher_scale: Float[Tensor, ""] | float,
    student_bias: Float[Tensor, ""] | float | None = None,
    teacher_bias: Float[Tensor, ""] | float | None = None,
    labels: Int[Tensor, "B"] | None = None,
) -> Float[Tensor, "B"]:
    """KL(teacher || student) of every pair of rows, in nats, summed over columns.

    With z_ij = student_scale * <student_first_i, student_second_j> + student_bias over the N pairs of all ranks, w the
    same of the teacher, and p = sigmoid(w)::

        value_i = sum_j  p_ij log(p_ij / sigmoid(z_ij)) + (1 - p_ij) log((1 - p_ij) / (1 - sigmoid(z_ij)))

    This is the binary cross entropy to the teacher's chances less their entropy: 0 where the student agrees, with the
    gradient sigmoid(z) - p to z. The sum over columns is that of `sigmoid_contrast`.

    Args:
        student_first: unit vectors of one modality.
        student_second: unit vectors of the other; row i belongs to row i of ``student_first``.
        teacher_first: the teacher's, of the same samples; the teacher gets no gradient.
        teacher_second: the teacher's, of the same samples.
        student_scale: multiplies the student's cosines (exponentiated).
        teacher_scale: multiplies the teacher's.
        student_bias: added to the student's. None: `fitted_bias` to the teacher's chances, the one of least divergence;
            so its derivative is 0, and the gradient needs none of it.
        teacher_bias: added to the teacher's. None: `fitted_bias` to the number of positive pairs.
        labels: equal for samples whose pairs are interchangeable, which then count as positive. None: each sample is
            its only positive. Used where ``teacher_bias`` is None.

    Returns:
        The value of each pair here.
    """
    counts = row_counts(student_first)
    with torch.no_grad():
        theirs = (teacher_scale * teacher_first) @ gather(teacher_second, False, counts).T
        if teacher_bias is None:
            known = positives(labels, counts, theirs.device).sum()
            teacher_bias = fitted_bias(theirs, all_reduce_sum(known).to(theirs.dtype))
        theirs = theirs + teacher_bias
    ours = (student_scale * student_first) @ gather(student_second, counts=counts).T
    if student_bias is None:
        student_bias = fitted_bias(ours, all_reduce_sum(theirs.sigmoid().sum()))
    return bernoulli_divergence(ours + student_bias, theirs).sum(1)


def bernoulli_divergence(student: Float[Tensor, "*B"], teacher: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """Return KL(sigmoid(teacher) || sigmoid(student)) of each logit, in nats; exactly 0 where they are equal.

    Args:
        student: logits of one yes or no each.
        teacher: the teacher's; they get no gradient.
    """
    teacher = teacher.detach()
    # p (w - z) + softplus(z) - softplus(w), each rewritten around the smaller of p and 1 - p: large logits cancel
    sure = teacher > 0
    gap = torch.where(sure, student - teacher, teacher - student)
    rare = torch.where(sure, -teacher, teacher).sigmoid()
    ours, theirs = (F.softplus(torch.where(sure, -x, x)) for x in (student, teacher))
    return rare * gap + ours - theirs


class SigmoidDistillation(SampleTerm):
    """Mean of `sigmoid_divergence` over the pairs that both models have.

    Distillation for models trained with SigLIP's loss (Zhai et al. 2023, arXiv:2303.15343), whose logit says how likely
    two samples belong together, whatever else is in the batch. The target is the teacher's sigmoid, under binary cross
    entropy less its entropy. The paper trains without a teacher; this is its loss with soft targets.

    A model trained with a softmax knows no such chance: its loss does not change when a constant is added to its
    logits. But both losses are least where the logits are the log-likelihood ratio of the pair plus a constant, so a
    bias is all that it lacks. ``fitted`` takes the one that gives the batch as many positive pairs as it has (of the
    teacher), or as the teacher sees in it (of the student):

    - both trained with a sigmoid: ``own`` and ``own``, which also teaches the bias.
    - a softmax-trained teacher: ``teacher_bias: fitted``. Its softmax over a row would do as a target neither for
      columns nor for rows with several positives.
    - a softmax-trained student of a sigmoid-trained teacher: ``student_bias: fitted``. `Affinity`, which depends on
      neither bias, is the alternative.
    - a teacher whose temperature is set: ``teacher_bias: fitted``; its own bias was learned beside its own scale.

    Args:
        pair: the two modalities, such as ``[image, text]``.
        student_bias: ``own``: the student's ``logit_bias``; or ``fitted``.
        teacher_bias: ``own``: the teacher's ``logit_bias``; or ``fitted``.
        teacher_temperature: divides the teacher's cosines. None: the teacher's ``logit_scale``.
        student_temperature: divides the student's. None: the student's own learned ``logit_scale``.
        duplicates: whether samples with equal captions count as positive pairs when the teacher's bias is fitted; as in
            `Contrastive`.
    """

    paper = "Zhai et al. 2023, arXiv:2303.15343"

    def __init__(
        self,
        pair: Sequence[str],
        student_bias: Bias = "own",
        teacher_bias: Bias = "own",
        teacher_temperature: float | int | None = None,
        student_temperature: float | int | None = None,
        duplicates: Duplicates = "positive",
    ) -> None:
        super().__init__()
        self.pair = checked_pair("SigmoidDistillation", pair)
        self.student_bias = checked_choice("SigmoidDistillation: student_bias", student_bias, get_args(Bias))
        self.teacher_bias = checked_choice("SigmoidDistillation: teacher_bias", teacher_bias, get_args(Bias))
        self.teacher_temperature = checked_temperature("SigmoidDistillation: teacher_temperature", teacher_temperature)
        self.student_temperature = checked_temperature("SigmoidDistillation: student_temperature", student_temperature)
        checked_choice("SigmoidDistillation: duplicates", duplicates, get_args(Duplicates))
        self.duplicates: Duplicates = duplicates

    def per_sample(
        self, student: Outputs, teacher: Outputs, batch: Batch
    ) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
        """Return the divergence of each pair's chances with all partners."""
        first, second = self.pair
        valid = both_present(student, first, teacher, first) & both_present(student, second, teacher, second)
        labels = caption_labels(batch, self.duplicates)
        values = sigmoid_divergence(
            read(student, first, "student")[valid],
            read(student, second, "student")[valid],
            read(teacher, first, "teacher")[valid],
            read(teacher, second, "teacher")[valid],
            scale_of(student, self.student_temperature, "student", self.pair),
            scale_of(teacher, self.teacher_temperature, "teacher", self.pair),
            bias_of(student, "student", self.pair) if self.student_bias == "own" else None,
            bias_of(teacher, "teacher", self.pair) if self.teacher_bias == "own" else None,
            None if labels is None else labels[valid],
        )
        return scatter_present(values, valid), valid

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the pair of both models, their scales unless set, and their own biases."""
        return _named(arguments, "student"), _named(arguments, "teacher")


def _named(arguments: Mapping[str, Any], whose: str) -> frozenset[str]:
    names = set(named_pair(arguments))
    if arguments.get(f"{whose}_temperature") is None:
        names.add("logit_scale")
    if arguments.get(f"{whose}_bias", "own") == "own":
        names.add("logit_bias")
    return frozenset(names)
