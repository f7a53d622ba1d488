"""What a family of torchvision's detectors is, without torchvision's switch between training and evaluation.

Torchvision's ``forward`` returns either losses or detections, for all pictures. Here a detector's parts run one after
another, so that each layer runs once a pass in both modes (which taps need), losses are of the marked pictures alone,
and evaluation has losses too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from jaxtyping import Float, Int64
from torch import Tensor, nn

__all__ = ["Family", "Found", "Limits", "Target"]


class Target(NamedTuple):
    """What is marked in one picture.

    Attributes:
        boxes: (x1, y1, x2, y2), pixels of the detector's input.
        classes: their numbers.
    """

    boxes: Float[Tensor, "_ 4"]
    classes: Int64[Tensor, "_"]


@dataclass(frozen=True)
class Limits:
    """Which detections there are.

    Args:
        score_threshold: their scores are above it.
        overlap: of two boxes of one class with a larger intersection over union, one is left.
        most: K, of one picture.
    """

    score_threshold: float
    overlap: float
    most: int


@dataclass
class Found:
    """What a pass over N pictures finds; boxes in pixels of the detector's input.

    Args:
        dense: ``class_logits`` (N, A, C), whose sigmoid is the class's score, ``anchor_boxes`` (N, A, 4) and
            ``anchors`` (N, A, 4); empty for two-stage detectors.
        losses: by part; empty where no marks were given.
        detections: (N, K, 6) and which of them there are (N, K), as from `padded`; ``None`` in training.
    """

    dense: dict[str, Tensor] = field(default_factory=dict)
    losses: dict[str, Tensor] = field(default_factory=dict)
    detections: tuple[Tensor, Tensor] | None = None


class Family(ABC):
    """One family of torchvision's detectors.

    Attributes:
        background: how many numbers its classes have before the first of ours.
        parts: of its loss.
        gives: what `Found.dense` holds.
    """

    background: ClassVar[int]
    parts: ClassVar[tuple[str, ...]]
    gives: ClassVar[frozenset[str]] = frozenset()

    def arguments(self, at: Limits) -> dict[str, Any]:
        """Return what torchvision's constructor is told of the limits."""
        return {}

    @abstractmethod
    def run(
        self, detector: nn.Module, image: Float[Tensor, "N 3 S S"], targets: Sequence[Target | None] | None, at: Limits
    ) -> Found:
        """Run a detector.

        Args:
            detector: of the family.
            image: the pictures, preprocessed.
            targets: of each picture, ``None`` for one that is not marked; or ``None``: marks are not known.
            at: the detections' limits.
        """

    def given(self, targets: Sequence[Target]) -> list[dict[str, Tensor]]:
        """Return targets as torchvision takes them."""
        return [{"boxes": each.boxes, "labels": each.classes + self.background} for each in targets]

    def no_loss(self, computed: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return zeros that have gradients of zero to what was computed, so that every rank has a backward pass."""
        nothing: Tensor = sum((x[:0].float().sum() for x in computed[1:]), computed[0][:0].float().sum())
        return dict.fromkeys(self.parts, nothing)
