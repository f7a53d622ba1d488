"""Which stamps show the same thing: variants of one concept stay on one side of a split.

Four steps make a concept. A mirrored picture joins the one it mirrors. Stamps join that have the same English name,
leaving out articles, colours, sizes, numbers and what else tells variants apart. In one folder, file names that differ
in such words or in numbers join (``glasses1``, ``glasses2``), and ``X_Y`` joins ``X`` (``bunny-egg``, ``bunny``). And
`ALIKE` joins what is drawn alike under other names, found by comparing all pictures pixel by pixel, mirrored too.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping

__all__ = ["concepts", "mirrored"]

MIRRORED = re.compile(r"_mirror$")
ARTICLES = frozenset({"a", "an", "the", "some", "another"})
VARIANT_WORDS = (
    "black white red green blue yellow purple brown pink grey gray silver golden colorful",
    "left right open closed small large big little tiny pair couple bunch cluster of",
)
VARIANTS = frozenset(word for line in VARIANT_WORDS for word in line.split())
WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
FILE_WORD = re.compile(r"[^\W\d_]+")
CLAUSE_END = re.compile(r"[.!?:;,(\u2013\u2014]")

ALIKE = (
    ("gravestone", "headstone", "grave marker", "tombstone", "cemetery marker", "monument stone"),
    ("letter b", "letter d"),
    ("letter p", "letter q"),
    ("letter i", "letter l"),
    ("less than", "greater than"),
    ("less than or equal to", "greater than or equal to"),
)
LEADERS = {other: names[0] for names in ALIKE for other in names}


def mirrored(name: str) -> str:
    """Return the name of the stamp that ``name`` is a mirrored picture of; ``name`` itself if it is none."""
    return MIRRORED.sub("", name)


def concepts(stamps: Mapping[str, str]) -> dict[str, str]:
    """Return each stamp's concept, which is called after its first stamp.

    Args:
        stamps: from the path below the root, without ending, to the English name, empty if there is none; always of
            all stamps, so that a concept does not depend on which of them are used.
    """
    files = {name: _file_words(name) for name in stamps}
    known = set(files.values())
    leader: dict[Hashable, Hashable] = {}

    def find(key: Hashable) -> Hashable:
        while leader.setdefault(key, key) != key:
            key = leader[key]
        return key

    for name, english in stamps.items():
        folder, words = files[name]
        heads = ((folder, words[:end]) for end in range(1, len(words) + 1))
        keys: list[Hashable] = [mirrored(name), *(head for head in heads if head in known)]
        if said := _plain(english):
            keys.append(("said", said))
        for key in keys:
            leader[find(key)] = find(name)
    first: dict[Hashable, str] = {}
    return {name: first.setdefault(find(name), name) for name in stamps}


def _file_words(name: str) -> tuple[str, tuple[str, ...]]:
    """Return a stamp's folder, and the words of its file name that do not tell variants apart."""
    folder, _, file = mirrored(name).rpartition("/")
    return folder, tuple(word for word in FILE_WORD.findall(file.casefold()) if word not in VARIANTS)


def _plain(english: str) -> str:
    """Return the first clause of a name, without what tells variants apart."""
    clauses = (WORD.findall(clause.casefold()) for clause in CLAUSE_END.split(english))
    words = next((words for words in clauses if words), [])
    while len(words) > 1 and words[0] in ARTICLES | VARIANTS:  # the "a" in "the letter a" stays
        words = words[1:]
    words = [word for word in words if word not in VARIANTS] or words
    if not words:
        return ""
    whole = " ".join([*words[:-1], _singular(words[-1])])
    return LEADERS.get(whole, whole)


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:  # cherries, not ties
        return f"{word[:-3]}y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word
