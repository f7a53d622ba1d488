"""The student's class scores of each pixel against the labels."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from kdmm.errors import InputError, nearest
from kdmm.losses.adapters import interpolate
from kdmm.losses.features.places import by_sample, over_channels
from kdmm.losses.precision import full_precision
from kdmm.losses.term import SampleTerm, checked_number, named
from kdmm.outputs import Batch, Outputs, read, valid

__all__ = ["PixelCrossEntropy"]

cross_entropy = full_precision(F.cross_entropy)


class PixelCrossEntropy(SampleTerm):
    """Mean cross entropy of the pixels that are labelled, of all ranks: the loss on labels of a segmenter.

    As in fully convolutional networks (Long et al. 2015, arXiv:1411.4038): the logits are interpolated to the size of
    the map of labels, not the labels to that of the logits, so that no label is lost. A picture without a labelled
    pixel, such as one that nobody marked, does not count.

    Args:
        label: the batch's entry that holds the classes of pixels (B, H, W), in [0, C) or ``ignore_index``.
        logits: what the student's logits (B, C, I, J) are called.
        smoothing: the share of the target that all classes get alike, in [0, 1].
        ignore_index: the label of pixels that do not count.
    """

    paper = "Long et al. 2015, arXiv:1411.4038"

    def __init__(
        self,
        label: str = "label_map",
        logits: str = "logits",
        smoothing: float | int = 0.0,
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        self.label = label
        self.logits = logits
        self.smoothing = checked_number("PixelCrossEntropy: smoothing", smoothing, least=0.0, most=1.0)
        self.ignore_index = ignore_index

    def per_sample(
        self, student: Outputs, teacher: Outputs, batch: Batch
    ) -> tuple[Float[Tensor, "B"], Bool[Tensor, "B"]]:
        """Return each sample's part of the mean over pixels."""
        logits = read(student, self.logits, "student")
        if logits.ndim != 4 or logits.shape[1] < 2:
            raise InputError(
                f"PixelCrossEntropy: student.{self.logits} has the shape {tuple(logits.shape)}. Give logits (B, C, H, "
                "W) of two or more classes; for class scores of whole samples take CrossEntropy."
            )
        labels = self._labels(batch, logits)
        places = (labels != self.ignore_index) & _nearest(valid(student, self.logits), labels.shape[1:])
        there = places.flatten(1).any(1)
        places, labels, logits = places[there], labels[there], logits[there]
        if logits.shape[2:] != labels.shape[1:]:
            logits = interpolate(logits, size=labels.shape[1:], mode="bilinear", align_corners=False)
        # pixels that do not count may hold anything, and get no gradient
        logits, labels = torch.where(over_channels(places, logits), logits, 0.0), torch.where(places, labels, 0)
        values = cross_entropy(logits, labels, reduction="none", label_smoothing=self.smoothing)
        return by_sample(values, places, there), there

    def _labels(self, batch: Batch, logits: Float[Tensor, "B C I J"]) -> Integer[Tensor, "B H W"]:
        """Return the map of labels.

        Raises:
            InputError: there is none, or a label is of no class.
        """
        if self.label not in batch:
            raise InputError(
                f"PixelCrossEntropy: label is {self.label!r}, but the batch holds only "
                f"{', '.join(sorted(batch)) or 'nothing'}. Set the DataModule's `canvas`, without which batches hold "
                "no maps, and take a source that has some, such as MaskFolder, or CocoDetection with `masks: true`."
                + nearest(self.label, batch)
            )
        labels = torch.as_tensor(batch[self.label], device=logits.device).long()
        known = labels[labels != self.ignore_index]
        if len(known) and not 0 <= int(known.min()) <= int(known.max()) < logits.shape[1]:
            raise InputError(
                f"PixelCrossEntropy: batch[{self.label!r}] holds labels from {int(known.min())} to {int(known.max())}, "
                f"but the model scores {logits.shape[1]} classes. Set the model's `classes`; "
                f"{self.ignore_index} stands for no label."
            )
        return labels

    @classmethod
    def reads(cls, arguments: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
        """Return the student's logits; nothing of the teacher."""
        return named(arguments.get("logits", "logits")), frozenset()


def _nearest(places: Bool[Tensor, "B I J"], size: torch.Size) -> Bool[Tensor, "B H W"]:
    """Return of each pixel whether the place nearest to it counts."""
    if places.shape[1:] == size:
        return places
    return F.interpolate(places[:, None].float(), size=size, mode="nearest-exact")[:, 0].bool()
