"""A model that runs a large batch a part at a time, with the gradients of the whole batch."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from kdmm import targets
from kdmm.errors import InputError
from kdmm.models.parts import parts_of
from kdmm.models.preprocess import Preprocess
from kdmm.outputs import Outputs

__all__ = ["Chunked"]


class Chunked(nn.Module):
    """Runs a model on ``size`` samples at a time, and on each part once more when the backward pass reaches it.

    So a batch of any size is trained with the activations of one part in memory, while every term sees all of its
    embeddings. The gradients are those of the whole batch, which accumulating over small batches does not give where
    samples are compared with each other. The value of the loss is computed once. This is the caching of embeddings'
    gradients of GradCache (Gao et al. 2021, arXiv:2101.06983); we differ in how: each part is a checkpoint of its own
    (Chen et al. 2016, arXiv:1604.06174), so that any training step does it, under DDP too, and terms' own parameters
    and scales need no care. It takes one more forward pass of the model. The teacher answers the batch once, in such
    parts too if it has a ``size`` (`kdmm.teachers.Frozen`), and the terms' matrix of all pairs can be held in tiles
    (``tile`` of `kdmm.losses.Contrastive`).

    - Dropout draws for each part, and the same again when the part is run again. Another ``size`` draws differently.
    - Batch norm in training takes its statistics over a part, so the gradients are not those of the whole batch; with
      layer norm or frozen statistics they are. Running statistics move once a part, not twice.
    - Frozen towers are run again with the rest.
    - A number for the whole batch, such as ``logit_scale``, must not depend on the samples.
    - Taps go inside: ``Chunked(Tapped(model))``.

    In checkpoints and in ``lr_scale`` parameters' names begin with ``model.``.

    Args:
        model: any model that gives Outputs.
        size: samples a part, at most.

    Raises:
        InputError: ``size`` is below 1.
    """

    def __init__(self, model: nn.Module, size: int) -> None:
        super().__init__()
        if size < 1:
            raise InputError(f"Chunked.size: {size} given; give 1 or more samples, such as 256.")
        self.model = model
        self.size = size

    @classmethod
    def gives(cls, arguments: Mapping[str, Any]) -> frozenset[str] | None:
        """Return what the model gives; None if it does not say."""
        return targets.gives(arguments.get("model"))

    @property
    def preprocess(self) -> Preprocess:
        """The model's."""
        return cast(Preprocess, self.model.preprocess)

    def forward(self, batch: Mapping[str, Any]) -> Outputs:
        """Run the model.

        Args:
            batch: what the model reads, with a row a sample or, beside ``present/<modality>``, a row a sample that has
                the modality.

        Raises:
            InputError: rows that are neither, or outputs that cannot be put together.
        """
        parts = list(parts_of(batch, self.size))
        if len(parts) < 2:
            outputs: Outputs = self.model(batch)
            return outputs
        return _joined([self._run(part) for _, part in parts], [count for count, _ in parts])

    def _run(self, part: Mapping[str, Any]) -> Outputs:
        if not torch.is_grad_enabled():
            outputs: Outputs = self.model(part)
            return outputs
        run_again: Outputs = checkpoint(self.model, part, use_reentrant=False, context_fn=self._contexts)
        return run_again

    def _contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """Return what surrounds the first run of a part, and the second."""
        return nullcontext(), _KeptBuffers(self.model)


class _KeptBuffers(AbstractContextManager[None]):
    """Puts the buffers of a model in training, such as running statistics, back on leaving; each time it is entered."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __enter__(self) -> None:
        self.kept = [(buffer, buffer.clone()) for buffer in self.model.buffers() if self.model.training]

    @torch.no_grad()
    def __exit__(self, *exception: object) -> None:
        for buffer, before in self.kept:
            buffer.copy_(before)


def _joined(outputs: Sequence[Outputs], counts: Sequence[int]) -> Outputs:
    """Put the parts' outputs together: rows one after the other, numbers as they are."""
    names = dict.fromkeys(name for each in outputs for name in each)
    return {name: _of_all(name, [each.get(name) for each in outputs], counts, names) for name in names}


def _of_all(name: str, parts: Sequence[Tensor | None], counts: Sequence[int], names: Container[str]) -> Tensor:
    given = [x for x in parts if x is not None]
    like = given[0]
    if like.ndim == 0:
        if not all(torch.allclose(x, like, 0.0, 0.0, equal_nan=True) for x in given):
            raise InputError(
                f"Chunked.model gives {name!r}, one number for all samples, that differs between parts of a batch. "
                "Let it give a value a sample, or run it without Chunked."
            )
        return like
    if len(given) < len(parts) and f"present/{name.rpartition('/')[2]}" not in names:
        raise InputError(
            f"Chunked.model gives {name!r} for some parts of a batch and not for others, and no `present/{name}`. "
            "Raise `size`, so that each part has what it is computed from, or let the model give the flag."
        )
    rows = [like.new_zeros(count, *like.shape[1:]) if x is None else x for x, count in zip(parts, counts, strict=True)]
    return torch.cat(rows)
