"""Samples weighted by how sure the teacher is of them."""

import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kdmm.distributed import all_reduce_sum, world_size
from kdmm.losses.logits.classes import UNLABELLED, read_label, read_scores
from kdmm.losses.precision import full_precision
from kdmm.losses.term import SampleTerm, Term, checked_choice, checked_number, named
from kdmm.outputs import Batch, Outputs, present, scatter_present
from kdmm.targets.allow import TargetError, resolve
from kdmm.targets.described import node
from kdmm.targets.signature import parameters_of
from kdmm.targets.tree import arguments_of

__all__ = ["Confident", "confidence", "weighted_mean"]

By = Literal["entropy", "label"]


@full_precision
def confidence(
    logits: Float[Tensor, "B C"], labels: Int[Tensor, "B"] | None = None, temperature: float = 1.0
) -> Float[Tensor, "B"]:
    """Return how sure a classifier is of each sample, in [0, 1].

    With p = softmax(logits / temperature)::

        without labels:    1 - H(p) / log C      H(p) = -Σ_c p_c log p_c
        with labels y:     p_y

    Args:
        logits: of C >= 2 classes; there is no gradient to them.
        labels: the true classes, or None.
        temperature: divides the logits.
    """
    p: Tensor = (logits.detach() / temperature).softmax(1)
    if labels is not None:
        return p.gather(1, labels[:, None]).squeeze(1)
    entropy: Tensor = torch.special.entr(p).sum(1)
    sure = 1 - entropy / math.log(p.shape[1])
    return torch.where(sure > 16 * torch.finfo(p.dtype).eps, sure, 0.0)  # less is rounding, 0 of a uniform p


@full_precision
def weighted_mean(
    values: Float[Tensor, "B"], weights: Float[Tensor, "B"], mask: Bool[Tensor, "B"]
) -> Float[Tensor, ""]:
    """Return this rank's share of ``Σ w v / Σ w`` where the mask is true, over the rows of all ranks.

    It is 0, still with a gradient function, where the weights sum to 0.

    Args:
        values: v, finite everywhere.
        weights: w, 0 or more, finite everywhere.
        mask: which rows count.
    """
    weights = torch.where(mask, weights.detach(), 0.0)
    total = all_reduce_sum(weights.sum())
    return (weights * values).sum() * world_size() / torch.where(total > 0, total, 1.0)


class Confident(Term):
    """Another term, its mean over samples weighted by the teacher's `confidence` in each.

    After CA-MKD (Zhang et al. 2022, arXiv:2201.00007): a teacher that is wrong about a sample should teach less by it.
    The value is ``Σ w v / Σ w`` over the samples of all ranks that count for the term and have a confidence, where v
    are the term's values of the samples; so its weight in the objective means what it means for the term alone.

    We differ from the paper, which has several teachers and divides a sample's weight among them by a softmax of their
    cross entropies on its label: with one teacher that is always 1, and w is its probability of the label,
    exp(-cross entropy), instead, and is divided among samples. ``entropy`` needs no labels; entropies as weights are
    what the paper compares itself with.

    Args:
        term: a term that is a mean over samples.
        by: ``entropy``: w = 1 - H / log C; ``label``: w is the probability of the true class, and samples without a
            label do not count.
        temperature: divides the teacher's logits.
        teacher: the name of the teacher's logits (B, C).
        label: the name of the labels in the batch, -1 where there is none.
    """

    paper = "Zhang et al. 2022, arXiv:2201.00007"

    def __init__(
        self,
        term: SampleTerm,
        by: By = "entropy",
        temperature: float | int = 1.0,
        teacher: str = "logits",
        label: str = "label",
    ) -> None:
        super().__init__()
        self.term = term
        self.by: By = checked_choice("Confident: by", by, get_args(By))  # type: ignore[assignment]
        self.temperature = checked_number("Confident: temperature", temperature, above=0.0)
        self.teacher_name = teacher
        self.label = label

    def build(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Build the term."""
        self.term.build(student, teacher, batch)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Float[Tensor, ""]:
        """Return the weighted mean."""
        values, counts = self.term.per_sample(student, teacher, batch)
        logits = read_scores("Confident", teacher, self.teacher_name, "teacher")
        counts = counts & present(teacher, self.teacher_name)
        labels = None
        if self.by == "label":
            labels = read_label("Confident", batch, self.label, logits)
            counts = counts & (labels != UNLABELLED)
            labels = labels[counts]
        sure = confidence(logits[counts], labels, self.temperature)
        return weighted_mean(values, scatter_present(sure, counts), counts)

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return what the term reads, and the teacher's logits."""
        student, teacher = _reads_of(arguments.get("term"))
        return student, teacher | named(arguments.get("teacher", "logits"))


def _reads_of(term: Any) -> tuple[frozenset[str], frozenset[str]]:
    """Return what a term, or that of a YAML's node, reads; nothing where it cannot be told."""
    nothing: frozenset[str] = frozenset()
    made = node(term)
    try:
        kind = resolve(made["_target_"]) if isinstance(made, dict) and "_target_" in made else None
    except TargetError:  # reported where the tree is checked; or in a package of the user's own
        return nothing, nothing
    if not (isinstance(kind, type) and issubclass(kind, Term)):
        return nothing, nothing
    defaults = {name: parameter.default for name, parameter in (parameters_of(kind) or {}).items()}
    return kind.reads({**defaults, **arguments_of(made)})
