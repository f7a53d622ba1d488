"""Masked language models: texts are read with tokens hidden, and these are guessed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kdmm.errors import InputError
from kdmm.models.files import locate
from kdmm.models.named_tokens import TransformerTokens, transformers_tokenizer
from kdmm.models.preprocess import Preprocess
from kdmm.models.tied import keep_tied_once
from kdmm.models.token_masks import mask_draws, mask_tokens, masked_counts
from kdmm.models.towers import TransformerText
from kdmm.outputs import IGNORED, Outputs, scatter_present

__all__ = ["MaskedLM"]


class MaskedLM(nn.Module):
    """Guesses the hidden tokens of texts by a transformers encoder: BERT's pre-training (`mask_tokens`).

    Which tokens are hidden is a function of the seed, the sample's id and its view, in evaluation as in training: two
    models of one vocabulary and the same settings see the same gaps, and a pass sees others than the one before, unless
    the data's ``views`` say how many there are. Gives ``logits`` (B, P, V), ``tokens`` (B, P), the hidden tokens, -100
    at other places, and ``valid/logits`` (B, P) and ``present/logits`` (B,).

    With `TokenKL`, ``SequenceCrossEntropy(label="student.tokens")`` and `HiddenStates` by cosine of the tower's last
    ``states`` these are DistilBERT's three losses (Sanh et al. 2019, https://arxiv.org/abs/1910.01108). We differ from
    its code in that all tokens are hidden alike often; there rare ones are more often.

    Args:
        tower: the encoder.
        weights: ``pretrained`` takes the head from the tower's folder or hub name, which must have one; ``None`` starts
            transformers' head for the architecture at random. Its last layer is the tower's table of tokens, where the
            architecture ties the two, as BERT does.
        ratio: how many of a text's tokens are hidden, in (0, 1].
        scored: the places P that have scores: ``masked``, the hidden tokens' one after the other, P the most that a
            text of T tokens can have; or ``all``, P = T, of which those that are no padding are valid, as in
            DistilBERT's code without ``restrict_ce_to_mask``. It takes several times the time and memory.
        seed: of the masks.

    Raises:
        InputError: a ratio outside, a tokenizer without a mask, or an architecture or a folder without a head.
    """

    gives: ClassVar[frozenset[str]] = frozenset({"logits", "tokens"})

    def __init__(
        self,
        tower: TransformerText,
        weights: Literal["pretrained"] | None = None,
        ratio: float | int = 0.15,
        scored: Literal["masked", "all"] = "masked",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not 0 < ratio <= 1:
            raise InputError(f"MaskedLM.ratio: {ratio} given; it is a part of the tokens, above 0 and at most 1.")
        name = cast(TransformerTokens, tower.preprocess).name
        tokenizer = transformers_tokenizer(name)
        if tokenizer.mask_token_id is None:
            raise InputError(f"MaskedLM.tower: the tokenizer of {name!r} has no mask. Take a masked language model's.")
        self.tower = tower
        self.head = _head(name, tower.trunk, weights)
        keep_tied_once(self)
        self.mask = int(tokenizer.mask_token_id)
        special = set(tokenizer.all_special_ids)
        ordinary = [token for token in range(len(tokenizer)) if token not in special]
        self.register_buffer("ordinary", torch.tensor(ordinary), persistent=False)
        self.ratio = float(ratio)
        self.scored = scored
        self.seed = seed

    @property
    def preprocess(self) -> Preprocess:
        """The tower's."""
        return Preprocess(text=self.tower.preprocess)

    def forward(self, batch: Mapping[str, Any]) -> Outputs:
        """Hide tokens and score what they may be.

        Args:
            batch: ``id`` and ``view``, lists of B; ``text`` (N, T) tokens of the samples that have one;
                ``present/text`` (B,) bool for which samples these are, all of them when left out.
        """
        text = batch.get("text", self.get_buffer("ordinary").new_zeros((0, 1)))
        flag = batch.get("present/text", torch.ones(len(text), dtype=torch.bool, device=text.device))
        named = [
            pair for pair, has in zip(zip(batch["id"], batch["view"], strict=True), flag.tolist(), strict=True) if has
        ]
        draws = mask_draws([name for name, _ in named], [view for _, view in named], text.shape[1], self.seed)
        read, labels = mask_tokens(text, draws.to(text.device), self.get_buffer("ordinary"), self.mask, self.ratio)
        states, valid = self._states(read), text != self.tower.pad_id
        if self.scored == "masked":
            count = masked_counts(text.shape[1], self.ratio)[-1]
            places = (labels == IGNORED).byte().argsort(dim=1, stable=True)[:, :count]
            states = states.gather(1, places.unsqueeze(2).expand(-1, -1, states.shape[2]))
            labels = labels.gather(1, places)
            valid = labels != IGNORED
        tokens = labels.new_full((len(flag), labels.shape[1]), IGNORED)
        tokens[flag] = labels
        is_valid = torch.zeros_like(tokens, dtype=torch.bool)
        is_valid[flag] = valid
        logits = scatter_present(self.head(inputs_embeds=states).logits, flag)
        return {"logits": logits, "tokens": tokens, "valid/logits": is_valid, "present/logits": flag}

    def _states(self, text: Int[Tensor, "N T"]) -> Float[Tensor, "N T width"]:
        if len(text):
            return self.tower.token_states(text)
        return next(self.head.parameters()).new_zeros((*text.shape, self.tower.width))


class _Given(nn.Module):
    """Stands in for the encoder under a head of transformers, which is then given hidden states."""

    def forward(self, *ignored: Any, inputs_embeds: Tensor, **others: Any) -> Any:
        from transformers.modeling_outputs import BaseModelOutput

        return BaseModelOutput(last_hidden_state=inputs_embeds)


def _head(name: str, trunk: Any, weights: str | None) -> nn.Module:
    """Return the head over an encoder, tied to it: a transformers model whose own encoder is taken out."""
    from transformers import AutoModelForMaskedLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # a bar of its own for reading one file
    missing: list[str] = []
    try:
        if weights is None:
            head = AutoModelForMaskedLM.from_config(trunk.config, trust_remote_code=False)
        else:
            head, found = AutoModelForMaskedLM.from_pretrained(
                str(locate(name)),
                config=trunk.config,
                dtype=torch.float32,
                output_loading_info=True,
                trust_remote_code=False,
            )
            missing = sorted(key for key in found["missing_keys"] if not key.startswith(f"{head.base_model_prefix}."))
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"MaskedLM.tower: {name!r} makes no masked language model ({str(error).strip().splitlines()[0]}). Take an "
            "encoder for which transformers has one, such as BERT, in the width of its weights."
        ) from error
    if missing:
        raise InputError(
            f"MaskedLM.weights: {weights!r}, but {name!r} holds no trained head ({missing[0]} is missing). Set it to "
            "null and train one, or take a masked language model's folder."
        )
    setattr(head, head.base_model_prefix, trunk)
    head.tie_weights()
    setattr(head, head.base_model_prefix, _Given())
    return cast(nn.Module, head)
