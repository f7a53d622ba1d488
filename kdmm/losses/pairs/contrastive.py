"""Contrastive learning of pairs: CLIP's softmax form and SigLIP's sigmoid form, aware of duplicate captions."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kdmm.distributed import gather, global_mean, row_counts, rows_here
from kdmm.losses.pairs.affinities import two_way_affinities
from kdmm.losses.pairs.tiled import checked_tile, every_label, positive_means, tiled_softplus, two_way_logsumexp
from kdmm.losses.precision import full_precision
from kdmm.losses.term import Term, all_true, bias_of, both_present, checked_choice, checked_pair, named_pair, scale_of
from kdmm.outputs import Batch, Outputs, read

__all__ = [
    "Contrastive",
    "Duplicates",
    "caption_labels",
    "negative_log_likelihood",
    "pairs_alone",
    "positives",
    "sigmoid_contrast",
    "softmax_contrast",
]

Duplicates = Literal["positive", "negative"]
Form = Literal["softmax", "sigmoid"]


@full_precision
def softmax_contrast(
    first: Float[Tensor, "B D"],
    second: Float[Tensor, "B D"],
    scale: Float[Tensor, ""] | float,
    labels: Int[Tensor, "B"] | None = None,
    valid: Bool[Tensor, "B"] | None = None,
    tile: int | None = None,
) -> Float[Tensor, ""]:
    """InfoNCE in both directions, in nats, the mean over the valid pairs of all ranks.

    With z_ij = scale * <first_i, second_j> and P(i) the samples that share i's label (i among them)::

        loss = 1/2 (forth + back)      forth = mean_i  -1/|P(i)| sum_{j in P(i)} log softmax_j(z_i.)

    and ``back`` the same on z transposed. This is the cross entropy to a target uniform over the positives. Without
    duplicates it is CLIP's loss (Radford et al. 2021, arXiv:2103.00020) and equals ``open_clip.loss.ClipLoss``; with
    them it is the form of UniCL (Yang et al. 2022, arXiv:2204.03610) and SupCon's L_out (Khosla et al. 2020,
    arXiv:2004.11362), whose least value is the mean of log |P(i)|, not 0. Unlike SupCon the pair itself is a positive.

    Args:
        first: unit vectors of one modality.
        second: unit vectors of the other; row i belongs to row i of ``first``.
        scale: multiplies the cosines (exponentiated).
        labels: equal for samples whose pairs are interchangeable. None: each sample is its only positive.
        valid: which rows are pairs. The others are neither positives nor negatives. None: all.
        tile: rows and columns of the matrix that are held at a time. None: all.

    Returns:
        This rank's share of the loss; 0 where no rank has a pair.
    """
    first, second, labels = pairs_alone(first, second, labels, valid)
    counts, every = row_counts(first), all_true(first)
    if tile is None:
        positive = positives(labels, counts, first.device)
        affinities = two_way_affinities(first, second, scale, counts, counts)
        forth, back = (negative_log_likelihood(logits, positive) for logits in affinities)
    else:
        firsts, seconds = gather(first, counts=counts), gather(second, counts=counts)
        forth, back = two_way_logsumexp(first, second, firsts, seconds, scale, tile)
        forth = forth - scale * (first * positive_means(seconds, labels, counts)).sum(1)
        back = back - scale * (second * positive_means(firsts, labels, counts)).sum(1)
    return (global_mean(forth, every) + global_mean(back, every)) / 2


@full_precision
def sigmoid_contrast(
    first: Float[Tensor, "B D"],
    second: Float[Tensor, "B D"],
    scale: Float[Tensor, ""] | float,
    bias: Float[Tensor, ""] | float,
    labels: Int[Tensor, "B"] | None = None,
    valid: Bool[Tensor, "B"] | None = None,
    tile: int | None = None,
) -> Float[Tensor, ""]:
    """Binary cross entropy of every pair of rows, in nats, summed over columns, the mean over the valid pairs.

    With z_ij = scale * <first_i, second_j> + bias and y_ij = 1 where i and j share a label, else -1::

        loss = mean_i  sum_j  -log sigmoid(y_ij z_ij)

    SigLIP (Zhai et al. 2023, arXiv:2303.15343); equals ``open_clip.loss.SigLipLoss`` where no label occurs twice. We
    differ in duplicates: they are positives.

    Args:
        first: unit vectors of one modality.
        second: unit vectors of the other; row i belongs to row i of ``first``.
        scale: multiplies the cosines (exponentiated).
        bias: added to every logit, about -10 at the start of training.
        labels: as in `softmax_contrast`.
        valid: as in `softmax_contrast`.
        tile: as in `softmax_contrast`.

    Returns:
        This rank's share of the loss; 0 where no rank has a pair.
    """
    first, second, labels = pairs_alone(first, second, labels, valid)
    counts = row_counts(first)
    if tile is None:
        positive = positives(labels, counts, first.device)
        logits = (scale * first) @ gather(second, counts=counts).T
        logits += bias
        sums = F.softplus(torch.where(positive, -logits, logits)).sum(1)
    else:
        every = every_label(labels, counts, first.device)
        sums = tiled_softplus(first, gather(second, counts=counts), scale, bias, every[rows_here(counts)], every, tile)
    return global_mean(sums, all_true(first))


def pairs_alone(
    first: Float[Tensor, "B D"],
    second: Float[Tensor, "B D"],
    labels: Int[Tensor, "B"] | None,
    valid: Bool[Tensor, "B"] | None,
) -> tuple[Float[Tensor, "P D"], Float[Tensor, "P D"], Int[Tensor, "P"] | None]:
    """Return the rows that are pairs, so that a batch with much unpaired data costs no more than its pairs."""
    if valid is None:
        return first, second, labels
    return first[valid], second[valid], None if labels is None else labels[valid]


def positives(labels: Int[Tensor, "B"] | None, counts: tuple[int, ...], device: torch.device) -> Bool[Tensor, "B N"]:
    """Return which samples of all ranks share the label of each sample here; only itself without labels."""
    everyone = every_label(labels, counts, device)
    return everyone[rows_here(counts), None] == everyone


def negative_log_likelihood(logits: Float[Tensor, "B N"], positive: Bool[Tensor, "B N"]) -> Float[Tensor, "B"]:
    """Return the mean of -log softmax over each row's positives; each has one at least, its own."""
    chosen = torch.where(positive, logits, 0.0).sum(1) / positive.sum(1)
    return logits.logsumexp(1) - chosen


