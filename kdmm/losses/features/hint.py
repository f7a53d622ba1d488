"""Activations follow the teacher's, place by place."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from kdmm.losses.adapters import Adapter, Fit
from kdmm.losses.features.phis import PHIS
from kdmm.losses.features.places import by_sample, channels_last, compared
from kdmm.losses.precision import full_precision
from kdmm.losses.term import SampleTerm, named
from kdmm.outputs import Batch, Outputs, read

__all__ = ["Hint", "hint_error"]


@full_precision
def hint_error(student: Float[Tensor, "N ..."], teacher: Float[Tensor, "N ..."]) -> Float[Tensor, "N *S"]:
    """Mean squared difference of the vectors at each place.

    ::

        1/D |s - t|²

    Args:
        student: vectors (N, D), tokens (N, T, D) or maps (N, C, H, W).
        teacher: the same shape; it gets no gradient.

    Returns:
        (N,), (N, T) or (N, H, W).
    """
    return channels_last((student - teacher.detach()).square()).mean(-1)


class Hint(SampleTerm):
    """Mean of `hint_error` over the places of all samples: FitNets (Romero et al. 2015, arXiv:1412.6550).

    We differ from the paper in the mean over elements (there half the sum of a sample), in taking one layer a term and
    vectors and tokens besides maps, and in a regressor of 1 x 1 (there as large as the sizes ask for): the student's
    map is resized. There the layer is learned in a stage of its own, before the rest; a schedule of weights does the
    like. Of tokens and maps each place that counts has the same weight (``valid/<name>``).

    Args:
        student: what the student's activation is called.
        teacher: what the teacher's is called.
        adapter: maps the student's activation to the teacher's shape; None: `Fit`.
        standardize: standardizes the teacher's activation first; the student then learns the standardized one.
    """

    paper = "Romero et al. 2015, arXiv:1412.6550"

    def __init__(
        self, student: str, teacher: str, adapter: Adapter | None = None, standardize: PHIS | None = None
    ) -> None:
        super().__init__()
        self.layers = ((student, teacher),)
        self.adapter = Fit() if adapter is None else adapter
        self.standardize = standardize

    def build(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Make the adapter, and the statistics of the teacher's width."""
        ours, theirs = self.layers[0]
        self.adapter.build(read(student, ours, "student"), read(teacher, theirs, "teacher"))
        if self.standardize is not None:
            self.standardize.build(read(teacher, theirs, "teacher"))

    def per_sample(
        self, student: Outputs, teacher: Outputs, batch: Batch
    ) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
        """Return each sample's part of the mean over places; none counts before the standardization is fitted."""
        ((ours, theirs, places),), there = compared(student, teacher, self.layers)
        counts = there
        if self.standardize is not None:
            theirs = self.standardize(theirs, places)
            counts = there & self.standardize.is_fitted
        return by_sample(hint_error(self.adapter(ours, theirs), theirs), places, there), counts

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the two names given."""
        return named(arguments.get("student")), named(arguments.get("teacher"))
