"""Which of the texts that beams found about a sample is kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import cast, get_args

import torch
import torch.nn.functional as F
from torch import nn

from kdmm.data import Sample
from kdmm.errors import InputError, nearest
from kdmm.metrics.functional.sentences import Measure, nearest_text
from kdmm.metrics.judges import check_judge
from kdmm.models import embed_media, embed_texts
from kdmm.teachers import FromRun

__all__ = ["Choice", "Judged", "Nearest", "choice_by"]


class Choice(ABC):
    """Chooses among the beams' texts, the likeliest of which come first."""

    setting: str
    """Of `kdmm.generate`; for messages."""

    @abstractmethod
    def check(self, modality: str, samples: Sequence[Sample]) -> None:
        """Look at what will be written about.

        Args:
            modality: of the samples, that the model reads.
            samples: at least one.

        Raises:
            InputError: there is nothing to choose by.
        """

    @abstractmethod
    def __call__(self, modality: str, samples: Sequence[Sample], texts: Sequence[Sequence[str]]) -> list[str]:
        """Return one of each sample's texts.

        Args:
            modality: as for `check`.
            samples: B of them.
            texts: of each sample, at least one.
        """


class Nearest(Choice):
    """Keeps the text that is nearest to the sample's own, and the likeliest where it has none: `nearest_text`.

    Args:
        measure: ``bleu`` or ``chrf``.

    Raises:
        InputError: it is another.
    """

    setting = "nearest"

    def __init__(self, measure: str) -> None:
        accepted = get_args(Measure)
        if measure not in accepted:
            said = nearest(measure, accepted)
            raise InputError(f"nearest: found {measure!r}; accepted: {', '.join(accepted)}.{said}")
        self.measure = cast(Measure, measure)

    def check(self, modality: str, samples: Sequence[Sample]) -> None:
        """Refuse samples of which none has a text of its own."""
        if not any(sample.captions for sample in samples):
            raise InputError(
                f"nearest: {self.measure!r} given, but none of the {len(samples)} samples has a text to compare with. "
                "Leave it out, or give data that have texts."
            )

    def __call__(self, modality: str, samples: Sequence[Sample], texts: Sequence[Sequence[str]]) -> list[str]:
        """Return the nearest of each sample's texts."""
        return [
            nearest_text(each, sample.captions, self.measure) if sample.captions else each[0]
            for sample, each in zip(samples, texts, strict=True)
        ]


class Judged(Choice):
    """Keeps the text that another model finds to fit best what was written about, by cosine; of equal ones the first.

    For pictures and CLIP it has the highest CLIPScore (Hessel et al. 2021, https://arxiv.org/abs/2104.08718), here not
    cut off at 0. Empty texts are not judged. The judge prepares media and texts in its own way, so the media are opened
    again.

    Args:
        judge: embeds the medium and ``text``.
    """

    setting = "judge"

    def __init__(self, judge: nn.Module) -> None:
        self.judge = judge

    def check(self, modality: str, samples: Sequence[Sample]) -> None:
        """Refuse samples without a medium that is written about, and a judge that does not embed it and texts."""
        if modality not in samples[0].media:
            raise InputError(
                f"judge: given, but the model reads a {modality}, and a judge looks at the picture, sound or clip that "
                "is written about. Leave it out."
            )
        check_judge(self.judge, modality, "judge")

    def __call__(self, modality: str, samples: Sequence[Sample], texts: Sequence[Sequence[str]]) -> list[str]:
        """Return of each sample the text that fits best."""
        kept = [""] * len(samples)
        some = {row: said for row, each in enumerate(texts) if (said := [text for text in each if text])}
        if some:
            media = embed_media(self.judge, modality, [samples[row].media[modality].open() for row in some])
            flat = embed_texts(self.judge, [text for said in some.values() for text in said])
            own = torch.split(F.normalize(flat.float(), dim=1), [len(said) for said in some.values()])
            for (row, said), medium, rows in zip(some.items(), media.float(), own, strict=True):
                kept[row] = said[int((rows @ medium).argmax())]  # a medium's length alters no order
        return kept


def choice_by(
    measure: str | None, judge: str | Path | None, allow: Sequence[str] = (), device: torch.device | None = None
) -> Choice | None:
    """Return how one of the beams' texts is chosen; ``None``: the likeliest is.

    Args:
        measure: of `Nearest`.
        judge: the folder of the finished run whose model is that of `Judged`.
        allow: packages of your own that the judge is built from.
        device: that it runs on; ``None``: the CPU.

    Raises:
        InputError: both are given, the measure is unknown, or there is no such run.
    """
    if judge is None:
        return None if measure is None else Nearest(measure)
    if measure is not None:
        raise InputError(
            f"nearest: {measure!r} and judge: {str(judge)!r} given; each chooses among the beams' texts. Leave one out."
        )
    return Judged(FromRun(str(judge), allow=allow).model.to(device))
