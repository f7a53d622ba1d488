"""What training minimizes: named terms and a weighting."""

from collections.abc import Collection, Mapping
from typing import Any, cast

from jaxtyping import Float
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.losses.term import Term
from kdmm.losses.weighting import Schedule, Scheduled, Weighting
from kdmm.outputs import Batch, Outputs

__all__ = ["Objective"]


class Objective(nn.Module):
    """Named terms and how they are weighted.

    It belongs into the LightningModule, so that the parameters of terms are trained, averaged over ranks and saved. It
    does not judge values: a term that is not finite is so in ``parts`` too.

    Args:
        terms: by name, the same in the YAML, the logs and the report.
        weights: by name, numbers or schedules; or a `Weighting`; None for 1 each.

    Attributes:
        progress: how much of training is done, in [0, 1]; whoever trains sets it before each step.
    """

    def __init__(
        self, terms: Mapping[str, Term], weights: Mapping[str, float | int | Schedule] | Weighting | None = None
    ) -> None:
        super().__init__()
        _check_names(terms)
        self.terms = nn.ModuleDict(dict(terms))
        if isinstance(weights, Weighting):
            self.weighting = weights
            self.weighting.check(tuple(terms))
        else:
            self.weighting = Scheduled.of(weights, tuple(terms))
        self.progress: float = 0.0

    @staticmethod
    def check_arguments(arguments: Mapping[str, Any]) -> None:
        """Refuse wrong names of terms and weights, and wrong numbers, before anything is built.

        Args:
            arguments: of a ``_target_`` node, with the nodes of terms and schedules not built.

        Raises:
            InputError: as when it is made.
        """
        terms, weights = arguments["terms"], arguments.get("weights")
        _check_names(terms)
        if isinstance(weights, Mapping) and "_target_" not in weights:
            numbers = {name: 1.0 if isinstance(weight, Mapping) else weight for name, weight in weights.items()}
            Scheduled.of(numbers, tuple(terms))

    def build(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Let the terms make what depends on the models' shapes, from the outputs for one dry batch; once."""
        for term in self.terms.values():
            cast(Term, term).build(student, teacher, batch)

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the weighted total, and each term's value by name, unweighted and without gradient.

        In several processes these are this rank's shares: their mean over ranks is the value (`kdmm.distributed`).
        """
        student = self.weighting.watched(student)
        parts: dict[str, Tensor] = {name: term(student, teacher, batch) for name, term in self.terms.items()}
        total = self.weighting(parts, self.progress, student)
        for scalar in student.values():
            if scalar.ndim == 0 and scalar.requires_grad:
                # A logit_scale or logit_bias that no term reads would be left without a gradient, which DDP refuses.
                total = total + 0.0 * scalar
        return total, {name: part.detach() for name, part in parts.items()}

    def weights(self) -> dict[str, float]:
        """Return the weights in force at `progress`, by term."""
        return self.weighting.weights(self.progress)


def _check_names(terms: Collection[str]) -> None:
    if not terms:
        raise InputError("Objective: terms is empty. Give at least one term.")
    taken = dir(nn.ModuleDict())
    for name in terms:
        if not name.isidentifier() or name == "loss" or name in taken:
            raise InputError(
                f"Objective: a term is called {name!r}. Give it another name of letters, digits and underscores: "
                "'loss' is the total's, and names such as 'type' and 'keys' are PyTorch's own."
            )
