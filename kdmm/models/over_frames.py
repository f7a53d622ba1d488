"""A model of pictures and captions that looks at clips."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.models.preprocess import Preprocess
from kdmm.models.video import Frames, encode_different
from kdmm.outputs import Outputs, scatter_present

__all__ = ["OverFrames"]

IMAGE, VIDEO = "image", "video"


class OverFrames(nn.Module):
    """A trained model of pictures, for clips: the mean of the frames' embeddings, normalized.

    The parameter-free type of CLIP4Clip (Luo et al. 2021, arXiv:2104.08860, section 3.3.1). Gives ``video`` (B, D) and
    ``present/video`` in the place of the model's ``image``, and all else that it gives. A frame that equals the one
    before it is not encoded again.

    Args:
        model: gives ``image``, such as a DualEncoder.
        frames: F, how many of a clip are seen.

    Raises:
        InputError: the model reads no pictures, or reads clips itself.
    """

    def __init__(self, model: nn.Module, frames: int) -> None:
        super().__init__()
        read = cast(Preprocess, model.preprocess)
        if read.image is None or read.video is not None:
            raise InputError(
                f"OverFrames.model: {type(model).__name__} reads {', '.join(read.modalities) or 'nothing'}; give a "
                "model that reads pictures and no clips."
            )
        self.model = model
        self.count = frames

    @property
    def preprocess(self) -> Preprocess:
        """The model's, of each frame in the place of the picture."""
        read = cast(Preprocess, self.model.preprocess)
        assert read.image is not None
        kept = {name: each for name, each in (read.media | read.written).items() if name != IMAGE}
        return Preprocess(**cast(Any, kept), video=Frames(self.count, read.image))

    def forward(self, batch: Mapping[str, Any]) -> Outputs:
        """Embed what the batch holds.

        Args:
            batch: ``video`` (N, F, 3, H, W) of the N samples that have it, ``present/video`` (B,), and what else the
                model reads.
        """
        others = {name: x for name, x in batch.items() if name not in (VIDEO, IMAGE, "present/image")}
        outputs = dict(self.model(others))
        if VIDEO not in batch:
            flag = batch.get(f"present/{VIDEO}")
            if flag is not None:
                nothing: Outputs = self.model({**others, "present/image": flag})
                outputs |= {VIDEO: nothing[IMAGE], f"present/{VIDEO}": flag}
            return outputs
        video: Tensor = batch[VIDEO]
        frames = encode_different(video, lambda pictures: self.model({IMAGE: pictures})[IMAGE])
        flag = batch.get(f"present/{VIDEO}", torch.ones(len(video), dtype=torch.bool, device=video.device))
        outputs |= {VIDEO: scatter_present(F.normalize(frames.mean(1), dim=-1), flag), f"present/{VIDEO}": flag}
        return outputs
