"""What a term of the objective is, and the checks of settings that terms share."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from kdmm.distributed import global_mean
from kdmm.errors import InputError, nearest
from kdmm.outputs import Batch, Outputs, present, read, scalar_name
from kdmm.targets import Described

__all__ = [
    "SampleTerm",
    "Term",
    "all_true",
    "bias_of",
    "both_present",
    "checked_choice",
    "checked_number",
    "checked_pair",
    "checked_temperature",
    "named",
    "named_pair",
    "scale_of",
]


class Term(Described, nn.Module, ABC):
    """One loss of the objective. Parameters that it needs (adapters) are its own, and train with the student."""

    paper: ClassVar[str] = ""
    """Where the loss was published, such as ``Hinton et al. 2015, arXiv:1503.02531``; ``kdmm list losses`` shows it."""

    def build(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Make the parameters whose shapes depend on the models, from the outputs for one dry batch.

        Called once, before the optimizer is made. The outputs have the shapes of training but for the number of
        samples; they carry no gradient. See :class:`kdmm.losses.adapters.Adapter`.
        """

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


class SampleTerm(Term):
    """A term that is a mean over samples: each has a value of its own, so samples can be weighted."""

    @abstractmethod
    def per_sample(
        self, student: Outputs, teacher: Outputs, batch: Batch
    ) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
        """Return each sample's value, finite everywhere, and which samples count."""

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Float[Tensor, ""]:
        """Return the mean over the samples that count, of all ranks."""
        return global_mean(*self.per_sample(student, teacher, batch))


def named(*names: Any) -> frozenset[str]:
    """Return those of the YAML's values that are names; for `Term.reads`."""
    return frozenset(name for name in names if isinstance(name, str))


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
    return named(*pair) if isinstance(pair, list | tuple) else frozenset()


def checked_choice(setting: str, value: str, accepted: Sequence[str]) -> str:
    """Return ``value``.

    Raises:
        InputError: it is none of those accepted.
    """
    if value not in accepted:
        raise InputError(f"{setting} is {value!r}. Give {' or '.join(accepted)}.{nearest(value, accepted)}")
    return value


def checked_number(
    setting: str,
    value: float | int,
    above: float | int | None = None,
    least: float | int | None = None,
    most: float | int | None = None,
) -> float:
    """Return ``value``.

    Args:
        setting: what it is called, such as ``DKD: alpha``.
        value: the number.
        above: it must be larger than this.
        least: it must be at least this.
        most: it must be at most this.

    Raises:
        InputError: it is outside, or not finite.
    """
    inside = (above is None or value > above) and (least is None or value >= least) and (most is None or value <= most)
    if not inside or value - value != 0:  # infinity and NaN have no difference from themselves
        limits = [("above", above), ("at least", least), ("at most", most)]
        wanted = " and ".join(f"{word} {limit:g}" for word, limit in limits if limit is not None)
        raise InputError(f"{setting} is {value}. Give a finite number{' ' if wanted else ''}{wanted}.")
    return float(value)


def checked_temperature(setting: str, value: float | int | None) -> float | int | None:
    """Return ``value``.

    Raises:
        InputError: it is not above zero.
    """
    if value is not None and not value > 0:  # false for NaN too
        raise InputError(f"{setting} is {value}. Give a number above 0, or null for the model's own logit_scale.")
    return value


def scale_of(
    outputs: Outputs, temperature: float | int | None, whose: str, pair: tuple[str, str]
) -> Float[Tensor, ""] | float:
    """Return what a pair's cosines are multiplied with: 1 / temperature if set, else the model's own ``logit_scale``.

    ``logit_scale`` arrives exponentiated and clamped: that is the model's business.
    """
    return read(outputs, scalar_name(outputs, "logit_scale", pair), whose) if temperature is None else 1.0 / temperature


def bias_of(outputs: Outputs, whose: str, pair: tuple[str, str]) -> Float[Tensor, ""]:
    """Return what is added to a pair's scaled cosines: the model's own ``logit_bias``."""
    return read(outputs, scalar_name(outputs, "logit_bias", pair), whose)


def both_present(first: Outputs, first_name: str, second: Outputs, second_name: str) -> Bool[Tensor, "B"]:
    """Return which samples have ``first_name`` in ``first`` and ``second_name`` in ``second``.

    Args:
        first: the student's.
        first_name: of a tensor.
        second: the teacher's, or the student's too.
        second_name: of a tensor.

    Raises:
        InputError: one is not there.
    """
    whose = "student" if second is first else "teacher"
    return present(first, first_name, "student") & present(second, second_name, whose)


def all_true(rows: Tensor) -> Bool[Tensor, "B"]:
    """Return a mask over the rows of a tensor, true everywhere."""
    return torch.ones(len(rows), dtype=torch.bool, device=rows.device)
