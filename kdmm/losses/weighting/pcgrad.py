"""Terms that pull in opposite directions, each freed of what opposes another."""

from collections.abc import Collection, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from kdmm.distributed import all_reduce_sum
from kdmm.losses.weighting.entrances import AtOutputs, combined, entrances, gradients_at, inner_product, steered
from kdmm.losses.weighting.scheduled import Scheduled
from kdmm.losses.weighting.schedules import Schedule
from kdmm.losses.weighting.weighting import weighted_sum

__all__ = ["PCGrad", "projection"]


def projection(products: Sequence[Sequence[float]], orders: Sequence[Sequence[int]]) -> list[list[float]]:
    """Return how PCGrad's gradients are made of the plain ones: row i holds c with g_i^PC = Σ_k c_k g_k.

    From g_i, for each other j in the given order, what opposes g_j is taken out::

        if <g_i^PC, g_j> < 0:    g_i^PC -= <g_i^PC, g_j> / |g_j|² g_j

    Everything follows from the inner products of the plain gradients, so it takes a few numbers, whatever the size of
    the gradients and on however many ranks they lie.

    Args:
        products: <g_i, g_j>, K x K.
        orders: for each i an order of all K terms; i itself is passed over.
    """
    projected = []
    for i, order in enumerate(orders):
        factors = [float(i == k) for k in range(len(products))]
        for j in order:
            product = sum(factor * products[k][j] for k, factor in enumerate(factors))
            if j != i and product < 0 < products[j][j]:
                factors[j] -= product / products[j][j]
        projected.append(factors)
    return projected


class PCGrad(AtOutputs):
    """The weighted sum, with conflicts between the terms' gradients projected out (Yu et al. 2020, arXiv:2001.06782).

    The total's value is the weighted sum. Its gradient at the student's outputs is the sum over terms of `projection`.
    The order in which a term's gradient meets the others is drawn anew in each step, from the number of the step.

    We differ from the paper in where the gradients are taken: at the student's outputs (embeddings, logits, taps), all
    of them as one vector, over the samples of all ranks; in the paper at the shared parameters. Two terms conflict
    here where they want the same output to move in opposite directions, and terms on different outputs never do.
    Parameters of terms, and scalars such as ``logit_scale``, get their plain gradients.

    Args:
        weights: by term, numbers or schedules; None for 1 each.
    """

    paper = "Yu et al. 2020, arXiv:2001.06782"

    def __init__(self, weights: Mapping[str, float | int | Schedule] | None = None) -> None:
        super().__init__()
        self.given = weights

    def check(self, names: Collection[str]) -> None:
        """Raise `InputError` unless there are several terms, and weights for each of them if any."""
        self.base = Scheduled.of(self.given, names)
        super().check(names)

    def make(self, names: tuple[str, ...]) -> None:
        """Make the counter of steps."""
        self.names = names
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def weights(self, progress: float) -> dict[str, float]:
        """Return the given weights."""
        return self.base.weights(progress)

    def forward(
        self, parts: Mapping[str, Float[Tensor, ""]], progress: float, outputs: Mapping[str, Tensor]
    ) -> Float[Tensor, ""]:
        """Return the weighted sum, whose gradient at the outputs is the projected one."""
        weights = self.base.weights(progress)
        total = weighted_sum(parts, weights)
        if not self.is_learning:
            return total
        places = entrances(outputs)
        gradients = [gradients_at(places, weights[name] * parts[name]) for name in self.names]
        factors = projection(_products(gradients, total), self._orders())
        # of each plain gradient, how much more of it the projected ones hold together than the plain sum does
        more = [sum(column) - 1 for column in zip(*factors, strict=True)]
        return steered(total, places, combined(gradients, more))

    def _orders(self) -> list[list[int]]:
        generator = torch.Generator().manual_seed(int(self.steps))
        self.steps += 1
        return [torch.randperm(len(self.names), generator=generator).tolist() for _ in self.names]


def _products(gradients: Sequence[Mapping[str, Tensor]], like: Tensor) -> list[list[float]]:
    """Return the inner products over all ranks; 0, so no conflict, where one is not finite."""
    here = [inner_product(first, second, like) for i, first in enumerate(gradients) for second in gradients[: i + 1]]
    products = torch.zeros(len(gradients), len(gradients), dtype=torch.float64)
    rows, columns = torch.tril_indices(*products.shape)  # in the order of `here`
    found = all_reduce_sum(torch.stack(here)).to(products)
    products[rows, columns] = found
    products[columns, rows] = found
    return products.nan_to_num(0.0, 0.0, 0.0).tolist()
