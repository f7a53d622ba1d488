"""Each pixel's class probabilities follow the teacher's."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from kdmm.errors import InputError, nearest
from kdmm.losses.adapters import Conv
from kdmm.losses.features.places import by_sample, compared, over_channels
from kdmm.losses.precision import full_precision
from kdmm.losses.term import SampleTerm, checked_number, named
from kdmm.outputs import Batch, Outputs, read

__all__ = ["PixelKL", "pixel_divergence"]


@full_precision
def pixel_divergence(
    student: Float[Tensor, "N C H W"], teacher: Float[Tensor, "N C H W"], temperature: float = 1.0
) -> Float[Tensor, "N H W"]:
    """KL(teacher || student) over the classes of each pixel, times T², in nats.

    ::

        T² KL(softmax_c(t / T) || softmax_c(s / T))

    (``F.kl_div(reduction="batchmean")`` would be H·W times the mean of these.)

    Args:
        student: logits.
        teacher: the same shape; they get no gradient.
        temperature: T.
    """
    ours, theirs = ((x / temperature).log_softmax(1) for x in (student, teacher.detach()))
    return temperature**2 * (theirs.exp() * (theirs - ours)).sum(1)


class PixelKL(SampleTerm):
    """Mean of `pixel_divergence` over the pixels that count: the pixel-wise part of Liu et al. 2019, arXiv:1903.04197.

    Where sizes differ the student's logits are interpolated to the teacher's size, logits and not probabilities, and of
    the labels the nearest is taken. A pixel of the ignored class, a border or what nobody labelled, does not count: the
    models have not learned what to say there. We differ in that, in the temperature (1 in the paper) and in the mean
    over the pixels that count, of all ranks.

    Args:
        student: what the student's logits are called.
        teacher: what the teacher's are called; the same classes in the same order.
        temperature: divides both models' logits.
        label: what the batch calls the map of labels (B, H, W), integers, of any size; null: all pixels count.
        ignore_index: the label of pixels that do not count.
    """

    paper = "Liu et al. 2019, arXiv:1903.04197"

    def __init__(
        self,
        student: str = "logits",
        teacher: str = "logits",
        temperature: float | int = 1.0,
        label: str | None = "label_map",
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        self.layers = ((student, teacher),)
        self.temperature = checked_number("PixelKL: temperature", temperature, above=0.0)
        self.label = label
        self.ignore_index = ignore_index
        self.resize = Conv()

    def build(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Check that both give maps of the same classes."""
        (our_name, their_name) = self.layers[0]
        ours, theirs = read(student, our_name, "student"), read(teacher, their_name, "teacher")
        if ours.ndim != 4 or theirs.ndim != 4 or ours.shape[1] != theirs.shape[1]:
            raise InputError(
                f"PixelKL: student.{our_name} is {tuple(ours.shape)} and teacher.{their_name} is "
                f"{tuple(theirs.shape)}. Give logits (B, C, H, W) of the same C classes, or take CWD, which maps one "
                "number of channels to another."
            )
        self.resize.build(ours, theirs)

    def per_sample(
        self, student: Outputs, teacher: Outputs, batch: Batch
    ) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
        """Return each sample's part of the mean over pixels."""
        ((ours, theirs, places),), there = compared(student, teacher, self.layers)
        ours = self.resize(ours, theirs)
        if self.label is not None:
            labels = _resized(_labels(batch, self.label)[there], places)
            places = places & (labels != self.ignore_index)
        # the logits of pixels that do not count get no gradient, whatever they are
        ours, theirs = (torch.where(over_channels(places, x), x, 0.0) for x in (ours, theirs))
        return by_sample(pixel_divergence(ours, theirs, self.temperature), places, there), there

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the two names given."""
        return named(arguments.get("student", "logits")), named(arguments.get("teacher", "logits"))


def _labels(batch: Batch, name: str) -> Integer[Tensor, "B H W"]:
    if name not in batch:
        raise InputError(
            f"PixelKL: the batch has no {name!r}, only {', '.join(sorted(batch)) or 'nothing'}. Name the map of labels "
            f"in `label`, or set it to null: then all pixels count.{nearest(name, batch)}"
        )
    labels: Tensor = batch[name]
    return labels


def _resized(labels: Integer[Tensor, "N H W"], places: Bool[Tensor, "N I J"]) -> Integer[Tensor, "N I J"]:
    """Return, of each place, the label nearest to its centre."""
    if labels.shape == places.shape:
        return labels
    # float32 holds every label exactly
    return F.interpolate(labels[:, None].float(), size=places.shape[1:], mode="nearest-exact")[:, 0].to(labels.dtype)
