"""aiSFX, an encoder of sound effects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor, nn

from kdmm.atomic import writing
from kdmm.errors import InputError
from kdmm.models.audio.log_mel import LogMel
from kdmm.models.audio.waveform import Fill, Waveform
from kdmm.models.files import load_matching, locate, read_state
from kdmm.models.towers.audio import AudioTower

__all__ = ["AiSfx", "convert"]

WIDTHS = (64, 128, 256, 512)
PART, STEP = 100, 50  # frames that the network looks at, and from one such part to the next
HIGHEST = 9.457798957824707  # of the training set's spectrograms, which the authors scale to [0, 1]
PLACES = {"conv1": 0, "bn1": 1, "conv2": 3, "bn2": 4}


class AiSfx(AudioTower):
    """The network of aiSFX (Ma and Lerch 2022, https://zenodo.org/record/7316800).

    Trained on libraries of sound effects: four blocks of two 3 x 3 convolutions, 4.7 million parameters, 512 features.
    It looks at parts of 2.3 s, each beginning half a part after the one before; the tower gives their mean. The front
    end is that of the authors' package with librosa, which scales a sound to a peak of 1; here that is the peak of what
    is heard. They trained with Essentia's spectrograms, and their package says that this front end may do less well.

    Args:
        seconds: of sound that it hears.
        weights: a file that :func:`kdmm.models.audio.aisfx.convert` wrote; ``None`` starts at random.
        fill: how shorter sounds are filled, as for :class:`kdmm.models.Waveform`.

    Raises:
        InputError: weights that are missing or do not fit.
    """

    def __init__(self, seconds: float | int, weights: str | None = None, fill: Fill = "repeat_pad") -> None:
        super().__init__()
        self.log_mel = LogMel(
            rate=44_100,
            n_fft=2048,
            hop=1024,
            mels=96,
            padding="zeros",
            f_min=0.0,
            scale="htk",
            norm="sum",
            log="log10_1p",
            std=HIGHEST,
        )
        self.preprocess = Waveform(self.log_mel.rate, seconds, fill)
        last = len(WIDTHS) - 1
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    *_convolution(before, width), *_convolution(width, width), *[nn.MaxPool2d(2)] * (n < last)
                )
                for n, (before, width) in enumerate(zip((1, *WIDTHS[:-1]), WIDTHS, strict=True))
            )
        )
        self.width = WIDTHS[-1]
        if weights is not None:
            load_matching(self, read_state(weights), weights)
        self.to(memory_format=torch.channels_last)

    def forward(self, audio: Float[Tensor, "N T"]) -> Float[Tensor, "N width"]:
        """Encode sounds."""
        audio = audio.float()
        peak = audio.abs().amax(1, keepdim=True)
        mel = self.log_mel(audio / torch.where(peak > 0, peak, 1)).transpose(1, 2)
        mel = F.pad(mel, (0, 0, 0, max(0, PART - mel.shape[1])))
        parts = mel.unfold(1, PART, STEP).transpose(2, 3)  # (N, parts, PART, M); a part that is not whole is left out
        pictures = parts.flatten(0, 1).unsqueeze(1).to(self.blocks[0][0].weight.dtype)  # type: ignore[index]
        maps: Tensor = self.blocks(pictures.contiguous(memory_format=torch.channels_last))
        return maps.mean(3).amax(2).reshape(*parts.shape[:2], self.width).mean(1)


def _convolution(before: int, width: int) -> list[nn.Module]:
    return [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]


def convert(checkpoint: Path, target: Path) -> None:
    """Write the weights of aiSFX's checkpoint as ``.safetensors``, for :class:`AiSfx`. Its classifiers are left out.

    The package's file, ``aisfx/models/checkpoint.pth``, is a pickle. It is read without running anything in it: besides
    tensors only numpy's numbers are let through, which are the places of the training sets.

    Args:
        checkpoint: a path, or ``package:aisfx/models/checkpoint.pth``.
        target: the ``.safetensors`` file; an existing one is replaced.

    Raises:
        InputError: there is no such checkpoint, or it is another.
    """
    state = {_renamed(name): value for name, value in _embedding_net(checkpoint).items()}
    load_matching(AiSfx(1.0), state, str(checkpoint))
    with writing(target) as partial:
        save_file({name: value.contiguous() for name, value in state.items()}, partial)


def _embedding_net(checkpoint: Path) -> Mapping[str, Tensor]:
    file = Path(locate(str(checkpoint)))
    if not file.is_file():
        raise InputError(f"checkpoint: {str(checkpoint)!r} is no file. Give aiSFX's checkpoint.pth.")
    number = np.int64(0).__reduce__()[0]  # what rebuilds numpy's numbers; its home has moved between numpy's versions
    allowed: list[Any] = [(number, "numpy.core.multiarray.scalar"), (number, "numpy._core.multiarray.scalar")]
    with torch.serialization.safe_globals([*allowed, np.dtype, np.dtypes.Int64DType]):
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)[0]
            found = {name: value for name, value in state.items() if name.startswith("embedding_net.")}
        except Exception as error:  # pickle's own error classes, and whatever a file of another kind leads to
            raise InputError(
                f"checkpoint: {str(checkpoint)!r} cannot be read as aiSFX's ({str(error).splitlines()[0]}). Give the "
                "checkpoint.pth of the package aisfx 0.1.2."
            ) from error
    return found


def _renamed(name: str) -> str:
    """Turn ``embedding_net.conv_block1.bn2.weight`` into ``blocks.0.4.weight``."""
    parts = re.fullmatch(r"embedding_net\.conv_block(\d)\.(conv[12]|bn[12])\.(\w+)", name)
    return f"blocks.{int(parts[1]) - 1}.{PLACES[parts[2]]}.{parts[3]}" if parts else name
