"""The student's hidden states follow the teacher's, token by token."""

from collections.abc import Mapping
from typing import Any, Literal, cast, get_args

from jaxtyping import Float
from torch import Tensor, nn

from kdmm.distributed import global_mean
from kdmm.errors import InputError, nearest
from kdmm.losses.adapters import Adapter, Width
from kdmm.losses.features.feature_match import feature_distance
from kdmm.losses.precision import full_precision
from kdmm.losses.sequences.layers import checked_layers, named_layers
from kdmm.losses.sequences.tokens import both_valid, read_tokens
from kdmm.losses.term import Term, all_true, checked_choice
from kdmm.outputs import Batch, Outputs

__all__ = ["HiddenStates", "state_distance"]

Distance = Literal["mse", "cosine"]
STATES = "(B, T, D)"


@full_precision
def state_distance(
    student: Float[Tensor, "N D"], teacher: Float[Tensor, "N D"], distance: Distance = "mse"
) -> Float[Tensor, "N"]:
    """Distance between corresponding hidden states.

    With u the student's and v the teacher's::

        mse:    1/D |u - v|²
        cosine: 1 - <u, v> / (|u| |v|)

    Args:
        student: hidden states, in the teacher's width.
        teacher: the teacher's of the same tokens; they get no gradient.
        distance: ``mse`` or ``cosine``.
    """
    if distance == "cosine":
        return feature_distance(student, teacher, "cosine")
    return (student - teacher.detach()).square().mean(1)


class HiddenStates(Term):
    """Sum over layers of the mean `state_distance` over the valid tokens of all ranks.

    ``mse`` with a learned linear map is the hidden-states (and, of the embeddings' layer, the embedding) loss of
    TinyBERT (Jiao et al. 2020, arXiv:1909.10351); ``cosine`` is the cosine loss of DistilBERT (Sanh et al. 2019,
    arXiv:1910.01108). We differ from TinyBERT in that each layer has a map of its own, made only where the widths
    differ, and from both in counting valid tokens only. Both models must see the same tokens.

    Args:
        layers: by the student's name of a tapped layer (B, T, D), the teacher's name (B, T, E). TinyBERT pairs evenly
            spaced layers.
        distance: ``mse`` or ``cosine``.
        adapters: by the student's name, what maps vectors (N, D) to the teacher's width; the others get `Width`.
    """

    paper = "Jiao et al. 2020, arXiv:1909.10351; Sanh et al. 2019, arXiv:1910.01108"

    def __init__(
        self, layers: Mapping[str, str], distance: Distance = "mse", adapters: Mapping[str, Adapter] | None = None
    ) -> None:
        super().__init__()
        self.layers = checked_layers("HiddenStates", layers)
        checked_choice("HiddenStates: distance", distance, get_args(Distance))
        self.distance: Distance = distance
        given = {} if adapters is None else dict(adapters)
        for name in given:
            if name not in self.layers:
                raise InputError(
                    f"HiddenStates: adapters names {name!r}, which is none of the student's layers "
                    f"{', '.join(self.layers)}.{nearest(name, self.layers)}"
                )
        # a list, because names of layers hold dots, which names of modules must not
        self.adapters = nn.ModuleList(given.get(name, Width()) for name in self.layers)

    def build(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Make the adapters."""
        for adapter, (name, other) in zip(self.adapters, self.layers.items(), strict=True):
            ours, theirs = self._read(student, name, teacher, other)
            cast(Adapter, adapter).build(ours.flatten(0, 1), theirs.flatten(0, 1))

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Float[Tensor, ""]:
        """Return the distance of the student's states from the teacher's."""
        total: Tensor | float = 0.0
        for adapter, (name, other) in zip(self.adapters, self.layers.items(), strict=True):
            ours, theirs = self._read(student, name, teacher, other)
            valid = both_valid("HiddenStates", student, name, teacher, other)
            theirs = theirs[valid].detach()
            values = state_distance(adapter(ours[valid], theirs), theirs, self.distance)
            total = total + global_mean(values, all_true(values))
        return cast(Tensor, total)

    @staticmethod
    def _read(
        student: Outputs, name: str, teacher: Outputs, other: str
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B S E"]]:
        ours = read_tokens("HiddenStates", student, name, "student", STATES)
        return ours, read_tokens("HiddenStates", teacher, other, "teacher", STATES)

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the layers given."""
        return named_layers(arguments)
