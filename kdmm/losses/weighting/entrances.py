"""Where gradients enter the student: looking at them there, and changing them."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from kdmm.losses.precision import full_precision
from kdmm.losses.weighting.weighting import Weighting
from kdmm.outputs import Outputs

__all__ = ["AtOutputs", "combined", "entrances", "gradients_at", "inner_product", "steered"]


class AtOutputs(Weighting):
    """A strategy that looks at the gradients arriving at the student's outputs.

    That is cheap: the backward pass goes through the terms, not through the student. Where one output is computed from
    another (an embedding from a tapped map), what arrives at each is what the terms send there themselves, without
    what flows on from the other. So nothing is counted twice.
    """

    def watched(self, outputs: Outputs) -> Outputs:
        """Return the outputs, each tensor one through which only the terms' gradients flow, in float32 or better.

        A tensor without gradient gets one here, which ends here. In several processes a rank whose samples all lack a
        modality may have a constant where the others have an embedding; the backward pass of ``gather`` exchanges, so
        it must run on every rank.
        """
        return {name: _entrance(x) for name, x in outputs.items()} if self.is_learning else outputs


def _entrance(x: Tensor) -> Tensor:
    if not x.is_floating_point() or x.ndim == 0:
        return x
    wide = x.to(torch.promote_types(x.dtype, torch.float32))  # small gradients would vanish in float16
    return wide.view_as(wide) if x.requires_grad else wide.detach().requires_grad_()


def entrances(outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of `AtOutputs.watched` where gradients arrive: all but scalars and those without gradient."""
    return {name: x for name, x in outputs.items() if x.requires_grad and x.ndim > 0}


def gradients_at(places: Mapping[str, Tensor], value: Float[Tensor, ""]) -> dict[str, Tensor]:
    """Return the gradient of a value at those of the places that it depends on and behind which something is trained.

    In several processes it is that of this rank's share: ``world_size`` times that of the value. Every rank must call
    this for the same values in the same order.
    """
    if not places or not value.requires_grad:
        return {}
    found = torch.autograd.grad(value, list(places.values()), retain_graph=True, allow_unused=True)
    arrived = zip(places.items(), found, strict=True)
    return {name: gradient for (name, x), gradient in arrived if gradient is not None and not x.is_leaf}


def inner_product(first: Mapping[str, Tensor], second: Mapping[str, Tensor], like: Tensor) -> Float[Tensor, ""]:
    """Return the inner product of two gradients over all places, of this rank; 0 where they share none."""
    products = [_dot(first[name], second[name]) for name in first if name in second]
    return sum((product.to(like) for product in products), start=like.new_zeros(()))


@full_precision
def _dot(first: Tensor, second: Tensor) -> Tensor:
    return torch.dot(first.flatten(), second.flatten())


def combined(gradients: Sequence[Mapping[str, Tensor]], factors: Sequence[float]) -> dict[str, Tensor]:
    """Return the sum of gradients, each times its factor, at each place."""
    total: dict[str, Tensor] = {}
    for gradient, factor in zip(gradients, factors, strict=True):
        for name, x in gradient.items():
            total[name] = total[name] + factor * x if name in total else factor * x
    return total


def steered(total: Float[Tensor, ""], places: Mapping[str, Tensor], changes: Mapping[str, Tensor]) -> Float[Tensor, ""]:
    """Return the same value, whose gradient at each of the places is changed by what is given for it.

    The value of ``total + Σ <place, change> - (the same without gradient)``, but without arithmetic on the places, of
    which rows that are absent may hold anything.
    """
    steered_total: Tensor = _Steer.apply(total, *(places[name] for name in changes), *changes.values())
    return steered_total


class _Steer(torch.autograd.Function):
    """The first argument; its gradient reaches it unchanged, and each place times the change for it."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, total: Tensor, *places_and_changes: Tensor) -> Tensor:
        ctx.save_for_backward(*places_and_changes[len(places_and_changes) // 2 :])
        return total.clone()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        changes: tuple[Tensor, ...] = ctx.saved_tensors  # type: ignore[attr-defined]
        return gradients[0], *(gradients[0] * change for change in changes), *(None for _ in changes)
