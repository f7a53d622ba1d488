"""What guessing reaches when only some attributes of a thing are known: the floor under a model's numbers."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Integer

from kdmm.errors import InputError, nearest

__all__ = ["accuracy_floor", "first_hit", "retrieval_floor"]

Attribute = Integer[np.ndarray, "N"]


def retrieval_floor(
    captions: Sequence[Sequence[str]],
    attributes: Mapping[str, Attribute],
    known: Sequence[str] = (),
    k: Sequence[int] = (1, 5, 10),
) -> dict[str, float]:
    """Return the recalls that :class:`kdmm.metrics.Retrieval` is expected to give a guesser.

    The guesser hears some attributes of a sample and reads them in a caption, both without error, and nothing else: it
    ranks what agrees in them before what does not, and is at a loss among what agrees. There the order is drawn at
    random, of captions that are equal together, since they have one embedding. As in that metric, every caption of a
    sample is right for it, every sample that has the caption is right for a caption, the best right answer counts, and
    a caption that several samples have stands in the gallery as often.

    Args:
        captions: of each of N samples, one or more.
        attributes: of the samples, by name, (N,) class numbers. Samples with one caption in common agree in those that
            are known: a caption that does not tell an attribute lets nobody read it.
        known: the names of those that the guesser knows; none: the floor of chance.
        k: depths of the recalls.

    Returns:
        ``to_text/recall@1``, ..., ``from_text/recall@1``, ... and their mean, ``recall@1``, ...

    Raises:
        InputError: no samples, an unknown attribute, or a caption whose samples differ in one.
    """
    if not len(captions) or not all(map(len, captions)):
        raise InputError("retrieval_floor.captions: a sample has no caption; give the samples that have one.")
    blocks = _blocks(attributes, known, len(captions))
    sets = [frozenset(each) for each in captions]
    samples_with = Counter(caption for each in sets for caption in each)
    block_of: dict[str, int] = {}
    for each, block in zip(sets, blocks, strict=True):
        for caption in each:
            if block_of.setdefault(caption, block) != block:
                raise InputError(
                    f"retrieval_floor.known: {caption!r} is said of samples that differ in {', '.join(known)}; a "
                    "guesser cannot read what captions do not tell. Leave that attribute out."
                )
    captions_in = defaultdict(list)
    for caption, block in block_of.items():
        captions_in[block].append(caption)
    samples_in = Counter(blocks)
    values: dict[str, float] = {}
    for depth in k:
        to_text = [
            first_hit(len(each), [samples_with[other] for other in captions_in[block] if other not in each], depth) * n
            for (each, block), n in Counter(zip(sets, blocks, strict=True)).items()
        ]
        from_text = [
            first_hit(n, [1] * (samples_in[block_of[caption]] - n), depth) * n for caption, n in samples_with.items()
        ]
        values[f"to_text/recall@{depth}"] = sum(to_text) / len(sets)
        values[f"from_text/recall@{depth}"] = sum(from_text) / samples_with.total()
        values[f"recall@{depth}"] = (values[f"to_text/recall@{depth}"] + values[f"from_text/recall@{depth}"]) / 2
    return values


def first_hit(right: int, wrong: Sequence[int], k: int) -> float:
    """Return the probability that, in a random order, fewer than ``k`` wrong items stand before the first right one.

    Every order of ``W`` wrong and ``R`` right answers is as likely. That just a given set of ``s`` wrong ones stands
    before the first right one has the probability ``R s! (W - s + R - 1)! / (W + R)!``; it is summed over all sets that
    hold fewer than ``k`` items. With one item each, it comes to ``1 - C(W, k) / C(W + R, k)``.

    Args:
        right: R, how many right answers there are, at least 1.
        wrong: how many items each of the W wrong answers is: equal captions of several samples stand together.
        k: depth.
    """
    sets = [[0] * k for _ in range(k)]  # how many sets there are of s answers with w items
    sets[0][0] = 1
    for items, answers in Counter(wrong).items():
        sets = _with_more(sets, items, answers, k)
    probability, before = 0.0, right / (len(wrong) + right)  # of one set of s
    for s, row in enumerate(sets[: len(wrong) + 1]):
        probability += sum(row) * before
        before *= (s + 1) / max(1, len(wrong) - s + right - 1)
    return probability


def accuracy_floor(
    target: Attribute, attributes: Mapping[str, Attribute], known: Sequence[str] = (), k: Sequence[int] = (1, 5)
) -> dict[str, float]:
    """Return the accuracies of naming, for all samples that agree in what is known, their ``k`` most frequent classes.

    The frequencies are those of the samples themselves, so no rule that sees these attributes alone reaches more.

    Args:
        target: each sample's class.
        attributes: of the samples, by name, (N,) class numbers.
        known: the names of those that are known; none: the k largest classes.
        k: depths.

    Returns:
        ``top1``, ``top5``, ...

    Raises:
        InputError: no samples, or an unknown attribute.
    """
    if not len(target):
        raise InputError("accuracy_floor.target: there are no samples.")
    counts: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for block, each in zip(_blocks(attributes, known, len(target)), target.tolist(), strict=True):
        counts[block][each] += 1
    return {
        f"top{depth}": sum(n for each in counts.values() for _, n in each.most_common(depth)) / len(target)
        for depth in k
    }


def _blocks(attributes: Mapping[str, Attribute], known: Sequence[str], samples: int) -> list[int]:
    """Return a number for each sample, equal for those that agree in all that is known."""
    for name in known:
        if name not in attributes:
            raise InputError(
                f"known: there is no attribute {name!r}; there are {', '.join(attributes)}.{nearest(name, attributes)}"
            )
    numbers: dict[tuple[int, ...], int] = {}
    columns = np.array([attributes[name] for name in known]).reshape(len(known), samples)
    return [numbers.setdefault(tuple(row), len(numbers)) for row in columns.T.tolist()]


def _with_more(sets: list[list[int]], items: int, answers: int, k: int) -> list[list[int]]:
    """Return how many sets there are when some of a number of answers, each of so many items, are added."""
    grown = [[0] * k for _ in range(k)]
    for chosen in range(min(answers, (k - 1) // items) + 1):
        ways = math.comb(answers, chosen)
        for s in range(k - chosen):
            for w in range(k - chosen * items):
                grown[s + chosen][w + chosen * items] += ways * sets[s][w]
    return grown
