"""Which gallery items are right answers to which queries, in memory linear in the items."""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Tensor

__all__ = ["Positives"]


class Positives:
    """A gallery item is a positive of a query if they share a label; each may have several labels.

    With one caption an image, labels are pair numbers. With several captions an image, an image has the labels of all
    its captions and a text has its own. The relation is kept as two sorted lists, query to labels and label to items,
    and written out for a few queries at a time: a label that every item has does not cost N² memory.

    Args:
        query_item: the query of each of P (query, label) pairs, in [0, ``num_queries``).
        query_label: the label of each of these pairs, any integers.
        gallery_item: the item of each of M (item, label) pairs.
        gallery_label: the label of each of these pairs.
        num_queries: Nq.

    Raises:
        ValueError: a query has no positive.
    """

    def __init__(
        self,
        query_item: Int64[Tensor, "P"],
        query_label: Int64[Tensor, "P"],
        gallery_item: Int64[Tensor, "M"],
        gallery_label: Int64[Tensor, "M"],
        num_queries: int,
    ) -> None:
        labels, dense = torch.unique(torch.cat([query_label, gallery_label]), return_inverse=True)
        of_query, of_item = dense[: len(query_label)], dense[len(query_label) :]
        self._labels = of_query[query_item.argsort(stable=True)]
        self._label_counts = query_item.bincount(minlength=num_queries)
        self._label_ends = self._label_counts.cumsum(0)
        self._items = gallery_item[of_item.argsort(stable=True)]
        self._item_counts = of_item.bincount(minlength=len(labels))
        self._item_starts = self._item_counts.cumsum(0) - self._item_counts
        owners = torch.arange(num_queries, device=query_item.device).repeat_interleave(self._label_counts)
        self.counts = torch.zeros_like(self._label_counts).index_add(0, owners, self._item_counts[self._labels])
        """(Nq,) positives of each query; an item that shares two labels counts twice."""
        if num_queries and self.counts.min() == 0:
            without = (self.counts == 0).nonzero().flatten()
            raise ValueError(
                f"{len(without)} of {num_queries} queries have no positive; the first is query {without[0]}."
            )

    @classmethod
    def by_group(cls, query_group: Int64[Tensor, "Nq"], gallery_group: Int64[Tensor, "Ng"]) -> Positives:
        """Return the relation in which items of a query's own group are its positives."""
        queries = torch.arange(len(query_group), device=query_group.device)
        items = torch.arange(len(gallery_group), device=gallery_group.device)
        return cls(queries, query_group, items, gallery_group, len(query_group))

    def __len__(self) -> int:
        return len(self.counts)

    def of(self, queries: slice) -> tuple[Int64[Tensor, "R"], Int64[Tensor, "R"]]:
        """Return the R (row, item) pairs of some queries; row 0 is the first of them."""
        counts = self._label_counts[queries]
        if len(counts) == 0:
            return counts, counts
        last = int(self._label_ends[queries][-1])
        labels = self._labels[last - int(counts.sum()) : last]
        rows = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
        sizes = self._item_counts[labels]
        pair = torch.arange(len(labels), device=labels.device).repeat_interleave(sizes)
        within = torch.arange(len(pair), device=pair.device) - (sizes.cumsum(0) - sizes)[pair]
        return rows[pair], self._items[self._item_starts[labels][pair] + within]
