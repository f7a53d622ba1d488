"""The softmax of rows that are seen a part at a time."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Online"]


class Online:
    """Sums over a softmax whose logits come a part at a time (Milakov and Gimelshein 2018, arXiv:1805.02867).

    Of each row it keeps the largest logit so far, the sum of exponentials below it, and the sum of something else
    weighted with them; a larger logit shrinks the sums.

    Args:
        rows: their number.
        like: a tensor of the type and on the device of the logits.
    """

    def __init__(self, rows: int, like: Tensor) -> None:
        self.highest = like.new_full((rows,), -torch.inf)
        self.total = like.new_zeros(rows)
        self.weighted = like.new_zeros(rows)

    def add(self, rows: slice, logits: Float[Tensor, "n m"], values: Float[Tensor, "n m"] | None = None) -> None:
        """Take in the next m columns of some rows, with a value each to be weighted."""
        highest = torch.maximum(self.highest[rows], logits.amax(1))
        weights = (logits - highest[:, None]).exp_()
        shrink = (self.highest[rows] - highest).exp_()
        self.total[rows] = self.total[rows] * shrink + weights.sum(1)
        if values is not None:
            self.weighted[rows] = self.weighted[rows] * shrink + weights.mul_(values).sum(1)
        self.highest[rows] = highest

    def logsumexp(self) -> Float[Tensor, "rows"]:
        """Return the logsumexp of each row; -inf of one without columns."""
        return self.highest + self.total.log()

    def mean(self) -> Float[Tensor, "rows"]:
        """Return the mean of the values under each row's softmax; NaN of one without columns."""
        return self.weighted / self.total
