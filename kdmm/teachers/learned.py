"""Weights of several teachers, learned with the student."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.losses import Term
from kdmm.losses.term import checked_number
from kdmm.outputs import Batch, Outputs
from kdmm.teachers.names import of_teacher

__all__ = ["LearnedWeights"]


class LearnedWeights(Term):
    """One term against each teacher of an :class:`Ensemble`, with weights that train with the student.

    ``Σ_k w_k L_k + spread * KL(w || uniform)``, where ``w = softmax(scores)``. For fixed losses the weights go to
    ``softmax(-L / spread)``: a teacher counts the more the better the student can follow it. Without the second part
    the easiest teacher would take all the weight. Of the KL to each teacher, the weighted sum has the same gradient for
    the student as the KL to the teachers' weighted mean of probabilities.

    The weights are a term's and not the ensemble's, because losses take what a teacher says as constant: nothing that
    belongs to a teacher could be trained.

    AMTML-KD learns a teacher's weights too, but for each sample, from a description of the teacher that it also learns.

    Args:
        term: the loss; each teacher has a copy of its own, since adapters depend on the teacher.
        teachers: the ensemble's names of those that count.
        spread: in the units of the loss; the larger, the closer the weights stay to equal ones.

    Raises:
        InputError: fewer than two teachers, or a spread that is negative.
    """

    paper = "Liu et al. 2021, arXiv:2103.04062"

    def __init__(self, term: Term, teachers: Sequence[str], spread: float | int = 1.0) -> None:
        super().__init__()
        if isinstance(teachers, str) or len(set(teachers)) != len(teachers) or len(teachers) < 2:
            raise InputError(f"LearnedWeights.teachers: {teachers!r} given. Give two or more different names.")
        self.spread = checked_number("LearnedWeights: spread", spread, least=0.0)
        self.terms = nn.ModuleDict({name: copy.deepcopy(term) for name in teachers})
        self.scores = nn.Parameter(torch.zeros(len(teachers)))

    def weights(self) -> dict[str, float]:
        """Return the weights as they are now, by teacher."""
        return dict(zip(self.terms.keys(), self.scores.softmax(0).tolist(), strict=True))

    def build(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Build the term of each teacher."""
        for name, term in self.terms.items():
            cast(Term, term).build(student, of_teacher(teacher, name), batch)
        self.to(next(iter(student.values())).device)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Float[Tensor, ""]:
        """Return the loss."""
        each = [term(student, of_teacher(teacher, name), batch) for name, term in self.terms.items()]
        log_weights = self.scores.log_softmax(0)
        weights = log_weights.exp()
        unequal = (weights * log_weights).sum() + torch.tensor(float(len(each))).log()
        return (weights * torch.stack(each)).sum() + self.spread * unequal

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return nothing: what the term inside reads is checked with the first batch."""
        return frozenset(), frozenset()
