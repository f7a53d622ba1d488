"""The modality that dominates is held back."""

import math
from collections.abc import Collection, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from kdmm.distributed import all_reduce_sum, row_counts, rows_here
from kdmm.errors import InputError
from kdmm.losses.term import checked_number
from kdmm.losses.weighting.entrances import AtOutputs, entrances, gradients_at, inner_product, steered
from kdmm.losses.weighting.scheduled import Scheduled
from kdmm.losses.weighting.schedules import Schedule
from kdmm.losses.weighting.weighting import weighted_sum
from kdmm.outputs import present, read

__all__ = ["ModalityBalance", "modality_scales"]


def modality_scales(norms: Sequence[float], alpha: float) -> list[float]:
    """Return the factor on each modality's gradient.

    With ρ_m = the norm of m's gradient over the mean norm of the other modalities'::

        factor_m = 1 - tanh(α (ρ_m - 1))  if ρ_m > 1,  else 1

    A modality without gradient (no sample has it) is no measure for the others; a modality left alone keeps its own.

    Args:
        norms: of the gradients, 0 or more.
        alpha: α, how strongly.
    """
    scales = []
    for i, norm in enumerate(norms):
        others = [other for j, other in enumerate(norms) if j != i and other > 0]
        ratio = norm * len(others) / sum(others) if others else 1.0
        scales.append(1 - math.tanh(alpha * (ratio - 1)) if 1 < ratio < math.inf else 1.0)
    return scales


class ModalityBalance(AtOutputs):
    """The weighted sum, with the gradient of the dominant modality scaled down: OGM-GE (Peng et al. 2022).

    On-the-fly gradient modulation, arXiv:2203.15332: `modality_scales` of the total's gradients at the modalities'
    outputs, anew in each step. The total's value is the weighted sum. One term is enough: it may be a contrast.

    We differ from the paper:

    - It asks which modality contributes more to the scores of the true classes, and slows that one down; we ask which
      is pulled harder, since embeddings have no classes. With more than two modalities each that is pulled harder than
      the others on average is slowed down.
    - It scales the gradient of a modality's encoder; we scale the one that enters the encoder at its output, so the
      encoder's is scaled alike. What else the encoder gives (taps) keeps its gradient.
    - Its noise (generalization enhancement, GE) is drawn for the encoder's gradient, with that gradient's own
      deviation; ours for the gradient at the output, with that gradient's root mean square over all samples that have
      the modality, and reaches the encoder through it. It is drawn from the number of the step, so that a resumed run
      and any number of processes see the same.

    Args:
        modalities: names of the student's outputs, two or more.
        alpha: α, how strongly the dominant modality is held back; 0 changes nothing.
        noise: add the noise, to each modality.
        weights: by term, numbers or schedules; None for 1 each.
    """

    paper = "Peng et al. 2022, arXiv:2203.15332"

    def __init__(
        self,
        modalities: Sequence[str],
        alpha: float | int,
        noise: bool = False,
        weights: Mapping[str, float | int | Schedule] | None = None,
    ) -> None:
        super().__init__()
        if isinstance(modalities, str) or len(modalities) < 2 or len(set(modalities)) < len(modalities):
            raise InputError(
                f"ModalityBalance: modalities is {modalities!r}. Give two or more names, such as [image, text]."
            )
        self.modalities = tuple(modalities)
        self.alpha = checked_number("ModalityBalance: alpha", alpha, least=0.0)
        self.noise = noise
        self.given = weights
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def check(self, names: Collection[str]) -> None:
        """Raise `InputError` unless there are weights for each term, if any."""
        self.base = Scheduled.of(self.given, names)

    def weights(self, progress: float) -> dict[str, float]:
        """Return the given weights."""
        return self.base.weights(progress)

    def forward(
        self, parts: Mapping[str, Float[Tensor, ""]], progress: float, outputs: Mapping[str, Tensor]
    ) -> Float[Tensor, ""]:
        """Return the weighted sum, whose gradient at the modalities' outputs is scaled."""
        total = weighted_sum(parts, self.base.weights(progress))
        modalities = {name: read(outputs, name, "student") for name in self.modalities}
        if not self.is_learning:
            return total
        places = entrances(modalities)
        gradients = gradients_at(places, total)
        found = [{name: gradients[name]} if name in gradients else {} for name in self.modalities]
        squares = all_reduce_sum(torch.stack([inner_product(gradient, gradient, total) for gradient in found]))
        scales = dict(zip(self.modalities, modality_scales(squares.sqrt().tolist(), self.alpha), strict=True))
        changes = {name: (scales[name] - 1) * gradient for name, gradient in gradients.items()}
        if self.noise:
            drawn = self._drawn(outputs, dict(zip(self.modalities, squares, strict=True)))
            changes = {name: change + drawn[name] for name, change in changes.items()}
        self.steps += 1
        return steered(total, places, changes)

    def _drawn(self, outputs: Mapping[str, Tensor], squares: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return noise for the samples that have a modality, from a draw for the samples of all ranks."""
        generator = torch.Generator().manual_seed(int(self.steps))
        drawn = {}
        for name, square in squares.items():
            x, there = outputs[name], present(outputs, name)
            counts = row_counts(x)
            noise = torch.randn((sum(counts), *x.shape[1:]), generator=generator, dtype=x.dtype)
            entries = all_reduce_sum(there.sum()).clamp(min=1) * x.shape[1:].numel()
            deviation = (square / entries).sqrt()
            rows = there.reshape(-1, *[1] * (x.ndim - 1))
            drawn[name] = torch.where(rows, deviation * noise[rows_here(counts)].to(x), 0.0)
        return drawn
