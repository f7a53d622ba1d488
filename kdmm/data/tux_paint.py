"""Tux Paint's stamps: pictures with names in many languages, sounds, and names spoken aloud."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from kdmm import fetch
from kdmm.data.audio_ref import AudioRef
from kdmm.data.concept_folds import check_fold, deal, split_of
from kdmm.data.distinct import distinct
from kdmm.data.files import existing_folder
from kdmm.data.image_ref import ImageRef
from kdmm.data.sample import MediaRef, Sample
from kdmm.data.source import SPLITS, Source, Split
from kdmm.data.svg_ref import SvgRef
from kdmm.data.tux_paint_concepts import concepts
from kdmm.data.tux_paint_files import ENGLISH, Stamp, read_stamps
from kdmm.errors import InputError, nearest

__all__ = ["Sound", "TuxPaint"]

Sound = Literal["effect", "description"]

STAMPS = "usr/share/tuxpaint/stamps"  # where the package has them


class TuxPaint(Source):
    """Tux Paint's 961 stamps, photographs and drawings, with their names; ``kdmm fetch tuxpaint``.

    The split is by concept, see :mod:`kdmm.data.tux_paint_concepts`: 12 % of the concepts are for validation, the same
    whatever the fold, and each other one is for testing in exactly one of 5 folds, whatever the other settings. A
    mirrored picture has the names and sounds of its original. A name without a picture is left out. Labels:
    ``category``, the top folder, see ``class_names``.

    Stamps: Bill Kendrick and the contributors to Tux Paint (GPL-2).

    Args:
        folder: with the stamps, or what holds them in ``usr/share/tuxpaint/stamps``; ``None`` takes what
            ``kdmm fetch tuxpaint`` has fetched.
        languages: of the names, such as ``en``, ``fr``, ``pt_BR``; one caption a language, in this order. A stamp
            without a name in any of them is a picture alone.
        sound: ``effect``, what the thing sounds like, or ``description``, its name spoken aloud; a stamp without one is
            silent. ``None``: no sounds.
        description_language: of the spoken names.
        groups: categories to take, such as ``animals``; ``None`` takes all.
        svg: also takes the stamps that are in SVG files alone (165), which needs ``pip install 'kdmm[svg]'``.
        fold: which fifth is for testing, 0 to 4.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        languages: Sequence[str] = (ENGLISH,),
        sound: Sound | None = None,
        description_language: str = ENGLISH,
        groups: Sequence[str] | None = None,
        svg: bool = True,
        fold: int = 0,
    ) -> None:
        self.folder = None if folder is None else Path(folder)
        self.languages = tuple(languages)
        self.sound = sound
        self.description_language = description_language
        self.groups = None if groups is None else tuple(groups)
        self.svg = svg
        self.fold = fold
        check_fold(fold, "TuxPaint.fold")
        if not self.languages:
            raise InputError("TuxPaint.languages: none given; give one or more, such as en.")

    @property
    def splits(self) -> tuple[Split, ...]:
        """All three."""
        return SPLITS

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the ``category``, the top folders."""
        return {"category": tuple(sorted({stamp.category for stamp in self._stamps}))}

    def describe(self, split: Split) -> dict[str, Any]:
        """Return the name, the fold, and how many SVG stamps of the split are left out, if they are."""
        described = {**super().describe(split), "fold": self.fold}
        if not self.svg:
            described["svg_left_out"] = sum(stamp.is_svg for stamp in self._chosen(split))
        return described

    def read(self, split: Split) -> list[Sample]:
        """Choose the stamps of a split."""
        self._check_names()
        numbers = {name: number for number, name in enumerate(self.class_names("category"))}
        return [
            Sample(
                id=stamp.name,
                image=_image(stamp),
                captions=distinct(stamp.texts[each] for each in self.languages if each in stamp.texts),
                group=self._concepts[stamp.name],
                labels={"category": numbers[stamp.category]},
                origin=str(stamp.picture),
                audio=self._audio(stamp),
            )
            for stamp in self._chosen(split)
            if self.svg or not stamp.is_svg
        ]

    def _chosen(self, split: Split) -> list[Stamp]:
        places = deal(Counter(self._concepts.values()), "tux paint split")
        return [
            stamp
            for stamp in self._stamps
            if split_of(places[self._concepts[stamp.name]], self.fold) == split
            and (self.groups is None or stamp.category in self.groups)
        ]

    def _audio(self, stamp: Stamp) -> AudioRef | None:
        if self.sound is None:
            return None
        path = stamp.effect if self.sound == "effect" else stamp.said.get(self.description_language)
        return None if path is None else AudioRef(str(path))

    def _check_names(self) -> None:
        """Refuse languages and categories that no stamp has."""
        _check("languages", self.languages, {language for stamp in self._stamps for language in stamp.texts})
        if self.groups is not None:
            _check("groups", self.groups, self.class_names("category"))
        if self.sound == "description":
            spoken = {language for stamp in self._stamps for language in stamp.said}
            _check("description_language", [self.description_language], spoken)

    @cached_property
    def _stamps(self) -> tuple[Stamp, ...]:
        setting = "TuxPaint.folder"
        folder = fetch.folder("tuxpaint", setting) if self.folder is None else existing_folder(self.folder, setting)
        root = folder / STAMPS if (folder / STAMPS).is_dir() else folder
        found = read_stamps(root)
        if not found:
            raise InputError(
                f"{setting}: {str(folder)!r} holds no stamps (PNG or SVG pictures with texts of the same name). Give "
                f"the folder that Tux Paint calls `stamps`, or null after `kdmm fetch tuxpaint`."
            )
        return found

    @cached_property
    def _concepts(self) -> dict[str, str]:
        return concepts({stamp.name: stamp.texts.get(ENGLISH, "") for stamp in self._stamps})


def _image(stamp: Stamp) -> MediaRef:
    return SvgRef(str(stamp.picture)) if stamp.is_svg else ImageRef(str(stamp.picture))


def _check(setting: str, given: Sequence[str], accepted: Collection[str]) -> None:
    for name in given:
        if name not in accepted:
            known = ", ".join(sorted(accepted)) or "none"
            raise InputError(
                f"TuxPaint.{setting}: the stamps have no {name!r}; they have {known}.{nearest(name, accepted)}"
            )
