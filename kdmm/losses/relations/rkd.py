"""Distances between samples, and angles between three of them, follow the teacher's."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from kdmm.distributed import gather, row_counts, rows_here
from kdmm.errors import InputError
from kdmm.losses.precision import full_precision
from kdmm.losses.relations.finite import root
from kdmm.losses.relations.relation import Relation, itself
from kdmm.losses.term import checked_number

__all__ = ["RKD", "rkd_angle", "rkd_distance"]

CHUNK = 2**24  # cosines that are in memory together: 64 MiB in float32
NO_DIRECTION = 1e-3  # of the root mean square distance: closer samples have no direction to each other


@full_precision
def rkd_distance(student: Float[Tensor, "B D"], teacher: Float[Tensor, "B E"]) -> Float[Tensor, "B"]:
    """Mean Huber loss between each sample's relative distances to the others and the teacher's.

    Over the N samples of all ranks, with d_ij = |s_i - s_j|, m its mean over all pairs i != j, and e and n the
    teacher's::

        value_i = 1/(N - 1) sum_{j != i} huber(d_ij / m - e_ij / n)      huber(x) = x²/2 below 1, else |x| - 1/2

    Args:
        student: one vector a sample.
        teacher: the teacher's of the same samples; they get no gradient.

    Returns:
        The value of each sample here; 0 for one that has no other.
    """
    counts = row_counts(student)
    ours = _relative_distances(gather(student, True, counts), counts, True)
    theirs = _relative_distances(gather(teacher, False, counts), counts, False)
    return F.smooth_l1_loss(ours, theirs, reduction="none").sum(1) / max(sum(counts) - 1, 1)


@full_precision
def rkd_angle(student: Float[Tensor, "B D"], teacher: Float[Tensor, "B E"]) -> Float[Tensor, "B"]:
    """Mean Huber loss between the cosines of the angles at each sample and the teacher's.

    Over the N samples of all ranks, with c_jik the cosine of the angle at i between j and k, and a the teacher's::

        c_jik = <s_j - s_i, s_k - s_i> / (|s_j - s_i| |s_k - s_i|)
        value_i = 1/((N - 1)(N - 2)) sum_{j, k, i distinct} huber(c_jik - a_jik)

    This takes N² cosines a sample. They are expanded into inner products, so the time is O(B N²) whatever the width,
    and computed for so many samples at a time that 2^24 are in memory (or N² where that is more), and again in the
    backward pass. Beside them it holds the N x N inner products of both models.

    A sample closer to i than 1/1000 of the root mean square distance, such as a duplicate, has no direction from i, and
    its cosines count as 0: there float32 leaves them no certain digits, and their gradient grows with 1/distance.

    Args:
        student: one vector a sample.
        teacher: the teacher's of the same samples; they get no gradient.

    Returns:
        The value of each sample here; 0 with fewer than three samples.
    """
    counts = row_counts(student)
    ours, theirs = _sides(gather(student, True, counts)), _sides(gather(teacher, False, counts))
    here, total = rows_here(counts), sum(counts)
    step = max(CHUNK // max(total**2, 1), 1)
    parts = []
    for first in range(here.start, max(here.stop, here.start + 1), step):  # once for no rows too: backward exchanges
        corners = slice(first, min(first + step, here.stop))
        parts.append(
            checkpoint(_angles, *ours, *theirs, corners, use_reentrant=False, preserve_rng_state=False)  # no randomness
        )
    return torch.cat(parts) / max((total - 1) * (total - 2), 1)


def _centered(everyone: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
    """Return the vectors less their mean: differences stay, and products lose fewer digits."""
    return everyone - everyone.mean(0)


def _square_distances(
    rows: Float[Tensor, "B D"], everyone: Float[Tensor, "N D"], same: Bool[Tensor, "B N"]
) -> Float[Tensor, "B N"]:
    squares = rows.square().sum(1)[:, None] + everyone.square().sum(1) - 2 * rows @ everyone.T
    return torch.where(same, 0.0, squares.clamp(min=0))


def _relative_distances(everyone: Float[Tensor, "N D"], counts: tuple[int, ...], grad: bool) -> Float[Tensor, "B N"]:
    everyone, same = _centered(everyone), itself(counts, everyone.device)
    distances = root(_square_distances(everyone[rows_here(counts)], everyone, same))
    mean = gather(distances.sum(1), grad, counts).sum() / max(same.shape[1] * (same.shape[1] - 1), 1)
    return distances / torch.where(mean > 0, mean, 1.0)


def _sides(everyone: Float[Tensor, "N D"]) -> tuple[Float[Tensor, "N N"], Float[Tensor, "N N"]]:
    """Return all inner products, and 1 / distance of all pairs, 0 for those without a direction."""
    everyone = _centered(everyone)
    same = torch.eye(len(everyone), dtype=torch.bool, device=everyone.device)
    squares = _square_distances(everyone, everyone, same)
    apart = squares > NO_DIRECTION**2 * squares.detach().mean()
    inverse = torch.where(apart, torch.where(apart, squares, 1.0).rsqrt(), 0.0)
    return everyone @ everyone.T, inverse


def _angles(
    student: Float[Tensor, "N N"],
    student_inverse: Float[Tensor, "N N"],
    teacher: Float[Tensor, "N N"],
    teacher_inverse: Float[Tensor, "N N"],
    corners: slice,
) -> Float[Tensor, "C"]:
    """Return the sum of the differences of all angles at some of the samples."""
    same = torch.eye(len(student), dtype=torch.bool, device=student.device)
    ours, theirs = _cosines(student, student_inverse, corners), _cosines(teacher, teacher_inverse, corners)
    differences = F.smooth_l1_loss(ours, theirs, reduction="none")
    return torch.where(same, 0.0, differences).sum((1, 2))


def _cosines(gram: Float[Tensor, "N N"], inverse: Float[Tensor, "N N"], corners: slice) -> Float[Tensor, "C N N"]:
    """Return <s_j - s_i, s_k - s_i> / (|s_j - s_i| |s_k - s_i|) at (i, j, k) for the corners i."""
    to, inverse, own = gram[corners], inverse[corners], gram.diagonal()[corners]
    products = gram - to[:, :, None] - to[:, None, :] + own[:, None, None]
    return products * inverse[:, :, None] * inverse[:, None, :]


class RKD(Relation):
    """``distance`` x mean `rkd_distance` + ``angle`` x mean `rkd_angle`.

    Relational knowledge distillation (Park et al. 2019, arXiv:1904.05068), with the weights that they give its two
    parts together for metric learning (1 and 2; for classification 25 and 50, beside the cross entropy). Rotating or
    shifting all vectors of a side, or scaling them alike, changes nothing. The paper sums over pairs and triplets of
    distinct samples and we take the mean; their code takes the mean over all B² and B³, with those that hold one
    sample twice, which are 0.

    Args:
        student: what the student's side is called, such as ``image`` or a tap.
        teacher: what the teacher's side is called.
        distance: weight of the distances; 0 leaves them out.
        angle: weight of the angles, which take time in the cube of the batch; 0 leaves them out.
    """

    paper = "Park et al. 2019, arXiv:1904.05068"

    def __init__(self, student: str, teacher: str, distance: float | int = 1.0, angle: float | int = 2.0) -> None:
        super().__init__(student, teacher)
        self.distance = checked_number("RKD: distance", distance, least=0.0)
        self.angle = checked_number("RKD: angle", angle, least=0.0)
        if not self.distance and not self.angle:
            raise InputError("RKD: distance and angle are both 0, so it has nothing to teach. Give one above 0.")

    def values(self, student: Float[Tensor, "P D"], teacher: Float[Tensor, "P E"]) -> Float[Tensor, "P"]:
        """Return the weighted sum of both parts for each sample."""
        parts = []
        if self.distance:
            parts.append(self.distance * rkd_distance(student, teacher))
        if self.angle:
            parts.append(self.angle * rkd_angle(student, teacher))
        return torch.stack(parts).sum(0)
