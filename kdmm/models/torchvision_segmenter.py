"""torchvision's segmenters: LR-ASPP, DeepLabV3, FCN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import get_model, list_models, segmentation

from kdmm.errors import InputError, nearest
from kdmm.models.files import load_matching, read_state
from kdmm.models.preprocess import ImageTransform, Preprocess
from kdmm.models.segmenter import pixel_outputs
from kdmm.outputs import Outputs

__all__ = ["TorchvisionSegmenter"]

CLASSIFIERS = ("classifier.4", "aux_classifier.4", "classifier.low_classifier", "classifier.high_classifier")
"""The last layers, by what torchvision calls them in its three kinds of segmenters."""


class TorchvisionSegmenter(nn.Module):
    """A segmenter of torchvision, such as LR-ASPP (Howard et al. 2019, https://arxiv.org/abs/1905.02244).

    Gives ``logits`` (B, C, H, W), at the resolution of what it reads; with ``auxiliary`` also those of the head on an
    earlier stage, ``auxiliary``, for a loss of its own in training. DeepLabV3 (Chen et al. 2017,
    https://arxiv.org/abs/1706.05587) normalizes pooled maps over the batch: train it on two pictures or more.

    Args:
        name: ``lraspp_mobilenet_v3_large``, ``deeplabv3_mobilenet_v3_large``, ``deeplabv3_resnet50``,
            ``fcn_resnet50`` and so on.
        classes: C, the background among them if it is a class.
        image_size: side of the square that it reads, pixels.
        auxiliary: whether it has the second head; LR-ASPP has none.
        weights: a path, or ``package:<module>/<path>``, of the whole network's; a file for another number of classes
            serves all but the last layers.

    Raises:
        InputError: unknown name, or weights that are missing or do not fit.
    """

    gives: ClassVar[frozenset[str]] = frozenset({"logits", "auxiliary"})

    def __init__(
        self, name: str, classes: int, image_size: int = 224, auxiliary: bool = False, weights: str | None = None
    ) -> None:
        super().__init__()
        TorchvisionSegmenter.check_arguments({"name": name, "classes": classes})
        if auxiliary and name.startswith("lraspp"):
            raise InputError(f"TorchvisionSegmenter.auxiliary: {name!r} has no second head. Leave it out.")
        heads = {"aux_loss": True} if auxiliary else {}
        self.network = get_model(name, weights=None, weights_backbone=None, num_classes=classes, **heads)
        self.classes = classes
        if weights is not None:
            self._load(weights)
        self.preprocess = Preprocess(image=ImageTransform(image_size, resize_mode="squash"))

    @staticmethod
    def check_arguments(arguments: Mapping[str, Any]) -> None:
        """Refuse a wrong name or number of classes before anything is built.

        Args:
            arguments: of a ``_target_`` node.

        Raises:
            InputError: as when it is made.
        """
        name, classes = arguments["name"], arguments["classes"]
        if not (isinstance(name, str) and isinstance(classes, int)):  # nodes, which are not built
            return
        known = list_models(module=segmentation)
        if name not in known:
            raise InputError(
                f"TorchvisionSegmenter.name: torchvision has no segmenter {name!r}; it has {', '.join(known)}."
                + nearest(name, known)
            )
        if classes < 2:
            raise InputError(f"TorchvisionSegmenter.classes: {classes} given; give 2 or more.")

    def _load(self, weights: str) -> None:
        state, own = read_state(weights), self.network.state_dict()
        for name in own:
            last = name.rpartition(".")[0] in CLASSIFIERS
            if last and name in state and state[name].shape != own[name].shape:
                state[name] = own[name]
        load_matching(self.network, state, weights)

    def forward(self, batch: Mapping[str, Any]) -> Outputs:
        """Classify the pixels of a batch's pictures.

        Args:
            batch: as for :class:`kdmm.models.Segmenter`.
        """
        return pixel_outputs(batch, self.encode, self.classes)

    def encode(self, image: Float[Tensor, "N 3 H W"]) -> dict[str, Tensor]:
        """Return the logits of pictures by name."""
        found = self.network(image)
        return {ours: found[theirs] for ours, theirs in (("logits", "out"), ("auxiliary", "aux")) if theirs in found}
