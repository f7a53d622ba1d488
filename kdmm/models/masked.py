"""A model that also looks at every training picture with parts of it hidden."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from kdmm import targets
from kdmm.errors import InputError
from kdmm.models.preprocess import Preprocess
from kdmm.outputs import Outputs

__all__ = ["MASKED", "Masked", "hide_patches"]

MASKED = "_masked"
"""What is appended to the names of the answer to masked pictures."""


def hide_patches(image: Float[Tensor, "N 3 H W"], patch: int, ratio: float) -> Float[Tensor, "N 3 H W"]:
    """Set a part of each picture's patches to zero, the mean of normalized pictures.

    Exactly ``round(ratio * patches)`` patches of a picture are hidden, drawn from PyTorch's generator for each picture
    and alike in all channels. At the right and lower border patches are smaller where the side is no multiple.

    Args:
        image: the pictures.
        patch: side of a patch, pixels.
        ratio: how many of the patches are hidden.
    """
    rows, columns = (-(-side // patch) for side in image.shape[-2:])
    rank = torch.rand(len(image), rows * columns, device=image.device).argsort(1).argsort(1)
    shown = (rank >= round(ratio * rows * columns)).to(image.dtype).reshape(-1, 1, rows, columns)
    whole = F.interpolate(shown, scale_factor=float(patch), mode="nearest")
    return image * whole[..., : image.shape[-2], : image.shape[-1]]


class Masked(nn.Module):
    """Runs a model on each training batch and again on its pictures with patches hidden.

    The second answer has the first one's names with ``_masked`` after them: ``image_masked``. Held against what the
    teacher says of the whole picture, ``FeatureMatch(student="image_masked", teacher="image")``, it is CLIP-KD's masked
    feature distillation (Yang et al. 2024, https://arxiv.org/abs/2307.12732). There a transformer leaves hidden patches
    out or replaces them by a token; here they are zero in the picture, which any network can read. A step takes a
    second pass through the image tower, and batch norm sees both. In evaluation both names stand for the whole picture.

    Args:
        model: any model that reads pictures and gives Outputs.
        patch: side of a patch, pixels.
        ratio: how many of the patches are hidden, above 0 and below 1; CLIP-KD takes 0.75.
    """

    def __init__(self, model: nn.Module, patch: int = 16, ratio: float = 0.75) -> None:
        super().__init__()
        if patch < 1:
            raise InputError(f"Masked.patch: {patch} given; a patch is at least 1 pixel wide.")
        if not 0 < ratio < 1:
            raise InputError(f"Masked.ratio: {ratio} given; it is a part of the patches, above 0 and below 1.")
        self.model = model
        self.patch = patch
        self.ratio = ratio

    @classmethod
    def gives(cls, arguments: Mapping[str, Any]) -> frozenset[str] | None:
        """Return what the model gives, and its ``image`` once more; None if it does not say."""
        given = targets.gives(arguments.get("model"))
        return None if given is None else given | {f"image{MASKED}"}

    @property
    def preprocess(self) -> Preprocess:
        """The model's."""
        return cast(Preprocess, self.model.preprocess)

    def forward(self, batch: Mapping[str, Any]) -> Outputs:
        """Run the model."""
        whole: Outputs = self.model(batch)
        hidden = whole
        if self.training and "image" in batch:
            pictures = {name: value for name, value in batch.items() if name in ("id", "view", "present/image")}
            hidden = self.model({**pictures, "image": hide_patches(batch["image"], self.patch, self.ratio)})
        again = {f"{name}{MASKED}": hidden[name] for name in ("image", "present/image") if name in hidden}
        return {**whole, **again}
