"""Towers of any modalities in one space."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from kdmm.errors import InputError, nearest
from kdmm.models.preprocess import Preprocess
from kdmm.models.towers import Tower
from kdmm.outputs import MODALITIES, Outputs, pair_name, scatter_present

__all__ = ["SharedSpace"]

MAX_LOGIT_SCALE = 100.0  # CLIP's clamp (Radford et al. 2021, https://arxiv.org/abs/2103.00020, section 2.5)
Scales = Literal["one", "pairwise"]


class SharedSpace(nn.Module):
    """One tower a modality, each projected into one space (CLIP, https://arxiv.org/abs/2103.00020, for two of them).

    Gives each modality's embeddings (B, ``embed_dim``) float32 L2-normalized, ``present/<modality>`` (B,),
    ``logit_scale`` exponentiated and at most 100, and ``logit_bias`` if it has one (SigLIP). With pairwise scales also
    ``logit_scale/<one>-<other>`` and ``logit_bias/<one>-<other>``, modalities in alphabetical order, which terms on
    that pair then read; ``logit_scale`` is the first pair's.

    Args:
        towers: by modality: ``image``, ``text``, ``audio``. One alone may share a teacher's space.
        embed_dim: D, the width of the shared space; ``None`` takes the towers' own width, without projections.
        freeze: modalities whose towers are not trained: locked-tower tuning (LiT, https://arxiv.org/abs/2111.07991).
            Their projections are trained.
        dropout: of the features before their projection.
        init_temperature: the contrastive temperature at the start; the scale is its inverse.
        init_logit_bias: the sigmoid loss's bias at the start, -10 in SigLIP (https://arxiv.org/abs/2303.15343);
            ``None`` for a model without one.
        scales: whether the pairs of modalities share one scale and bias or each have their own.
        weights_from: where trained weights of the whole model came from; ``None`` for a model still to be trained.
            Set by whoever loads them.

    Raises:
        InputError: no tower, towers of different width without ``embed_dim``, or an unknown modality.
    """

    def __init__(
        self,
        towers: Mapping[str, Tower],
        embed_dim: int | None = None,
        freeze: Sequence[str] = (),
        dropout: float = 0.0,
        init_temperature: float = 0.07,
        init_logit_bias: float | None = None,
        scales: Scales = "one",
        weights_from: str | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.check_towers(towers)
        widths = {modality: tower.width for modality, tower in towers.items()}
        if embed_dim is None and len(set(widths.values())) > 1:
            listed = " and ".join(f"the {modality} tower is {width} wide" for modality, width in widths.items())
            raise InputError(f"{name}.embed_dim: {listed}; give the width of their shared space.")
        self.towers = nn.ModuleDict(dict(towers))
        self.projections = nn.ModuleDict(
            {
                modality: nn.Identity() if embed_dim is None else nn.Linear(width, embed_dim, bias=False)
                for modality, width in widths.items()
            }
        )
        self.dropout = nn.Dropout(dropout)
        self.embed_dim = next(iter(widths.values())) if embed_dim is None else embed_dim
        self.pairs = [pair_name(*pair) for pair in combinations(towers, 2)] if scales == "pairwise" else []
        shape = (len(self.pairs),) if self.pairs else ()
        self.log_logit_scale = nn.Parameter(torch.full(shape, -math.log(init_temperature)))
        bias = None if init_logit_bias is None else torch.full(shape, float(init_logit_bias))
        self.logit_bias = None if bias is None else nn.Parameter(bias)
        self.weights_from = weights_from
        self.freeze = tuple(freeze)
        for modality in self.freeze:
            if modality not in self.towers:
                raise InputError(f"{name}.freeze: {modality!r} is no tower." + nearest(modality, self.towers.keys()))
            self.lock(modality)

    @classmethod
    def check_towers(cls, towers: Mapping[str, Tower]) -> None:
        """Refuse towers that make no such space.

        Args:
            towers: by modality.

        Raises:
            InputError: they do not.
        """
        for modality in towers:
            if modality not in MODALITIES:
                raise InputError(
                    f"{cls.__name__}.towers: {modality!r} is no modality; towers are for {', '.join(MODALITIES)}."
                    + nearest(modality, MODALITIES)
                )
        if not towers:
            raise InputError(f"{cls.__name__}.towers: none given; give at least one.")

    def lock(self, modality: str) -> None:
        """Keep the weights of a modality's tower as they are."""
        self.towers[modality].requires_grad_(False).eval()

    @property
    def locked(self) -> tuple[str, ...]:
        """The modalities whose towers are frozen."""
        return self.freeze

    @property
    def preprocess(self) -> Preprocess:
        """The towers', which a loaded state may change."""
        towers = {modality: cast(Any, tower) for modality, tower in self.towers.items()}
        return Preprocess(**{modality: tower.preprocess for modality, tower in towers.items()})

    @classmethod
    def gives(cls, arguments: Mapping[str, Any]) -> frozenset[str] | None:
        """Return what a model with these arguments gives; for `kdmm.targets`."""
        towers = arguments.get("towers")
        if not isinstance(towers, Mapping):
            return None
        pairs = {pair_name(*pair) for pair in combinations(map(str, towers), 2)}
        own = {f"{name}/{pair}" for name in ("logit_scale", "logit_bias") for pair in pairs}
        return frozenset({*map(str, towers), "logit_scale", "logit_bias", *own})

    def train(self, mode: bool = True) -> SharedSpace:
        """Set the mode; frozen towers stay in evaluation mode, so that batch norm and dropout do not move."""
        super().train(mode)
        for modality in self.freeze:
            self.towers[modality].eval()
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

    def scales(self) -> dict[str, Tensor]:
        """Return the scale, exponentiated, and the bias, and with pairwise ones each pair's own."""
        found = {"logit_scale": self.log_logit_scale.float().exp().clamp(max=MAX_LOGIT_SCALE)}
        if self.logit_bias is not None:
            found["logit_bias"] = self.logit_bias.float()
        own = {f"{name}/{pair}": each[n] for name, each in found.items() for n, pair in enumerate(self.pairs)}
        return {name: each[0] if self.pairs else each for name, each in found.items()} | own

    def forward(self, batch: Mapping[str, Any]) -> Outputs:
        """Embed what the batch holds.

        Args:
            batch: by modality the inputs of the N samples that have it, such as ``image`` (N, 3, H, W), ``text`` (N, T)
                and ``audio`` (N, T), or ``features/<modality>`` (N, width), what a frozen tower gave for them
                beforehand; ``present/<modality>`` (B,) bool for which samples these are, all of them when left out.
        """
        outputs: dict[str, Tensor] = self.scales()
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
                rows = outputs["logit_scale"].new_zeros((0, self.embed_dim))
            else:
                continue
            outputs[modality] = scatter_present(rows, flag)
            outputs[f"present/{modality}"] = flag
        return outputs
