"""A student's features must tell the teacher's features of the same sample from those of many others."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from kdmm.distributed import all_reduce_sum, gather, row_counts, rows_here
from kdmm.errors import InputError, nearest
from kdmm.losses.adapters import linear
from kdmm.losses.relations.bank import EMPTY, Bank
from kdmm.losses.relations.finite import unit
from kdmm.losses.relations.noise_contrast import critic_scores, log_mean_ratio, noise_contrast
from kdmm.losses.relations.relation import flat_rows
from kdmm.losses.term import SampleTerm, checked_number, named
from kdmm.outputs import Batch, Outputs, scatter_present
from kdmm.views import stable_hash

__all__ = ["CRD"]


class CRD(SampleTerm):
    """Sum of `noise_contrast` of the student's features among the teacher's, and the other way round.

    Contrastive representation distillation (Tian et al. 2020, arXiv:1910.10699): both models' features are mapped
    linearly to unit vectors, whose maps are trained, and compared with those of other samples of the batch and of a
    bank of samples seen before. Not to be confused with CLIP-KD's CRD, which is `Affinity`.

    We differ from the paper and its code:

    - The bank is a queue of the newest embeddings of the last ``bank`` samples, known by ``batch["id"]``, where theirs
      has an entry for every sample of the data set, averaged over epochs: data may be a stream. Where it is as
      large as the data set it has an entry for every sample too.
    - All samples that it holds are negatives, where theirs draws some of them at random; so there is no random state,
      and a run resumes exactly: bank, constants and maps are in the checkpoint. It is filled in training only.
    - The partner and the negatives of the batch are those of this step, and get a gradient, where theirs come from the
      bank, one epoch old.
    - The constants that scale r, one a direction, are the mean over negatives in the first batch; their code's mean
      contains partners.

    Args:
        student: what the student's side is called, such as ``image`` or a tap; flattened to one vector a sample.
        teacher: what the teacher's side is called.
        width: of the vectors that are compared.
        bank: how many samples are kept as negatives; 16384 take 16 MiB at the width 128.
        temperature: divides the cosines.
        label: a name in the batch, (B,) with -1 for none: samples of one label are no negatives of each other. None:
            all other samples are.
    """

    paper = "Tian et al. 2020, arXiv:1910.10699"

    log_means: Tensor
    has_begun: Tensor

    def __init__(
        self,
        student: str,
        teacher: str,
        width: int = 128,
        bank: int = 16384,
        temperature: float | int = 0.07,
        label: str | None = None,
    ) -> None:
        super().__init__()
        self.student_name = student
        self.teacher_name = teacher
        self.width = int(checked_number("CRD: width", width, least=1.0))
        self.temperature = checked_number("CRD: temperature", temperature, above=0.0)
        self.label = label
        self.bank = Bank(int(checked_number("CRD: bank", bank, least=1.0)), self.width)
        self.student_map: nn.Linear | None = None
        self.teacher_map: nn.Linear | None = None
        self.register_buffer("log_means", torch.zeros(2))
        self.register_buffer("has_begun", torch.tensor(False))

    def build(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Make the maps to the width that is compared."""
        ours, theirs, _ = flat_rows(student, self.student_name, teacher, self.teacher_name)
        self.student_map = nn.Linear(ours.shape[1], self.width)
        self.teacher_map = nn.Linear(theirs.shape[1], self.width)
        self.to(ours.device)

    def per_sample(
        self, student: Outputs, teacher: Outputs, batch: Batch
    ) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
        """Return the contrast of each sample in both directions; in training, remember the samples."""
        ours, theirs, there = flat_rows(student, self.student_name, teacher, self.teacher_name)
        ours, theirs = _mapped(ours, self.student_map), _mapped(theirs.detach(), self.teacher_map)
        counts = row_counts(ours)
        keys = gather(self._keys(batch, there.device)[there], False, counts)
        labels = gather(self._labels(batch, there)[there], False, counts)
        negative = self._negatives(keys, labels, counts)
        # copies: the bank changes before the backward pass
        scores = [
            critic_scores(ours, theirs, self.bank.teacher.clone(), self.temperature, counts),
            critic_scores(theirs, ours, self.bank.student.clone(), self.temperature, counts),
        ]
        means = self.log_means if self.has_begun else self._first_means(scores, negative)
        values = [noise_contrast(each, negative, mean, counts) for each, mean in zip(scores, means, strict=True)]
        if self.training:
            self.bank.push(gather(ours, False, counts), gather(theirs, False, counts), keys, labels)
        return scatter_present(torch.stack(values).sum(0), there), there

    def _keys(self, batch: Batch, device: torch.device) -> Int[Tensor, "B"]:
        """Return a number for each sample, the same on all ranks and in all epochs."""
        if "id" not in batch:
            raise InputError(
                "CRD knows a sample again by batch['id'], but the batch holds only "
                f"{', '.join(sorted(batch)) or 'nothing'}. Let the data give each sample an id.{nearest('id', batch)}"
            )
        ids = batch["id"].tolist() if isinstance(batch["id"], Tensor) else batch["id"]
        return torch.tensor([stable_hash(each) for each in ids], dtype=torch.int64, device=device)

    def _labels(self, batch: Batch, there: Bool[Tensor, "B"]) -> Int[Tensor, "B"]:
        if self.label is None:
            return torch.full(there.shape, EMPTY, device=there.device)
        if self.label not in batch:
            raise InputError(
                f"CRD: label is {self.label!r}, but the batch holds only {', '.join(sorted(batch))}. Name one of them, "
                "or null for none." + nearest(self.label, batch)
            )
        labels: Tensor = batch[self.label]
        return labels

    def _negatives(self, keys: Int[Tensor, "N"], labels: Int[Tensor, "N"], counts: tuple[int, ...]) -> Tensor:
        """Return which of the samples of all ranks, and of the bank, are negatives of each sample here: (B, N + K)."""
        # What the bank holds of a sample of this batch is older than the batch's own: a sample counts once.
        held = torch.where(torch.isin(self.bank.keys, keys), EMPTY, self.bank.keys)
        here = rows_here(counts)
        all_keys, all_labels = torch.cat([keys, held]), torch.cat([labels, self.bank.labels])
        alike = (labels[here, None] == all_labels) & (all_labels != EMPTY)
        return (keys[here, None] != all_keys) & (all_keys != EMPTY) & ~alike

    @torch.no_grad()
    def _first_means(self, scores: list[Tensor], negative: Bool[Tensor, "B M"]) -> Float[Tensor, "2"]:
        """Return the constants from this batch, and in training keep those of the first batch that has negatives."""
        means = torch.stack([log_mean_ratio(each, negative) for each in scores])
        if self.training:
            self.log_means.copy_(means)
            self.has_begun.copy_(all_reduce_sum(negative.sum()) > 0)
        return means

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the two names given."""
        return named(arguments.get("student")), named(arguments.get("teacher"))


def _mapped(features: Float[Tensor, "P D"], layer: nn.Linear | None) -> Float[Tensor, "P E"]:
    if layer is None:
        raise InputError(
            "CRD: its layers are not made. Show the objective one batch before training: "
            "`objective.build(student_outputs, teacher_outputs, batch)`; kdmm's own training does it by itself."
        )
    return unit(linear(features, layer.weight, layer.bias))
