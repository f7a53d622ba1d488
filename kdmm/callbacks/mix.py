"""Mixing the pictures or sounds of a batch, alike for every model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from kdmm.errors import InputError
from kdmm.outputs import MODALITIES
from kdmm.views import MIXED_VIEW

__all__ = ["Mix"]


class Mix(pl.Callback):
    """Mixup (https://arxiv.org/abs/1710.09412) or CutMix (https://arxiv.org/abs/1905.04899) of each training batch.

    Sounds are mixed up as their waveforms are; CutMix is of pictures.

    Teacher and student see the same mixture, each at its own size: the same partners, the same share and, for CutMix,
    the same part of the picture (Beyer et al. 2022, https://arxiv.org/abs/2106.05237). Labels get partners too:
    ``mixed/<label>`` holds the partner's label and ``mixed/share`` how much of each sample is its own, which
    `kdmm.losses.CrossEntropy` reads. What is drawn is decided by (seed, epoch, batch, rank) as dropout is.

    Args:
        mixup: the Beta distribution's parameter of mixup; 0 for none.
        cutmix: of CutMix; 0 for none. With both, each batch takes one of the two, by even odds.
        labels: the batch's entries that are classes.
        modality: what is mixed.

    Raises:
        InputError: both are 0, or one is negative, or CutMix of sounds.
    """

    def __init__(
        self,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        labels: Sequence[str] = ("label",),
        modality: Literal["image", "audio"] = "image",
    ) -> None:
        if min(mixup, cutmix) < 0 or not mixup + cutmix > 0:
            raise InputError(f"Mix: mixup is {mixup} and cutmix is {cutmix}. Give at least one a number above 0.")
        if cutmix and modality != "image":
            raise InputError(f"Mix.cutmix: {cutmix} given with `modality: {modality}`; it is of pictures. Leave it 0.")
        self.modality = modality
        self.mixup = mixup
        self.cutmix = cutmix
        self.labels = tuple(labels)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Mix the batch.

        Raises:
            InputError: a model does not read the pictures, or reads captions too, which nothing mixes.
        """
        models = {name: part for name, part in batch.items() if isinstance(part, dict) and "id" in part}
        blind = [name for name, part in models.items() if self.modality not in part]
        if blind:
            raise InputError(
                f"Mix: {', '.join(blind)} does not read the {self.modality} of this batch and cannot see it mixed. A "
                "teacher that has answered beforehand (Precomputed, Cached) knows none of it: take Frozen or FromRun."
            )
        others = [other for other in MODALITIES if other != self.modality]
        for name, part in models.items():
            read = [other for other in others if other in part and bool(part[f"present/{other}"].any())]
            if read:
                raise InputError(
                    f"Mix: {name} reads the {' and '.join(read)} of this batch besides its {self.modality}, and "
                    "nothing says which captions are true of two. Mix data of one modality, or leave this callback out."
                )
        first = next(iter(models.values()))
        flag = first[f"present/{self.modality}"]
        order = torch.randperm(int(flag.sum()), device=flag.device)
        cuts = self.cutmix > 0 and (self.mixup == 0 or bool(torch.rand(()) < 0.5))
        strength = self.cutmix if cuts else self.mixup
        share = float(torch.distributions.Beta(strength, strength).sample())
        corner = torch.rand(2).tolist()
        mixed: dict[int, Tensor] = {}  # models with equal preprocessing share the tensor
        for part in models.values():
            medium = part[self.modality]
            if id(medium) not in mixed:
                mixed[id(medium)] = cut_mixed(medium, order, share, corner) if cuts else mixed_up(medium, order, share)
            part[self.modality] = mixed[id(medium)]
            part["view"] = [MIXED_VIEW] * len(part["id"])  # answers to a sample's own view are none to this
        for label in self.labels:
            if label in batch:
                partner = batch[label].clone()
                partner[flag] = batch[label][flag][order]
                batch[f"mixed/{label}"] = partner
        batch["mixed/share"] = share


def mixed_up(medium: Float[Tensor, "N ..."], order: Int64[Tensor, "N"], share: float) -> Float[Tensor, "N ..."]:
    """Return ``share * medium + (1 - share) * medium[order]``."""
    return share * medium + (1 - share) * medium[order]


def cut_mixed(
    image: Float[Tensor, "N 3 H W"], order: Int64[Tensor, "N"], share: float, corner: Sequence[float]
) -> Float[Tensor, "N 3 H W"]:
    """Return the pictures with a rectangle of ``1 - share`` of their area from their partners.

    The rectangle has the picture's proportions and lies inside it, where CutMix lets it stick out: so its area, up to
    whole pixels, is the share of the label at every size.

    Args:
        image: the pictures.
        order: each one's partner.
        share: of the picture that stays.
        corner: of the rectangle, top and left, in parts of the room that there is.
    """
    side = (1 - share) ** 0.5
    height, width = image.shape[-2:]
    tall, wide = round(side * height), round(side * width)
    top, left = round(corner[0] * (height - tall)), round(corner[1] * (width - wide))
    result = image.clone()
    result[..., top : top + tall, left : left + wide] = image[order][..., top : top + tall, left : left + wide]
    return result