def caption_labels(batch: Batch, duplicates: Duplicates) -> Int[Tensor, "B"] | None:
    """Return ``batch["caption_id"]`` where duplicates count as positives and the batch has it."""
    return batch.get("caption_id") if duplicates == "positive" else None


class Contrastive(Term):
    """The hard loss on pairs: `softmax_contrast` (CLIP) or `sigmoid_contrast` (SigLIP). The teacher is not read.

    A sample counts where it has both modalities. The student's ``logit_scale`` multiplies its cosines, and
    ``logit_bias`` is added in the sigmoid form; a softmax does not depend on a bias.

    Args:
        pair: the two modalities, such as ``[image, text]``.
        form: ``softmax`` or ``sigmoid``.
        duplicates: what samples with the same caption are to each other, in the batches of all ranks: ``positive`` (by
            ``batch["caption_id"]``; without it only the pair itself is), or ``negative``, as in open_clip.
        tile: rows and columns of the matrix of all pairs that are held at a time, such as 1024, for batches whose
            matrix does not fit: the memory then grows with the batch and not with its square, for one more product of
            matrices. None: the whole matrix. Both give the same but for rounding, and a tiled loss has no second
            derivative; so which it is is said here, and does not depend on the size of a batch.
    """

    paper = "Radford et al. 2021, arXiv:2103.00020; Zhai et al. 2023, arXiv:2303.15343"

    def __init__(
        self,
        pair: Sequence[str],
        form: Form = "softmax",
        duplicates: Duplicates = "positive",
        tile: int | None = None,
    ) -> None:
        super().__init__()
        self.pair = checked_pair("Contrastive", pair)
        self.form = checked_choice("Contrastive: form", form, get_args(Form))
        self.duplicates = duplicates
        checked_choice("Contrastive: duplicates", duplicates, get_args(Duplicates))
        self.tile = checked_tile("Contrastive: tile", tile)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Float[Tensor, ""]:
        """Return the loss of the student's pairs."""
        one, other = self.pair
        first, second = read(student, one, "student"), read(student, other, "student")
        scale, labels = scale_of(student, None, "student", self.pair), caption_labels(batch, self.duplicates)
        valid = both_present(student, one, student, other)
        if self.form == "sigmoid":
            bias = bias_of(student, "student", self.pair)
            return sigmoid_contrast(first, second, scale, bias, labels, valid, self.tile)
        return softmax_contrast(first, second, scale, labels, valid, self.tile)

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the pair and the student's scale, and its bias in the sigmoid form."""
        bias = {"logit_bias"} if arguments.get("form") == "sigmoid" else set()
        return named_pair(arguments) | {"logit_scale"} | bias, frozenset()
