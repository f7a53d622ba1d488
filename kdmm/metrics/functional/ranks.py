"""The rank of the best right answer, for galleries too large for a full similarity matrix."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from kdmm.metrics.functional.chunks import BUDGET_BYTES, row_chunks
from kdmm.metrics.functional.positives import Positives

__all__ = ["check_finite", "ranks"]

BYTES_PER_SCORE = 5  # a float32 score and its comparison, a bool
BYTES_PER_POSITIVE = 72  # a (row, item) pair's nine int64 on the way through `Positives.of` and the ties below


@torch.no_grad()
def ranks(
    queries: Float[Tensor, "Nq D"],
    gallery: Float[Tensor, "Ng D"],
    positives: Positives,
    budget_bytes: int = BUDGET_BYTES,
) -> Int64[Tensor, "Nq"]:
    """Return the rank, 1 the best, of each query's best positive among all negatives, by dot product.

    ``rank = 1 + |{negatives j : score_j >= best positive's score}|``. Several positives: the best one counts and the
    others neither help nor harm, the convention of image-text retrieval with five captions an image
    (Karpathy and Fei-Fei 2015, https://arxiv.org/abs/1412.2306).

    Ties are broken pessimistically (``BOTTOM`` in Sun et al. 2020, https://arxiv.org/abs/1911.03903): a negative with
    the positive's score ranks before it. So a collapsed model, whose embeddings are all equal, has the worst ranks and
    not recall 1.

    Scores are float32 inside autocast too, and computed some rows at a time: memory is linear in Nq + Ng.

    Args:
        queries: embeddings, normalized if cosine similarity is meant.
        gallery: embeddings.
        positives: the right answers of each query.
        budget_bytes: bound on the memory beside the inputs.

    Raises:
        ValueError: an embedding is NaN or infinite; comparisons with it would rank its query first.
    """
    assert len(positives) == len(queries), "positives were made for other queries"
    check_finite(queries, "queries")
    check_finite(gallery, "gallery")
    found = torch.zeros_like(positives.counts)
    most = int(positives.counts.max()) if len(queries) else 0
    bytes_per_row = BYTES_PER_SCORE * len(gallery) + BYTES_PER_POSITIVE * most
    columns = gallery.float().T
    chunks = list(row_chunks(len(queries), bytes_per_row, budget_bytes))
    most_rows = chunks[0].stop if chunks else 0
    all_scores = columns.new_empty((most_rows, len(gallery)))  # written again by every part: new pages cost more
    all_ahead = torch.empty_like(all_scores, dtype=torch.bool)
    with torch.autocast(queries.device.type, enabled=False):
        for rows in chunks:
            scores = torch.mm(queries[rows].float(), columns, out=all_scores[: rows.stop - rows.start])
            row, item = positives.of(rows)
            positive = scores[row, item]
            best = scores.new_full((len(scores),), -torch.inf).scatter_reduce(0, row, positive, "amax")
            tied = positive == best[row]
            tied_pairs = torch.unique(row[tied] * len(gallery) + item[tied])  # an item may share several labels
            tied_positives = (tied_pairs // len(gallery)).bincount(minlength=len(scores))
            ahead = torch.ge(scores, best[:, None], out=all_ahead[: len(scores)])
            at_least = ahead.view(torch.uint8).sum(1, dtype=torch.int32)  # six times faster than summing bool
            found[rows] = 1 + at_least - tied_positives
    return found


def check_finite(embeddings: Float[Tensor, "N D"], name: str) -> None:
    """Raise ValueError if an embedding is NaN or infinite."""
    bad = ~embeddings.isfinite().all(1)
    if bad.any():
        raise ValueError(
            f"{int(bad.sum())} of {len(embeddings)} embeddings of the {name} are NaN or infinite, the first in row "
            f"{int(bad.nonzero()[0])}: the model has diverged, or an input is not finite."
        )
