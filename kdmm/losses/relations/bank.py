"""Embeddings of samples seen before, for contrast with more negatives than a batch holds."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

__all__ = ["Bank"]

EMPTY = -1  # in place of a sample's key


class Bank(nn.Module):
    """The newest embeddings of the last ``size`` samples, of both models: a queue that holds each sample once.

    All of it are buffers, so it is part of a checkpoint and moves with its term. It is given the rows of all ranks and
    so stays the same on all ranks.

    Args:
        size: how many samples it holds.
        width: of their embeddings.
    """

    student: Tensor
    teacher: Tensor
    keys: Tensor
    labels: Tensor
    place: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("student", torch.zeros(size, width))
        self.register_buffer("teacher", torch.zeros(size, width))
        self.register_buffer("keys", torch.full((size,), EMPTY))
        self.register_buffer("labels", torch.full((size,), EMPTY))
        self.register_buffer("place", torch.tensor(0))  # of the oldest, which the next one replaces

    @torch.no_grad()
    def push(
        self,
        student: Float[Tensor, "N D"],
        teacher: Float[Tensor, "N D"],
        keys: Int[Tensor, "N"],
        labels: Int[Tensor, "N"],
    ) -> None:
        """Take in samples of all ranks in place of the oldest; what it held of the same samples is dropped."""
        size = len(self.keys)
        self.keys.masked_fill_(torch.isin(self.keys, keys), EMPTY)
        newest = slice(max(len(keys) - size, 0), None)
        places = (self.place + torch.arange(len(keys), device=keys.device)[newest]) % size
        for held, new in (
            (self.student, student),
            (self.teacher, teacher),
            (self.keys, keys),
            (self.labels, labels),
        ):
            held.index_copy_(0, places, new[newest].to(held.dtype))
        self.place.copy_((self.place + len(keys)) % size)
