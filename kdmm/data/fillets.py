"""The dialogues of Fish Fillets NG: running speech in 11 languages, line by line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from kdmm import fetch
from kdmm.data.concept_folds import check_fold, deal, split_of
from kdmm.data.files import existing_folder
from kdmm.data.lua_dialogs import read_dialogs
from kdmm.data.sample import Sample
from kdmm.data.source import SPLITS, Source, Split
from kdmm.errors import InputError, nearest

__all__ = ["Fillets"]

GAME = "usr/share/games/fillets-ng"  # where the package has it
SCRIPTS = "script/*/dialogs_{}.lua"
ENGLISH = "en"


class Fillets(Source):
    """What two fish say to each other, to be translated; ``kdmm fetch fillets``.

    About 1,800 lines of 7 words, fewer for some pairs of languages. A line that one of the two languages lacks, or
    leaves empty, is left out. The split is by level of the game, so lines that answer each other, and say the same in
    other words, are on one side: 12 % of the levels are for validation, the same whatever the fold, and each other one
    is for testing in exactly one of 5 folds, whatever the languages.

    Lines: ALTAR interactive, Ivo Danihelka and the contributors to Fish Fillets NG (GPL-2).

    Args:
        source: the language that is read, such as ``de``, or several; then each line gives one sample a language.
        target: the language that is written.
        folder: with the game's ``script``, or what holds it in ``usr/share/games/fillets-ng``; ``None`` takes what
            ``kdmm fetch fillets`` has fetched.
        fold: which fifth is for testing, 0 to 4.
    """

    def __init__(
        self, source: str | Sequence[str], target: str = ENGLISH, folder: str | Path | None = None, fold: int = 0
    ) -> None:
        self.source = (source,) if isinstance(source, str) else tuple(source)
        self.target = target
        self.folder = None if folder is None else Path(folder)
        self.fold = fold
        check_fold(fold, "Fillets.fold")
        if not self.source:
            raise InputError("Fillets.source: none given; give a language, such as de.")
        if target in self.source:
            raise InputError(f"Fillets.target: {target!r} is read too; give another language.")
        if len(set(self.source)) < len(self.source):
            raise InputError(f"Fillets.source: {list(self.source)} names a language twice; give each once.")

    def __str__(self) -> str:
        return f"Fillets({'+'.join(self.source)} to {self.target})"

    @property
    def splits(self) -> tuple[Split, ...]:
        """All three."""
        return SPLITS

    def describe(self, split: Split) -> dict[str, Any]:
        """Return the name and the fold."""
        return {**super().describe(split), "fold": self.fold}

    def read(self, split: Split) -> list[Sample]:
        """Put the lines of a split's levels side by side."""
        levels = Counter(level for level, _ in self._lines(ENGLISH))
        places = deal(levels, "fillets split")
        targets = self._lines(self.target)
        return [
            Sample(
                id=f"{level}/{name}" if len(self.source) == 1 else f"{level}/{name} {language}",
                source=source,
                captions=(targets[level, name],),
                group=level,
                origin=f"{self._game / 'script' / level}, {name} in {language}",
            )
            for language in self.source
            for (level, name), source in self._lines(language).items()
            if source and targets.get((level, name)) and split_of(places.get(level), self.fold) == split
        ]

    def _lines(self, language: str) -> dict[tuple[str, str], str]:
        """Return a language's lines by level and name, with single spaces."""
        if language not in self._known:
            files = sorted(self._game.glob(SCRIPTS.format(language))) if language.isidentifier() else []
            if not files:
                known = sorted({path.stem.removeprefix("dialogs_") for path in self._game.glob(SCRIPTS.format("*"))})
                setting = "source" if language in self.source else "target"
                raise InputError(
                    f"Fillets.{setting}: no dialogue is in {language!r}; there are {', '.join(known) or 'none'}."
                    + nearest(language, known)
                )
            self._known[language] = {
                (path.parent.name, name): " ".join(line.split())
                for path in files
                for name, line in read_dialogs(path, original=language == ENGLISH).items()
            }
        return self._known[language]

    @cached_property
    def _known(self) -> dict[str, dict[tuple[str, str], str]]:
        return {}

    @cached_property
    def _game(self) -> Path:
        setting = "Fillets.folder"
        folder = fetch.folder("fillets", setting) if self.folder is None else existing_folder(self.folder, setting)
        return folder / GAME if (folder / GAME).is_dir() else folder
