"""The cases of the conformance table, a file a family."""

from tests.losses.cases import dense, features, logits, pairs, relations, sequences, weighting

CASES = [
    *pairs.CASES,
    *features.CASES,
    *dense.CASES,
    *logits.CASES,
    *sequences.CASES,
    *relations.CASES,
    *weighting.CASES,
]
