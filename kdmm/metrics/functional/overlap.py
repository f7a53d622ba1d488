"""How many of the first k results two models share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from kdmm.metrics.functional.chunks import BUDGET_BYTES, row_chunks
from kdmm.metrics.functional.ranks import check_finite

__all__ = ["top_k_overlap"]


@torch.no_grad()
def top_k_overlap(
    student_queries: Float[Tensor, "Nq Ds"],
    student_gallery: Float[Tensor, "Ng Ds"],
    teacher_queries: Float[Tensor, "Nq Dt"],
    teacher_gallery: Float[Tensor, "Ng Dt"],
    k: Sequence[int],
    budget_bytes: int = BUDGET_BYTES,
) -> dict[int, Float[Tensor, ""]]:
    """Return, for each k, the mean over queries of ``|student's first k ∩ teacher's first k| / k``.

    Each model ranks the gallery by dot products in its own space. This is the agreement at depth k of two rankings
    (Webber et al. 2010, https://doi.org/10.1145/1852102.1852106, section 3); at k = 1 it is the top-1 agreement with
    which Stanton et al. (2021, https://arxiv.org/abs/2106.05945) measure the fidelity of distillation. Two random
    rankings agree at k / Ng.

    An item counts as among the first k only if fewer than k others score at least as high: where a tie crosses the
    boundary the tied items are in neither list, so collapsed embeddings agree with nothing.

    Args:
        student_queries: the student's embeddings of the queries.
        student_gallery: the student's embeddings of the gallery.
        teacher_queries: the teacher's embeddings of the same queries.
        teacher_gallery: the teacher's embeddings of the same gallery.
        k: depths; one beyond Ng is taken as Ng.
        budget_bytes: bound on the memory beside the inputs.

    Raises:
        ValueError: an embedding is NaN or infinite.
    """
    num_queries, num_items = len(student_queries), len(student_gallery)
    assert len(teacher_queries) == num_queries, "student and teacher embed the same queries"
    assert len(teacher_gallery) == num_items, "student and teacher embed the same gallery"
    for name, embeddings in (
        ("student's queries", student_queries),
        ("student's gallery", student_gallery),
        ("teacher's queries", teacher_queries),
        ("teacher's gallery", teacher_gallery),
    ):
        check_finite(embeddings, name)
    depth = min(max(k), num_items)
    shared = {each: torch.zeros((), dtype=torch.int64, device=student_queries.device) for each in k}
    bytes_per_row = 2 * 4 * num_items + 2 * 12 * (depth + 1) + 3 * depth**2  # scores; top lists; their comparisons
    with torch.autocast(student_queries.device.type, enabled=False):
        for rows in row_chunks(num_queries, bytes_per_row, budget_bytes):
            student_scores, student_items = _top(student_queries[rows], student_gallery, depth)
            teacher_scores, teacher_items = _top(teacher_queries[rows], teacher_gallery, depth)
            for each in k:
                first = min(each, num_items)
                student_sure = student_scores[:, :first] > student_scores[:, first : first + 1]
                teacher_sure = teacher_scores[:, :first] > teacher_scores[:, first : first + 1]
                same = student_items[:, :first, None] == teacher_items[:, None, :first]  # (rows, first, first)
                shared[each] += (same & student_sure[:, :, None] & teacher_sure[:, None, :]).sum()
    return {each: shared[each] / (num_queries * min(each, num_items)) for each in k}


def _top(queries: Tensor, gallery: Tensor, depth: int) -> tuple[Tensor, Tensor]:
    """Return the ``depth`` + 1 best scores of each row, -inf after the last item, and the ``depth`` best items."""
    scores = queries.float() @ gallery.float().T
    best = scores.topk(min(depth + 1, scores.shape[1]), dim=1)
    return F.pad(best.values, (0, depth + 1 - best.values.shape[1]), value=-torch.inf), best.indices[:, :depth]
