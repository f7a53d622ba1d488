"""The cases of the conformance table, a file a family."""

from tests.losses.cases import features, pairs

CASES = [*pairs.CASES, *features.CASES]
