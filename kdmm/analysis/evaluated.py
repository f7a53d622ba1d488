"""What runs were evaluated on, in words, and whether it was the same."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from math import prod

from kdmm.analysis.record import RunRecord

__all__ = ["Evaluated", "chance_recall", "describe"]

NOUNS = {"image": "image", "audio": "sound", "video": "clip"}
"""What one of a medium is called."""


@dataclass(frozen=True, order=True)
class Evaluated:
    """The data behind a run's numbers; runs can be compared where it is equal.

    Args:
        source: its name.
        split: of the source.
        fold: which rotation of the split, -1 if there is one only.
        medium: what has captions, ``image`` or ``audio``.
        media: how many of it were in it, 0 if no retrieval was measured.
        captions: how many captions, 0 if no retrieval was measured.
        samples: how many samples.
    """

    source: str
    split: str
    fold: int
    medium: str
    media: int
    captions: int
    samples: int

    @classmethod
    def of(cls, record: RunRecord) -> Evaluated:
        """Return what a run was evaluated on."""
        medium = next((each for each in NOUNS if record.value(f"{each}_to_text/queries")), "image")
        return cls(
            source=record.evaluated.source,
            split=record.split,
            fold=-1 if record.fold is None else record.fold,
            medium=medium,
            media=int(record.value(f"{medium}_to_text/queries") or 0),
            captions=int(record.value(f"text_to_{medium}/queries") or 0),
            samples=record.evaluated.samples,
        )


def describe(evaluated: Collection[Evaluated]) -> str:
    """Return, for instance, ``the test split of emoji, folds 0 and 1: 318 to 321 images and 400 captions each``."""
    splits = sorted({(each.split, each.source) for each in evaluated})
    where = _listed(f"the {split} split of {source}" for split, source in splits)
    folds = sorted({each.fold for each in evaluated if each.fold >= 0})
    if folds:
        where += f", fold{'s' if len(folds) > 1 else ''} {_listed(map(str, folds))}"
    if all(each.media for each in evaluated):
        nouns = {NOUNS[each.medium] for each in evaluated}
        media = _range([each.media for each in evaluated], nouns.pop() if len(nouns) == 1 else "item")
        size = f"{media} and {_range([each.captions for each in evaluated], 'caption')}"
    else:
        size = _range([each.samples for each in evaluated], "sample")
    return f"{where}: {size}" + (" each" if len(evaluated) > 1 else "")


def chance_recall(k: int, gallery: float, positives: float) -> float:
    """Return the expected recall@k of a random ranking: ``1 - Π_{i<k} (gallery - positives - i) / (gallery - i)``.

    Args:
        k: the depth.
        gallery: how many items there are.
        positives: how many of them are right, on average.
    """
    if k > gallery - positives:
        return 1.0
    return 1 - prod((gallery - positives - i) / (gallery - i) for i in range(k))


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def _range(counts: list[int], noun: str) -> str:
    low, high = min(counts), max(counts)
    number = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return f"{number} {noun}{'' if high == 1 else 's'}"
