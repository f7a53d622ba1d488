"""Where a channel responds follows where the teacher's does: channel-wise distillation."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kdmm.errors import InputError
from kdmm.losses.adapters import Adapter, Fit
from kdmm.losses.features.places import compared
from kdmm.losses.precision import full_precision
from kdmm.losses.term import SampleTerm, checked_number, named
from kdmm.outputs import Batch, Outputs, read, scatter_present

__all__ = ["CWD", "channel_divergence"]


@full_precision
def channel_divergence(
    student: Float[Tensor, "N C H W"],
    teacher: Float[Tensor, "N C H W"],
    places: Bool[Tensor, "N H W"],
    temperature: float = 4.0,
) -> Float[Tensor, "N"]:
    """KL(teacher || student) over the places of each channel, the mean over channels, in nats, of each sample.

    With softmaxes over the places that count::

        T²/C sum_c KL(softmax_i(t_ci / T) || softmax_i(s_ci / T))

    Args:
        student: maps or logits.
        teacher: the same shape; it gets no gradient.
        places: which places count, at least one a sample.
        temperature: T.
    """
    # far below any activation, and finite: minus infinity would give 0 * (inf - inf)
    out, least = ~places.flatten(1)[:, None], torch.finfo(student.dtype).min / 4
    ours, theirs = (
        (x.flatten(2) / temperature).masked_fill(out, least).log_softmax(2) for x in (student, teacher.detach())
    )
    return temperature**2 * (theirs.exp() * (theirs - ours)).sum(2).mean(1)


class CWD(SampleTerm):
    """Mean over samples of the `channel_divergence`: channel-wise distillation (Shu et al. 2021, arXiv:2011.13256).

    Of logits or of activations, both maps; each channel says where, not how much. We differ in mapping the student's
    to the teacher's channels and size by an adapter (the paper: a 1 x 1 convolution where channels differ, and equal
    sizes), and in the places that do not count (``valid/<name>``), which are left out of the softmaxes.

    Args:
        student: what the student's map is called.
        teacher: what the teacher's is called.
        temperature: divides both: the larger, the more places count. 4 suits logits, 1 activations.
        adapter: maps the student's map to the teacher's shape; None: `Fit`.
    """

    paper = "Shu et al. 2021, arXiv:2011.13256"

    def __init__(
        self,
        student: str = "logits",
        teacher: str = "logits",
        temperature: float | int = 4.0,
        adapter: Adapter | None = None,
    ) -> None:
        super().__init__()
        self.layers = ((student, teacher),)
        self.temperature = checked_number("CWD: temperature", temperature, above=0.0)
        self.adapter = Fit() if adapter is None else adapter

    def build(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Make the adapter."""
        ours, theirs = self.layers[0]
        target = read(teacher, theirs, "teacher")
        if target.ndim != 4:
            raise InputError(
                f"CWD: teacher.{theirs} is {tuple(target.shape)}. Name maps (B, C, H, W); for class scores of whole "
                "samples take KD."
            )
        self.adapter.build(read(student, ours, "student"), target)

    def per_sample(
        self, student: Outputs, teacher: Outputs, batch: Batch
    ) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
        """Return each sample's mean over channels."""
        ((ours, theirs, places),), there = compared(student, teacher, self.layers)
        divergence = channel_divergence(self.adapter(ours, theirs), theirs, places, self.temperature)
        return scatter_present(divergence, there), there

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the two names given."""
        return named(arguments.get("student", "logits")), named(arguments.get("teacher", "logits"))
