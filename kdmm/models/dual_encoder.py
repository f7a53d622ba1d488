"""Two towers in one space."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from kdmm.errors import InputError, nearest
from kdmm.models.preprocess import Preprocess
from kdmm.models.towers import ImageTower, TextTower
from kdmm.outputs import Outputs, scatter_present

__all__ = ["DualEncoder"]

MAX_LOGIT_SCALE = 100.0  # CLIP's clamp (Radford et al. 2021, https://arxiv.org/abs/2103.00020, section 2.5)


class DualEncoder(nn.Module):
    """An image tower and a text tower, each projected into a shared space (CLIP, https://arxiv.org/abs/2103.00020).

    Gives ``image`` and ``text`` (B, ``embed_dim``) float32 L2-normalized, ``present/image`` and ``present/text`` (B,),
    ``logit_scale`` exponentiated and at most 100, and ``logit_bias`` if it has one (SigLIP).

    Args:
        image: the image tower.
        text: the text tower.
        embed_dim: D, the width of the shared space; ``None`` takes the towers' own width, without projections.
        freeze: towers that are not trained, ``image`` or ``text``: locked-tower tuning
            (LiT, https://arxiv.org/abs/2111.07991). Their projections are trained.
        dropout: of the features before their projection.
        init_temperature: the contrastive temperature at the start; the scale is its inverse.
        init_logit_bias: the sigmoid loss's bias at the start, -10 in SigLIP (https://arxiv.org/abs/2303.15343);
            ``None`` for a model without one.
        weights_from: where trained weights of the whole model came from; ``None`` for a model still to be trained.
            Set by whoever loads them.

    Raises:
        InputError: towers of different width without ``embed_dim``, or an unknown tower in ``freeze``.
    """

    gives: ClassVar[frozenset[str]] = frozenset({"image", "text", "logit_scale", "logit_bias"})

    def __init__(
        self,
        image: ImageTower,
        text: TextTower,
        embed_dim: int | None = None,
        freeze: Sequence[str] = (),
        dropout: float = 0.0,
        init_temperature: float = 0.07,
        init_logit_bias: float | None = None,
        weights_from: str | None = None,
    ) -> None:
        super().__init__()
        if embed_dim is None and image.width != text.width:
            raise InputError(
                f"DualEncoder.embed_dim: the image tower is {image.width} wide and the text tower {text.width}; "
                "give the width of their shared space."
            )
        self.towers = nn.ModuleDict({"image": image, "text": text})
        self.projections = nn.ModuleDict(
            {
                name: nn.Identity() if embed_dim is None else nn.Linear(tower.width, embed_dim, bias=False)
                for name, tower in (("image", image), ("text", text))
            }
        )
        self.dropout = nn.Dropout(dropout)
        self.embed_dim = image.width if embed_dim is None else embed_dim
        self.log_logit_scale = nn.Parameter(torch.tensor(-math.log(init_temperature)))
        self.logit_bias = None if init_logit_bias is None else nn.Parameter(torch.tensor(float(init_logit_bias)))
        self.preprocess = Preprocess(image=image.preprocess, text=text.preprocess)
        self.weights_from = weights_from
        self.freeze = tuple(freeze)
        for name in self.freeze:
            if name not in self.towers:
                raise InputError(f"DualEncoder.freeze: {name!r} is no tower." + nearest(name, self.towers.keys()))
            self.towers[name].requires_grad_(False).eval()

    def train(self, mode: bool = True) -> DualEncoder:
        """Set the mode; frozen towers stay in evaluation mode, so that batch norm and dropout do not move."""
        super().train(mode)
        for name in self.freeze:
            self.towers[name].eval()
        return self

    def features(self, modality: str, inputs: Tensor) -> Float[Tensor, "N width"]:
        """Return a tower's features of N inputs, without gradient where the tower is frozen."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and modality not in self.freeze):
            features: Tensor = self.towers[modality](inputs)
        return features

    def project(self, modality: str, features: Float[Tensor, "N width"]) -> Float[Tensor, "N D"]:
        """Project N features into the shared space: float32, L2-normalized, whatever the precision of the towers."""
        projected = self.projections[modality](self.dropout(features))
        return F.normalize(projected.float(), dim=-1)

    def forward(self, batch: Mapping[str, Any]) -> Outputs:
        """Embed what the batch holds.

        Args:
            batch: ``image`` (N, 3, H, W) and ``text`` (N, T) of the samples that have them, or ``features/<modality>``
                (N, width), what a frozen tower gave for them beforehand; ``present/<modality>`` (B,) bool for which
                samples these are, all of them when left out.
        """
        scale = self.log_logit_scale.float().exp().clamp(max=MAX_LOGIT_SCALE)
        outputs: dict[str, Tensor] = {"logit_scale": scale}
        if self.logit_bias is not None:
            outputs["logit_bias"] = self.logit_bias.float()
        for modality in self.towers:
            flag = batch.get(f"present/{modality}")
            if modality in batch or f"features/{modality}" in batch:
                features = batch.get(f"features/{modality}")
                if features is None:
                    features = self.features(modality, batch[modality])
                rows = self.project(modality, features)
                if flag is None:
                    flag = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
            elif flag is not None:
                rows = scale.new_zeros((0, self.embed_dim))
            else:
                continue
            outputs[modality] = scatter_present(rows, flag)
            outputs[f"present/{modality}"] = flag
        return outputs
