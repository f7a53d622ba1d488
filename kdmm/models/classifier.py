"""One tower and a linear layer: class scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.models.preprocess import Preprocess
from kdmm.models.towers import Tower
from kdmm.outputs import Outputs, scatter_present

__all__ = ["Classifier"]


class Classifier(nn.Module):
    """Classifies pictures, texts, sounds or clips by a tower and a linear layer.

    Gives ``logits`` (B, C) and ``features`` (B, width), what the tower gives to the linear layer, in the precision that
    they are computed in, with ``present/<name>`` (B,).

    Args:
        tower: of any modality.
        classes: C.
        dropout: of the features before the linear layer.
    """

    gives: ClassVar[frozenset[str]] = frozenset({"logits", "features"})

    def __init__(self, tower: Tower, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        if classes < 2:
            raise InputError(f"Classifier.classes: {classes} given; give 2 or more.")
        self.tower = tower
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(tower.width, classes)

    @property
    def preprocess(self) -> Preprocess:
        """The tower's, which a loaded state may change."""
        return Preprocess(**{self.tower.modality: cast(Any, self.tower.preprocess)})

    def forward(self, batch: Mapping[str, Any]) -> Outputs:
        """Classify what the batch holds.

        Args:
            batch: what the tower reads, such as ``image`` (N, 3, H, W), of the samples that have it;
                ``present/<modality>`` (B,) bool for which samples these are, all of them when left out.
        """
        modality = self.tower.modality
        flag = batch.get(f"present/{modality}")
        if modality in batch:
            features: Tensor = self.tower(batch[modality])
            logits: Tensor = self.head(self.dropout(features))
        else:
            assert flag is not None, "a batch without the modality says so"
            features = self.head.weight.new_zeros((0, self.head.in_features))
            logits = self.head(features)
        if flag is None:
            flag = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
        rows = {"logits": logits, "features": features}
        return {
            **{name: scatter_present(some, flag) for name, some in rows.items()},
            **{f"present/{name}": flag for name in rows},
        }
