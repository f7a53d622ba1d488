"""What a term of the objective is, and the checks of settings that terms share."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor, nn

from kdmm.errors import InputError, nearest
from kdmm.outputs import Batch, Outputs, present, read

__all__ = ["Term", "both_present", "checked_choice", "checked_pair", "checked_temperature", "named_pair", "scale_of"]


class Term(nn.Module, ABC):
    """One loss of the objective. Parameters that it needs (projections) are its own, and train with the student."""

    @abstractmethod
    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Float[Tensor, ""]:
        """Return the loss, in float32 or better.

        In several processes it is this rank's share: the mean over ranks is the loss (`kdmm.distributed`).

        Args:
            student: what the student gives for the B samples of the batch.
            teacher: what the teacher gives for the same samples; it gets no gradient.
            batch: the batch itself, for labels.
        """

    @classmethod
    @abstractmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the names that the term will read from (student, teacher), given its arguments in the YAML.

        Used before anything is built, so the arguments may be wrong or missing: it names what it can and never raises.
        """


def checked_pair(term: str, pair: Sequence[str]) -> tuple[str, str]:
    """Return the two modalities that a term compares.

    Raises:
        InputError: not two different names.
    """
    if isinstance(pair, str) or len(pair) != 2 or pair[0] == pair[1]:
        raise InputError(f"{term}: pair is {pair!r}. Give two different modalities, such as [image, text].")
    return pair[0], pair[1]


def named_pair(arguments: Mapping[str, Any]) -> frozenset[str]:
    """Return the names under ``pair`` in the YAML, none where it is wrong or missing; for `Term.reads`."""
    pair = arguments.get("pair", ())
    return frozenset(name for name in pair if isinstance(name, str)) if isinstance(pair, list | tuple) else frozenset()


def checked_choice(setting: str, value: str, accepted: Sequence[str]) -> str:
    """Return ``value``.

    Raises:
        InputError: it is none of those accepted.
    """
    if value not in accepted:
        raise InputError(f"{setting} is {value!r}. Give {' or '.join(accepted)}.{nearest(value, accepted)}")
    return value


def checked_temperature(setting: str, value: float | int | None) -> float | int | None:
    """Return ``value``.

    Raises:
        InputError: it is not above zero.
    """
    if value is not None and not value > 0:  # false for NaN too
        raise InputError(f"{setting} is {value}. Give a number above 0, or null for the model's own logit_scale.")
    return value


def scale_of(outputs: Outputs, temperature: float | int | None, whose: str) -> Float[Tensor, ""] | float:
    """Return what cosines are multiplied with: 1 / temperature if set, else the model's own ``logit_scale``.

    ``logit_scale`` arrives exponentiated and clamped: that is the model's business.
    """
    return read(outputs, "logit_scale", whose) if temperature is None else 1.0 / temperature


def both_present(first: Outputs, first_name: str, second: Outputs, second_name: str) -> Bool[Tensor, "B"]:
    """Return which samples have ``first_name`` in ``first`` and ``second_name`` in ``second``."""
    return present(first, first_name) & present(second, second_name)
