"""Tokens: language models, captioners and translators."""

from kdmm.losses.sequences.attention_maps import AttentionMaps, attention_map_distance
from kdmm.losses.sequences.hidden_states import HiddenStates, state_distance
from kdmm.losses.sequences.sequence_cross_entropy import SequenceCrossEntropy
from kdmm.losses.sequences.token_kl import TokenKL
from kdmm.losses.sequences.vocabulary import check_vocabularies

__all__ = [
    "AttentionMaps",
    "HiddenStates",
    "SequenceCrossEntropy",
    "TokenKL",
    "attention_map_distance",
    "check_vocabularies",
    "state_distance",
]
