"""A trained model without its modality gap: each modality's embeddings are moved by a constant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from kdmm import targets
from kdmm.errors import InputError
from kdmm.models.preprocess import Preprocess
from kdmm.outputs import Outputs, present

__all__ = ["Shifted", "shift"]


def shift(
    embeddings: Float[Tensor, "N D"],
    centroid: Float[Tensor, "D"],
    target: Float[Tensor, "D"],
    amount: float | int = 1.0,
) -> Float[Tensor, "N D"]:
    """Move embeddings by ``amount * (target - centroid)`` and L2-normalize them again.

    Args:
        embeddings: of one modality.
        centroid: the modality's mean embedding.
        target: where it is to be.
        amount: the share of the way: 1 all of it, 0 none, above 1 beyond.
    """
    return F.normalize(embeddings + amount * (target - centroid), dim=-1)


class Shifted(nn.Module):
    """Moves a trained model's modalities to their common centre.

    Each modality's embeddings are moved by ``amount * (the mean of all centroids - its own)`` and normalized again. For
    two this is the shift of Liang et al. 2022, arXiv:2203.02053: half of ``amount`` times the gap off one, and as much
    onto the other. What is not an embedding passes through. This is for a model whose training is done. The centroids
    are kept in a buffer, so that they are saved with it::

        model = Shifted(trained, ["image", "text"], trained.embed_dim)
        model.set_centroids({"image": training_images, "text": training_texts})

    A gap that is a constant is closed to nothing. Normalizing again changes the means a little where it is not.
    Centroids are to come from training data: those of the data that is measured would know it.

    Args:
        model: any model that embeds these modalities.
        modalities: two or more that share a space.
        embed_dim: D, the width of the space.
        amount: the share of the gap that is closed; 0 changes nothing.
    """

    def __init__(self, model: nn.Module, modalities: Sequence[str], embed_dim: int, amount: float | int = 1.0) -> None:
        super().__init__()
        if isinstance(modalities, str) or len(modalities) < 2 or len(set(modalities)) < len(modalities):
            raise InputError(
                f"Shifted.modalities: {modalities!r} given; give two or more different ones, such as [image, text]."
            )
        self.model = model
        self.modalities = tuple(modalities)
        self.amount = amount
        self.centroids: Tensor
        self.register_buffer("centroids", torch.full((len(self.modalities), embed_dim), torch.nan))

    @classmethod
    def gives(cls, arguments: Mapping[str, Any]) -> frozenset[str] | None:
        """Return what the model gives; None if it does not say."""
        return targets.gives(arguments.get("model"))

    @property
    def preprocess(self) -> Preprocess:
        """The model's."""
        return cast(Preprocess, self.model.preprocess)

    @torch.no_grad()
    def set_centroids(self, embeddings: Mapping[str, Tensor]) -> None:
        """Set each modality's centroid to the mean of embeddings (N, D), of which each modality has its own N.

        Args:
            embeddings: by modality, what the model gives for its training data.

        Raises:
            InputError: a modality is missing, has no embeddings or some of another width.
        """
        for place, modality in enumerate(self.modalities):
            if modality not in embeddings:
                raise InputError(
                    f"Shifted: no embeddings of {modality!r} among {', '.join(embeddings) or 'none'}; each of "
                    f"{', '.join(self.modalities)} needs some."
                )
            rows = embeddings[modality]
            if not len(rows) or rows.shape[1] != self.centroids.shape[1]:
                raise InputError(
                    f"Shifted: the embeddings of {modality!r} are {tuple(rows.shape)}, and some of width "
                    f"{self.centroids.shape[1]} are needed: set `embed_dim` to the model's."
                )
            self.centroids[place] = rows.double().mean(0)

    def forward(self, batch: Mapping[str, Any]) -> Outputs:
        """Run the model, and move its embeddings.

        Raises:
            InputError: the centroids have not been set.
        """
        if self.centroids.isnan().any():
            raise InputError("Shifted: the centroids are not known. Call `set_centroids` with training embeddings.")
        outputs: Outputs = self.model(batch)
        target = self.centroids.mean(0)
        moved = {}
        for modality, centroid in zip(self.modalities, self.centroids, strict=True):
            if modality in outputs:
                rows = shift(outputs[modality], centroid, target, self.amount)
                moved[modality] = torch.where(present(outputs, modality)[:, None], rows, 0.0)
        return {**outputs, **moved}
