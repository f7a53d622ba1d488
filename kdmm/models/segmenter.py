"""An encoder and a light decoder: class scores of every pixel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.models.map_encoder import MapEncoder
from kdmm.models.preprocess import Preprocess
from kdmm.outputs import Outputs, scatter_present

__all__ = ["Segmenter"]


class Segmenter(nn.Module):
    """Classifies the pixels of pictures by an encoder and a top-down decoder.

    Gives ``logits`` (B, C, H / s, W / s), s the finest stride of the encoder, 4 as a rule; losses and metrics
    interpolate them to the map of labels. In the manner of a feature pyramid (Lin et al. 2017,
    https://arxiv.org/abs/1612.03144) each map is brought to ``width`` channels, beginning with the coarsest; each is
    interpolated to the next finer size and added there. One depthwise separable convolution follows, where the papers
    have several full ones. Tap ``decoder.smooth`` for the maps before the classifier, ``encoder.trunk...`` for
    the encoder's.

    Args:
        encoder: gives the maps, and says how pictures are prepared.
        classes: C, the background among them if it is a class.
        width: of the decoder.
        dropout: of whole channels before the classifier.
    """

    gives: ClassVar[frozenset[str]] = frozenset({"logits"})

    def __init__(self, encoder: MapEncoder, classes: int, width: int = 64, dropout: float | int = 0.0) -> None:
        super().__init__()
        for setting, value, least in (("classes", classes, 2), ("width", width, 1)):
            if value < least:
                raise InputError(f"Segmenter.{setting}: {value} given; give {least} or more.")
        self.encoder = encoder
        self.decoder = TopDown(encoder.channels, width)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width, classes, 1)
        self.to(memory_format=torch.channels_last)
        self.preprocess = Preprocess(image=encoder.preprocess)

    def forward(self, batch: Mapping[str, Any]) -> Outputs:
        """Classify the pixels of a batch's pictures.

        Args:
            batch: ``image`` (N, 3, H, W), of the samples that have one; ``present/image`` (B,) bool for which samples
                these are, all of them when left out.
        """
        return pixel_outputs(batch, self.encode, self.classifier.out_channels)

    def encode(self, image: Float[Tensor, "N 3 H W"]) -> dict[str, Tensor]:
        """Return the logits of pictures by name."""
        return {"logits": self.classifier(self.dropout(self.decoder(self.encoder(image))))}


class TopDown(nn.Module):
    """Maps of several strides, the finest first, to one of the finest.

    Args:
        channels: of the maps.
        width: of the result.
    """

    def __init__(self, channels: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(each, width, 1) for each in channels)
        self.smooth = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
            nn.Conv2d(width, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )

    def forward(self, maps: list[Tensor]) -> Float[Tensor, "N width H W"]:
        """Add them from the coarsest to the finest."""
        laterals = [lateral(each) for lateral, each in zip(self.lateral, maps, strict=True)]
        total = laterals.pop()
        while laterals:
            finer = laterals.pop()
            total = finer + F.interpolate(total, size=finer.shape[2:], mode="bilinear", align_corners=False)
        smooth: Tensor = self.smooth(total)
        return smooth


def pixel_outputs(batch: Mapping[str, Any], encode: Any, classes: int) -> Outputs:
    """Return the maps of a batch whose pictures may be missing, with ``present/<name>``.

    Args:
        batch: as for a segmenter.
        encode: from pictures (N, 3, H, W) to maps by name.
        classes: of the maps, for a batch without any picture.
    """
    flag = batch.get("present/image")
    if "image" in batch:
        maps: dict[str, Tensor] = encode(batch["image"])
    else:
        assert flag is not None, "a batch without pictures says so"
        maps = {"logits": torch.zeros(0, classes, 1, 1, device=flag.device)}
    if flag is None:
        flag = torch.ones(len(maps["logits"]), dtype=torch.bool, device=maps["logits"].device)
    return {
        **{name: scatter_present(some, flag) for name, some in maps.items()},
        **{f"present/{name}": flag for name in maps},
    }
