"""Captioners: a picture, a clip or a sound is read, and a text about it is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from PIL import Image
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.models.audio.clip import AudioClip
from kdmm.models.audio.waveform import Waveform
from kdmm.models.map_encoder import MapEncoder
from kdmm.models.preprocess import Preprocess
from kdmm.models.tokens import TextTokens
from kdmm.models.towers import Tower
from kdmm.models.video import VideoClip
from kdmm.models.writing import Memory, Places, TextDecoder, Writer, places_of

__all__ = ["Captioner"]

WRITTEN_ABOUT = ("image", "audio", "video")
BLANK_SIDE, BLANK_RATE = 8, 16_000  # pixels and Hz of what stands in for no medium; any would do


class Captioner(Writer):
    """Writes about pictures, clips or sounds, whichever its tower reads (Vinyals et al. 2015, arXiv:1411.4555).

    What it gives is said at :class:`kdmm.models.writing.Writer`, and further activations at its decoder. Beside them
    stand ``places`` (B, P, tower's width), what the tower gives of every sample that has the medium, captioned or not.

    Args:
        tower: a tower, whose one vector is looked at; a :class:`kdmm.models.MapEncoder` such as ``TimmMaps``, of whose
            coarsest map every place is; or other places, such as `kdmm.models.FramePlaces` of a clip's frames.
        decoder: writes; its width is that of what it looks at.
        text: the tokenizer of what is written.
        freeze: whether the tower keeps its weights and stays in evaluation mode.
        dropout: of what the tower gives.

    Raises:
        InputError: a tower of texts.
    """

    def __init__(
        self,
        tower: Tower | MapEncoder | Places,
        decoder: TextDecoder,
        text: TextTokens,
        freeze: bool = False,
        dropout: float | int = 0.0,
    ) -> None:
        super().__init__(text)
        self.tower = places_of(tower)
        self.modality = self.tower.modality
        if self.modality not in WRITTEN_ABOUT:
            raise InputError(
                f"Captioner.tower: {type(tower).__name__} reads {self.modality}. Take a tower of "
                f"{', '.join(WRITTEN_ABOUT)}; of texts, kdmm.models.Seq2Seq."
            )
        self.projection = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(self.tower.width, decoder.width), nn.LayerNorm(decoder.width)
        )
        self.network = decoder
        self.freeze = freeze
        if freeze:
            self.tower.requires_grad_(False).eval()

    @property
    def preprocess(self) -> Preprocess:
        """The tower's, which a loaded state may change, and the tokenizer."""
        return Preprocess(**{self.modality: cast(Any, self.tower.preprocess)}, text=self.text)

    @property
    def decoder(self) -> TextDecoder:
        """What writes."""
        return self.network

    @property
    def blank(self) -> Tensor:
        """A black picture or clip, or silence."""
        prepare = self.tower.preprocess
        picture = Image.new("RGB", (BLANK_SIDE, BLANK_SIDE))
        rate = prepare.rate if isinstance(prepare, Waveform) else BLANK_RATE  # so that nothing is resampled
        silence = AudioClip(torch.zeros(1, rate), rate)
        media = {"image": picture, "video": VideoClip((picture,)), "audio": silence}
        return prepare(media[self.modality])[None].to(next(self.parameters()).device)

    def train(self, mode: bool = True) -> Captioner:
        """Set the mode; a frozen tower stays in evaluation mode, so that its batch statistics do not move."""
        super().train(mode)
        if self.freeze:
            self.tower.eval()
        return self

    def read(self, inputs: Tensor) -> Memory:
        """Read media.

        Args:
            inputs: (N, ...) as the tower prepares them.
        """
        return self.read_features(self.features(self.modality, inputs))

    @property
    def locked(self) -> tuple[str, ...]:
        """The modality that the tower reads, if it is frozen."""
        return (self.modality,) if self.freeze else ()

    @property
    def towers(self) -> nn.Module:
        """The tower."""
        return self.tower

    def features(self, modality: str, inputs: Tensor) -> Tensor:
        """Return the places (N, P, tower's width) of media, without gradient where the tower is frozen."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze):
            places: Tensor = self.tower(inputs)
        return places

    def read_features(self, features: Tensor) -> Memory:
        """Read the places (N, P, tower's width) of media."""
        valid = torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
        return Memory(self.projection(features), valid, {"places": features})

    def read_nothing(self) -> Memory:
        """Read `blank` without a trace in the tower's batch statistics."""
        training = self.tower.training
        self.tower.eval()
        try:
            return super().read_nothing()
        finally:
            self.tower.train(training and not self.freeze)

    def describe(
        self, media: Sequence[Any], beams: int = 1, max_tokens: int | None = None, batch_size: int = 64
    ) -> list[str]:
        """Write about media.

        Args:
            media: PIL pictures, AudioClips or VideoClips, whichever the tower reads.
            beams: as for `generate`.
            max_tokens: as for `generate`.
            batch_size: media at a time.
        """
        device, texts = next(self.parameters()).device, []
        for start in range(0, len(media), batch_size):
            some = [self.tower.preprocess(each) for each in media[start : start + batch_size]]
            texts += self.generate(torch.stack(some).to(device), beams, max_tokens)
        return texts
