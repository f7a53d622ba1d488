"""How near a caption comes to those of people, from the words alone: CIDEr-D and ROUGE-L."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

__all__ = ["cider_d", "rouge_l", "words"]

WORD = re.compile(r"\w+(?:['\N{RIGHT SINGLE QUOTATION MARK}]\w+)*")
LONGEST = 4  # the longest run of words in CIDEr
SIGMA = 6.0  # of CIDEr-D's penalty for another length, words
FACTOR = 10.0  # CIDEr-D's, which makes its values like those of other metrics
BETA = 1.2  # how much more recall counts than precision in COCO's ROUGE-L

NGram = tuple[str, ...]


def words(text: str) -> list[str]:
    """Return a text's words in lower case, without punctuation; an apostrophe inside a word is part of it."""
    return WORD.findall(text.casefold())


def cider_d(written: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """Return CIDEr-D (Vedantam et al. 2015, arXiv:1411.5726, section 7) of each of N captions, in [0, 10].

    With c a caption, s one of its S references and g_n the vector of TF-IDF weights of the runs of n words, ::

        10 / S sum_s 1/4 sum_n exp(-(|c| - |s|)^2 / 72) <min(g_n(c), g_n(s)), g_n(s)> / (|g_n(c)| |g_n(s)|)

    where a run's weight is its count times log(N / how many of the N samples have it in a reference, at least 1). As in
    COCO's evaluation the length of a text is its number of neighbouring pairs; we differ in the words, which are
    `words` instead of the Penn Treebank's. The document frequencies are of the references given, so values of different
    test sets are not comparable; of a single sample all are 0.

    Args:
        written: N captions.
        references: of each, at least one.
    """
    cooked = [[_runs(text) for text in own] for own in references]
    samples = Counter(run for own in cooked for run in set().union(*own))
    weight = {run: math.log(len(cooked) / count) for run, count in samples.items()}
    unseen = math.log(len(cooked))
    found = []
    for text, own in zip(written, cooked, strict=True):
        ours = _Weighted(_runs(text), weight, unseen)
        values = [_similarity(ours, _Weighted(each, weight, unseen)) for each in own]
        found.append(FACTOR * math.fsum(values) / len(values))
    return found


def _runs(text: str) -> Counter[NGram]:
    """Return how often each run of one to four words comes."""
    each = words(text)
    return Counter(tuple(each[at : at + n]) for n in range(1, LONGEST + 1) for at in range(len(each) - n + 1))


class _Weighted:
    """A text's TF-IDF vectors."""

    def __init__(self, runs: Counter[NGram], weight: Mapping[NGram, float], unseen: float) -> None:
        self.pairs = sum(count for run, count in runs.items() if len(run) == 2)
        self.vectors: list[dict[NGram, float]] = [{} for _ in range(LONGEST)]
        for run, count in runs.items():
            self.vectors[len(run) - 1][run] = count * weight.get(run, unseen)
        self.norms = [math.sqrt(math.fsum(x * x for x in vector.values())) for vector in self.vectors]


def _similarity(ours: _Weighted, theirs: _Weighted) -> float:
    total = 0.0
    for u, v, norm_u, norm_v in zip(ours.vectors, theirs.vectors, ours.norms, theirs.norms, strict=True):
        if norm_u and norm_v:
            total += math.fsum(min(x, v[run]) * v[run] for run, x in u.items() if run in v) / (norm_u * norm_v)
    return total / LONGEST * math.exp(-((ours.pairs - theirs.pairs) ** 2) / (2 * SIGMA**2))


def rouge_l(written: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """Return ROUGE-L (Lin 2004, https://aclanthology.org/W04-1013) of each of N captions, in [0, 1], as COCO has it.

    The F measure of the longest common subsequence of words, with precision and recall each the best over the
    references, and recall counting 1.2 times as much: (1 + 1.2^2) P R / (R + 1.2^2 P).

    Args:
        written: N captions.
        references: of each, at least one.
    """
    found = []
    for text, own in zip(written, references, strict=True):
        ours = words(text)
        precision = recall = 0.0
        for theirs in map(words, own):
            common = _common(ours, theirs)
            if common:
                precision, recall = max(precision, common / len(ours)), max(recall, common / len(theirs))
        total = recall + BETA**2 * precision
        found.append((1 + BETA**2) * precision * recall / total if total else 0.0)
    return found


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the length of the longest common subsequence."""
    before = [0] * (len(other) + 1)
    for word in one:
        row = [0]
        for at, each in enumerate(other):
            row.append(before[at] + 1 if word == each else max(row[at], before[at + 1]))
        before = row
    return before[-1]
