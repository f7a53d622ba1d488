"""E-mails, wanted or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from kdmm import fetch
from kdmm.data.concept_folds import check_fold, deal, split_of
from kdmm.data.files import existing_folder
from kdmm.data.mail import mail_text
from kdmm.data.near_duplicates import near_duplicates
from kdmm.data.sample import Sample
from kdmm.data.source import SPLITS, Source, Split
from kdmm.errors import InputError

__all__ = ["Spam"]

DATA = "package/data"  # where the package has the mails
FOLDERS = {"easy-ham-1": 0, "easy-ham-2": 0, "hard-ham-1": 0, "spam-1": 1, "spam-2": 1}


class Spam(Source):
    """SpamAssassin's public corpus: 6,046 e-mails of 2002 with the label ``kind``, ham or spam; ``kdmm fetch spam``.

    A third (1,896) are spam. A sample is the subject and the text without markup (`mail_text`). The header is left out:
    it says which mailing list brought a mail. The subject and the end of a text may say so too.

    12 % of the concepts are for validation, the same whatever the fold, and each other one is for testing in exactly
    one of 5 folds. Mails that are nearly the same (`near_duplicates`), such as the issues of a newsletter, are one
    concept: there are 4,864.

    E-mails: the Apache SpamAssassin project, packaged by The Stdlib Authors (PDDL-1.0).

    Args:
        folder: with ``easy-ham-1``, ``easy-ham-2``, ``hard-ham-1``, ``spam-1`` and ``spam-2``, or what holds them in
            ``package/data``; ``None`` takes what ``kdmm fetch spam`` has fetched.
        fold: which fifth is for testing, 0 to 4.
    """

    def __init__(self, folder: str | Path | None = None, fold: int = 0) -> None:
        self.folder = None if folder is None else Path(folder)
        self.fold = fold
        check_fold(fold, "Spam.fold")

    @property
    def splits(self) -> tuple[Split, ...]:
        """All three."""
        return SPLITS

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the ``kind``."""
        return {"kind": ("ham", "spam")}

    def describe(self, split: Split) -> dict[str, Any]:
        """Return the name and the fold."""
        return {**super().describe(split), "fold": self.fold}

    def read(self, split: Split) -> list[Sample]:
        """Choose the mails of a split."""
        places = deal(Counter(sample.group or "" for sample in self._mails), "spam split")
        return [each for each in self._mails if split_of(places[each.group or ""], self.fold) == split]

    @cached_property
    def _mails(self) -> tuple[Sample, ...]:
        files = self._files()
        texts = [mail_text(file.read_bytes()) for file in files]
        names = [f"{file.parent.name}/{file.stem}" for file in files]
        for file, text in zip(files, texts, strict=True):
            if not text:
                raise InputError(f"Spam.folder: {file} has neither a subject nor a text. Remove the file.")
        return tuple(
            Sample(
                name, captions=(text,), group=names[first], labels={"kind": FOLDERS[file.parent.name]}, origin=str(file)
            )
            for name, text, first, file in zip(names, texts, near_duplicates(texts), files, strict=True)
        )

    def _files(self) -> list[Path]:
        setting = "Spam.folder"
        folder = fetch.folder("spam", setting) if self.folder is None else existing_folder(self.folder, setting)
        root = folder / DATA if (folder / DATA).is_dir() else folder
        files = [file for name in FOLDERS for file in sorted(existing_folder(root / name, setting).glob("*.txt"))]
        if not files:
            raise InputError(f"{setting}: {str(root)!r} holds no mails ({', '.join(FOLDERS)} with .txt files).")
        return files
