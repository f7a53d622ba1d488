"""What every model that writes does: teacher forcing in training, and texts when it is asked for them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.models.preprocess import Preprocess
from kdmm.models.tokens import KeptTokens, TextTokens
from kdmm.models.writing.decoder import Memory, TextDecoder
from kdmm.outputs import IGNORED, Outputs, scatter_present

__all__ = ["Writer"]

CROSS_ATTENTION = "cross_attention."


class Writer(nn.Module, ABC):
    """Writes a text about what it reads of a sample.

    In training it is shown the text before each token that it scores. It gives ``logits`` (B, T, V), of which
    ``logits[:, t]`` predict token t, the end among them; ``tokens`` (B, T), these tokens themselves, -100 at padding
    and in samples without a text or without what is read; ``valid/logits`` (B, T) and ``present/logits`` (B,). Further
    activations of the network stand beside them under their own names, with ``valid/<name>`` and ``present/<name>``;
    those of what is read are of every sample that has it. Of the decoder's ``cross_attention.<i>`` (B, heads, T, P),
    ``keys/<name>`` (B, P) says which places of what was read count.

    Args:
        text: the tokenizer of what is written.
    """

    modality: str
    """The modality that is read: a class's own, or a model's."""

    def __init__(self, text: TextTokens) -> None:
        super().__init__()
        self.kept_text = KeptTokens(text)

    @property
    def text(self) -> TextTokens:
        """The tokenizer of what is written."""
        return self.kept_text.tokens

    @property
    @abstractmethod
    def preprocess(self) -> Preprocess:
        """How what is read is prepared, and the text."""

    @property
    @abstractmethod
    def decoder(self) -> TextDecoder:
        """What writes."""

    @abstractmethod
    def read(self, inputs: Tensor) -> Memory:
        """Read what the batch holds of a modality.

        Args:
            inputs: as `preprocess` prepares it, of the N samples that have it.
        """

    def read_features(self, features: Tensor) -> Memory:
        """Read what a locked part of this network has given beforehand, see :class:`kdmm.models.LockedTowers`.

        Args:
            features: (N, ...) of the N samples that have what is read; of a network without such a part the inputs.
        """
        return self.read(features)

    @property
    @abstractmethod
    def blank(self) -> Tensor:
        """An input of one sample (1, ...) that stands in for a batch without any: networks refuse to read nothing."""

    def read_nothing(self) -> Memory:
        """Read `blank`."""
        return self.read(self.blank)

    def forward(self, batch: Mapping[str, Any]) -> Outputs:
        """Score the texts of a batch.

        Args:
            batch: what is read, of the samples that have it, or ``features/<modality>``, what a locked part gave of it;
                ``text`` (N, T) tokens, of the samples that have one;
                ``present/<modality>`` (B,) bool for which samples these are, all of them when left out.
        """
        features = batch.get(f"features/{self.modality}")
        inputs: Tensor = batch.get(self.modality, self.blank[:0]) if features is None else features
        text: Tensor = batch.get("text", torch.full((0, 1), self.text.pad, device=inputs.device))
        has_input, has_text = _flag(batch, self.modality, inputs), _flag(batch, "text", text)
        if len(has_input) != len(has_text):
            raise InputError(
                f"{type(self).__name__}: the batch has {len(has_input)} samples with or without {self.modality}, and "
                f"{len(has_text)} with or without text. Give `present/{self.modality}` and `present/text`."
            )
        both = has_input & has_text
        read_rows = self.read if features is None else self.read_features
        memory = read_rows(inputs) if len(inputs) else self.read_nothing()
        text = text[has_input[has_text]]
        if len(text):
            read = memory.rows(has_text[has_input])
        else:  # the first stands in, without a text
            read, text = memory.first, text[:, :1]
        begin = text.new_full((len(read.places), 1), self.text.begin)
        scored = self.decoder(read, torch.cat([begin, text[:, :-1]], 1) if len(text) else begin)
        is_token = text != self.text.pad
        outputs = {"tokens": _places(torch.where(is_token, text, IGNORED), both, IGNORED)}
        read_places = memory.valid[: len(inputs)]
        for some, valid, flag in ((scored, is_token, both), (memory.further, read_places, has_input)):
            for name, rows in some.items():
                outputs[name] = scatter_present(rows[: len(valid)], flag)
                outputs[f"valid/{name}"] = _places(valid, flag, False)
                outputs[f"present/{name}"] = flag
        for name in scored:
            if name.startswith(CROSS_ATTENTION):
                outputs[f"keys/{name}"] = _places(read.valid[: len(text)], both, False)
        return outputs

    @torch.no_grad()
    def generate(
        self, inputs: Tensor, beams: int = 1, max_tokens: int | None = None, are_features: bool = False
    ) -> list[str]:
        """Write about each of N samples, in evaluation mode.

        Args:
            inputs: as `preprocess` prepares them, (N, ...).
            beams: the beginnings that are kept beside each other; 1 takes the best token each time.
            max_tokens: the most that are written, with the end; ``None``: the tokenizer's ``context_length``.
            are_features: the inputs are what a locked part has given beforehand (`read_features`).

        Raises:
            InputError: fewer than one beam or token.
        """
        return self._written(self.read_features if are_features else self.read, inputs, beams, max_tokens)

    @torch.no_grad()
    def hypotheses(self, inputs: Tensor, beams: int, max_tokens: int | None = None) -> list[list[str]]:
        """Write about each of N samples as many texts as there are beams, in evaluation mode.

        Args:
            inputs: as for `generate`.
            beams: as for `generate`.
            max_tokens: as for `generate`.

        Returns:
            Each sample's texts, the best first, which is `generate`'s. Texts of other tokens may read alike.

        Raises:
            InputError: fewer than one beam or token.
        """
        texts = self._written(self.read, inputs, beams, max_tokens, best=beams)
        return [texts[start : start + beams] for start in range(0, len(texts), beams)]

    def _written(
        self, read: Callable[[Tensor], Memory], inputs: Tensor, beams: int, max_tokens: int | None, best: int = 1
    ) -> list[str]:
        wanted = self.text.context_length if max_tokens is None else max_tokens
        for setting, value in (("beams", beams), ("max_tokens", wanted)):
            if value < 1:
                raise InputError(f"generate.{setting}: {value} given; give at least 1.")
        training = self.training
        self.eval()
        try:
            return self.text.decode(self.decoder.write(read(inputs), self.text, beams, wanted, best))
        finally:
            self.train(training)


def _flag(batch: Mapping[str, Any], modality: str, rows: Tensor) -> Tensor:
    flag = batch.get(f"present/{modality}")
    return torch.ones(len(rows), dtype=torch.bool, device=rows.device) if flag is None else cast(Tensor, flag)


def _places(rows: Tensor, flag: Tensor, absent: bool | int) -> Tensor:
    """Return the rows (N, T) of the samples that are present at their places among B rows, the others filled."""
    placed = rows.new_full((len(flag), rows.shape[1]), absent)
    placed[flag] = rows
    return placed
